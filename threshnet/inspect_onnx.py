"""Inspect ONNX files before a runtime loads them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from threshnet.bounds import check_size
from threshnet.errors import InputError
from threshnet.shapes import walk
from threshnet.spec import NetworkSpec
from threshnet.untrusted import read_bytes

# The operators of exported networks. None of them loops, branches, reads a file or creates a tensor from a shape.
OPERATORS = frozenset(
    (
        *("Conv", "BatchNormalization", "Relu", "Clip", "Concat", "MaxPool", "GlobalAveragePool", "ReduceMean"),
        *("Flatten", "Reshape", "Gemm", "Identity", "Constant", "QuantizeLinear", "DequantizeLinear"),
    )
)
MAX_NODES_PER_ROW = 12  # an int8 file has an additional pair of nodes for each tensor
OVERHEAD_BYTES = 2**22  # allowed in addition to the weights
# Greatest value of each operator attribute in an exported network.
MAX_ATTRIBUTES = {"kernel_shape": 7, "strides": 7, "pads": 3, "dilations": 1, "group": 1}


@dataclass(frozen=True)
class ImageInput:
    """The only input of an ONNX file: float32 images (batch, 3, size, size)."""

    # The input's name.
    name: str
    # Fixed batch size; None if it is dynamic.
    batch: int | None
    # Height and width in pixels; None if they are dynamic.
    size: int | None


def image_input(path: Path) -> ImageInput:
    """Read the input of any ONNX file; neither its operators nor its size are limited.

    Raises InputError if the file is missing or damaged, if weights in other files are missing, or if its input is not
    that of an ImageInput.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # protobuf raises a type of its own
        raise InputError(f"{path}: damaged or not an ONNX file ({' '.join(str(error).split()):.200})") from None
    weights = {tensor.name for tensor in model.graph.initializer}  # before IR version 4, weights are inputs too
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = f" ({', '.join(value.name for value in inputs)})" if inputs else ""
        raise InputError(f"{path}: has {len(inputs)} inputs{names}, must have one, for images")
    tensor = inputs[0].type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        raise InputError(f"{path}: its input {inputs[0].name!r} is of type {kind}, must be float")
    dims = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
    square = len(dims) == 4 and dims[1] in (3, None) and (None in dims[2:] or dims[2] == dims[3])
    if not square:
        shape = ", ".join("?" if dim is None else str(dim) for dim in dims)
        raise InputError(f"{path}: its input {inputs[0].name!r} has shape ({shape}), must be (batch, 3, size, size)")
    for missing in sorted(file for file in external_files(model) if not (path.parent / file).is_file()):
        raise InputError(f"{path}: its weights are in {missing!r}, which is missing")
    return ImageInput(inputs[0].name, dims[0], dims[2] or dims[3])


def external_files(model: onnx.ModelProto) -> set[str]:
    """Return the files that store weights of a model, relative to its folder; empty if it is self-contained."""
    return {location for tensor in _tensors(model.graph) if (location := _location(tensor)) is not None}


def read_onnx(path: Path, spec: NetworkSpec, input_size: int, *, follow: bool = True) -> bytes:
    """Read an ONNX file that may contain the network of a spec; returns its bytes for a runtime to load.

    Raises InputError if the file is too large or damaged, refers to other files, contains an operator that exported
    networks do not have, or creates tensors far larger than the network's. It does not compare the logits.
    """
    costs = check_size(spec, input_size)
    content = read_bytes(path, 8 * costs.params + OVERHEAD_BYTES, follow=follow)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf raises a type of its own
        raise InputError(f"{path}: damaged or not an ONNX file ({error})") from None
    for problem in _problems(model, MAX_NODES_PER_ROW * len(walk(spec, input_size)) + 100):
        raise InputError(f"{path}: {problem}")
    limit = 16 * (costs.memory_bytes + 4 * costs.params) + OVERHEAD_BYTES
    try:
        needed = _tensor_bytes(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"{path}: damaged, its tensor shapes cannot be inferred ({first[0][:200]})") from None
    if needed > limit:
        raise InputError(f"{path}: needs {needed:.3g} bytes of tensors for one image; at most {limit:.3g} are allowed")
    return content


def _problems(model: onnx.ModelProto, max_nodes: int) -> Iterator[str]:
    """Reasons to refuse a file without running shape inference."""
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        yield "contains functions, training steps or sparse tensors, which exported networks do not have"
    if len(graph.node) > max_nodes:
        yield f"has {len(graph.node):,} operators; at most {max_nodes:,} are allowed for this network"
    for node in graph.node:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            operator = f"{node.domain}::{node.op_type}".strip(":")
            yield f"contains the operator {operator!r:.80}, which exported networks do not have"
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                yield "contains an operator with a subgraph, which exported networks do not have"
            if max((attribute.i, *attribute.ints)) > MAX_ATTRIBUTES.get(attribute.name, math.inf):
                yield (
                    f"contains an operator whose {attribute.name} exceeds {MAX_ATTRIBUTES[attribute.name]}, "
                    "the greatest value in exported networks"
                )
    for tensor in _tensors(graph):
        if len(tensor.dims) == 4 and max(tensor.dims[2:]) > MAX_ATTRIBUTES["kernel_shape"]:
            shape = "x".join(map(str, tensor.dims[2:]))
            yield f"contains a kernel of {shape} pixels, larger than in exported networks"
        if (location := _location(tensor)) is not None:
            yield f"stores weights in another file ({location!r:.80}); only self-contained files are read"


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The weights of a graph and the constants of its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _location(tensor: onnx.TensorProto) -> str | None:
    """The file that stores a tensor; None if it is the ONNX file itself."""
    if not (tensor.external_data or tensor.data_location != onnx.TensorProto.DEFAULT):
        return None
    return "".join(entry.value for entry in tensor.external_data if entry.key == "location")


def _tensor_bytes(model: onnx.ModelProto) -> int:
    """Total size of all operator outputs for one image, from ONNX shape inference; ValueError if a shape is unknown."""
    if len(model.graph.input) != 1:
        raise ValueError(f"{len(model.graph.input)} inputs")
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if len(dims) != 4:
        raise ValueError(f"its input has {len(dims)} dimensions, not 4")
    dims[0].dim_value = 1
    del model.graph.value_info[:]  # recompute all shapes rather than trust those in the file
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
                    raise ValueError(f"{name!r:.80} has no fixed shape")
                elements *= dim.dim_value
            total += elements
    return total
