"""The child program that times an ONNX file in ONNX Runtime: `python -m search.latency.onnxruntime_probe`."""

import numpy as np
import onnxruntime

from search.latency.exchange import Ready, serve
from search.latency.timing import Protocol


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return the options every network is measured with: sequential, all optimisations, spinning as by default.

    Denormals count as zero, so that weights cannot change the latency: under torch's default initialisation a ReLU
    layer scales activations by 1 / sqrt(6), so an untrained chain of about 97 falls below 1.2e-38, where some CPUs are
    many times slower (no difference on the AMD EPYC tried).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.log_severity_level = 3  # errors only: the last line of stderr belongs to the reason of a failure
    return options


def prepare(model: str, input_size: int, protocol: Protocol) -> Ready:
    """Load the ONNX file at path model, whose one input takes float32 (n, 3, h, w); ValueError if it takes another."""
    session = onnxruntime.InferenceSession(model, session_options(protocol.threads), ["CPUExecutionProvider"])
    shape = (protocol.batch, 3, input_size, input_size)
    inputs = [(node.name, node.type, node.shape) for node in session.get_inputs()]
    if len(inputs) != 1 or inputs[0][1] != "tensor(float)":
        raise ValueError(f"{model} has the inputs {inputs}, must have one of float32")
    name, _, sizes = inputs[0]
    dynamic = [size for size in sizes if not isinstance(size, int)]
    if len(sizes) != 4 or any(isinstance(size, int) and size != n for size, n in zip(sizes, shape, strict=True)):
        raise ValueError(f"{model} takes an input of {sizes}, not the {list(shape)} asked for")
    feed = {name: np.random.default_rng(0).random(shape, dtype=np.float32)}
    slow = f"dynamic shape: the input is {sizes}, a file exported with a static one may be faster"
    return Ready(lambda: session.run(None, feed), onnxruntime.__version__, (slow,) if dynamic else ())


if __name__ == "__main__":
    serve(prepare)
