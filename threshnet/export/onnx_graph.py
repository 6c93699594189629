"""A network as an ONNX graph: one operator per row of the walk.

torch's exporter gives the same operators but takes seconds, most of them for tracing. A search exports every candidate.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from threshnet.network import ThreshNet
from threshnet.shapes import IMAGE, IMAGE_CHANNELS, Row, walk

INPUT, OUTPUT = "images", "logits"
DYNAMIC_BATCH = "n"  # name of a dynamic batch size
OPSET, IR = 18, 10  # those of torch's exporter, which onnxruntime reads from version 1.18 on
WEIGHTS = ("weight", "bias", "running_mean", "running_var")  # of a module, in the order of the operator's inputs


def onnx_graph(model: ThreshNet, input_size: int, batch: int | None) -> onnx.ModelProto:
    """Convert a network in eval mode, weights included; nodes and their outputs have the names of the rows.

    The input is float32 (batch, 3, input_size, input_size), and the output float32 (batch, classes). With `batch` None,
    the batch size is dynamic. Raises InputError if pooling leaves no pixels.
    """
    walk(model.spec, input_size)
    graph = _Graph()
    outputs = {IMAGE: INPUT}
    for index, row in enumerate(model.rows):
        sources = [outputs[source] for source in row.sources]
        outputs[index] = graph.add(row, model.get_submodule(row.name), sources)
    graph.nodes[-1].output[0] = OUTPUT
    size = DYNAMIC_BATCH if batch is None else batch
    images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (size, IMAGE_CHANNELS, input_size, input_size))
    logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, (size, model.spec.classes))
    content = helper.make_graph(graph.nodes, "network", [images], [logits], graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(content, opset_imports=opsets, ir_version=IR, producer_name="threshnet-nas")


class _Graph:
    """The nodes and constants so far, i.e. weights and settings; `add` appends those of one row."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, row: Row, module: nn.Module, sources: list[str]) -> str:
        """Return the name of the row's output; a module that does nothing in eval mode has no node."""
        source = sources[0] if len(sources) == 1 else self.node("Concat", f"{row.name}_concat", sources, axis=1)
        if isinstance(module, nn.Dropout | nn.Identity):  # folding leaves identities
            return source
        inputs = [source, *(self.constant(f"{row.name}.{name}", values) for name, values in _weights(module))]
        padding = 1 if row.kernel == 3 else 0
        window = {"kernel_shape": [row.kernel] * 2, "strides": [row.stride] * 2, "pads": [padding] * 4}
        match row.op:
            case "conv":
                return self.node("Conv", row.name, inputs, **window)
            case "norm":
                assert isinstance(module, nn.BatchNorm2d)
                return self.node("BatchNormalization", row.name, inputs, epsilon=module.eps)
            case "relu":
                return self.node("Relu", row.name, inputs)
            case "relu6":
                low = self.constant(f"{row.name}.low", np.array(0, np.float32))
                high = self.constant(f"{row.name}.high", np.array(6, np.float32))
                return self.node("Clip", row.name, [*inputs, low, high])
            case "max_pool":
                return self.node("MaxPool", row.name, inputs, **window)
            case "avg_pool":
                axes = self.constant(f"{row.name}.axes", np.array([2, 3]))
                return self.node("ReduceMean", row.name, [*inputs, axes], keepdims=1)
            case "flatten":
                shape = self.constant(f"{row.name}.shape", np.array([0, -1]))  # 0: the batch size, whatever it is
                return self.node("Reshape", row.name, [*inputs, shape])
            case "linear":
                return self.node("Gemm", row.name, inputs, transB=1)
            case _:
                raise AssertionError(f"{row.name} is not a {row.op}")

    def node(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:  # noqa: ANN401 - as in onnx
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name


def _weights(module: nn.Module) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name in WEIGHTS:
        values = getattr(module, name, None)
        if values is not None:
            yield name, values.detach().cpu().float().numpy()
