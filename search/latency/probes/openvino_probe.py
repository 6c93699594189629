"""The OpenVINO probe for ONNX files on the CPU in fp32: `python -m search.latency.probes.openvino_probe`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openvino

from search.latency.probes.probe import Loaded, host_timer, one_thread_clock, serve


def load(paths: Sequence[str], settings: Mapping[str, Any]) -> Loaded:
    """Compile ONNX files with input (batch, 3, size, size) in full precision, for one stream with `threads` threads."""
    shape = (settings["batch"], 3, settings["input_size"], settings["input_size"])
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    options = {
        "INFERENCE_NUM_THREADS": settings["threads"],
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    timers = []
    for path in paths:
        request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
        request.set_input_tensor(openvino.Tensor(image))
        timers.append(host_timer(request.infer))
    return Loaded(timers, openvino.__version__.partition("-")[0], cpu_clock=one_thread_clock(settings))


if __name__ == "__main__":
    serve(load)
