"""ONNX files made by hand: small, and wrong in one way or another."""

from pathlib import Path

import numpy as np
import onnx


def conv_file(
    path: Path, batch: int | str = 1, size: int = 8, dtype: "np.typing.DTypeLike" = np.float32, inputs: int = 1
) -> Path:
    """Write an ONNX file of one 3x3 convolution, (batch, 3, size, size) to (batch, 4, size, size).

    The inputs, of `dtype`, are added up first.
    """
    kind, single = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), onnx.TensorProto.FLOAT
    kernel = np.ones((4, 3, 3, 3), np.float32)
    names = [f"x{number}" for number in range(inputs)]
    images = [onnx.helper.make_tensor_value_info(name, kind, [batch, 3, size, size]) for name in names]
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Sum", names, ["sum"]),
            onnx.helper.make_node("Cast", ["sum"], ["x"], to=single),
            onnx.helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1]),
        ],
        "conv",
        images,
        [onnx.helper.make_tensor_value_info("y", single, [batch, 4, size, size])],
        [onnx.numpy_helper.from_array(kernel, "kernel")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)
    return path
