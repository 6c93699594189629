"""ONNX files of unknown origin: looked through before any runtime sees them."""

import math
from collections.abc import Iterator
from pathlib import Path

import onnx

from threshnet.bounds import check_size
from threshnet.errors import InputError
from threshnet.shapes import walk
from threshnet.spec import NetworkSpec
from threshnet.untrusted import read_bytes

# What an exported network consists of. Nothing here loops, branches, reads a file or makes a tensor out of a shape.
OPERATORS = frozenset(
    (
        *("Conv", "BatchNormalization", "Relu", "Clip", "Concat", "MaxPool", "GlobalAveragePool", "ReduceMean"),
        *("Flatten", "Reshape", "Gemm", "Identity", "Constant", "QuantizeLinear", "DequantizeLinear"),
    )
)
NODES_PER_ROW = 12  # an int8 file has a pair of nodes more for each tensor
SLACK_BYTES = 2**22  # besides the weights
MOST = {"kernel_shape": 7, "strides": 7, "pads": 3, "dilations": 1, "group": 1}  # of any such network's operators


def read_onnx(path: Path, spec: NetworkSpec, input_size: int, *, follow: bool = True) -> bytes:
    """An ONNX file that can be the network of a spec, to be given to a runtime as bytes.

    InputError for a file that is too large or damaged, refers to other files, holds an operator that no such network
    has, or makes tensors far larger than this network's. Whether it is the network, its logits tell.
    """
    costs = check_size(spec, input_size)
    content = read_bytes(path, 8 * costs.params + SLACK_BYTES, follow=follow)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own kind
        raise InputError(f"{path}: damaged or not an ONNX file ({error})") from None
    for told in _objections(model, NODES_PER_ROW * len(walk(spec, input_size)) + 100):
        raise InputError(f"{path}: {told}")
    limit = 16 * (costs.memory_bytes + 4 * costs.params) + SLACK_BYTES
    try:
        taken = _memory_bytes(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: damaged, its tensors have no shapes ({first[0][:200]})") from None
    if taken > limit:
        raise InputError(f"{path}: makes tensors of {taken:.3g} bytes for one image; this network needs {limit:.3g}")
    return content


def _objections(model: onnx.ModelProto, most_nodes: int) -> Iterator[str]:
    """Why a file is not even looked at further, the first of which is told."""
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        yield "holds functions, training steps or sparse tensors, which no exported network has"
    if len(graph.node) > most_nodes:
        yield f"has {len(graph.node):,} operators; this network needs fewer than {most_nodes:,}"
    for node in graph.node:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            yield f"holds the operator {f'{node.domain}::{node.op_type}'.strip(':')!r:.80}, which no such network has"
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                yield "holds a graph within an operator, which no exported network does"
            if max((attribute.i, *attribute.ints)) > MOST.get(attribute.name, math.inf):
                yield f"holds an operator whose {attribute.name} exceeds {MOST[attribute.name]}, the most of any"
    constants = [attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")]
    constants += [tensor for node in graph.node for attribute in node.attribute for tensor in attribute.tensors]
    for tensor in (*graph.initializer, *constants):
        if len(tensor.dims) == 4 and max(tensor.dims[2:]) > MOST["kernel_shape"]:
            yield f"holds a kernel of {'x'.join(map(str, tensor.dims[2:]))} pixels, larger than those of any network"
        if tensor.external_data or tensor.data_location != onnx.TensorProto.DEFAULT:
            places = [entry.value for entry in tensor.external_data if entry.key == "location"]
            yield f"keeps weights outside of itself ({''.join(places)!r:.80}); only files in one piece are read"


def _memory_bytes(model: onnx.ModelProto) -> int:
    """What all tensors between operators take for one image, as ONNX infers their shapes."""
    if len(model.graph.input) != 1:
        raise ValueError(f"{len(model.graph.input)} inputs")
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if len(dims) != 4:
        raise ValueError(f"its input has {len(dims)} dimensions, not 4")
    dims[0].dim_value = 1
    del model.graph.value_info[:]  # it is no place to claim something
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    total = 0
    for node in inferred.node:
        for name in node.output:
            elements = 4
            for dim in known[name].type.tensor_type.shape.dim if name in known else ():
                if not dim.HasField("dim_value"):
                    raise ValueError(f"{name!r:.80} has none")
                elements *= dim.dim_value
            total += elements
    return total
