"""The probe for the only visible GPU, in PyTorch or ONNX Runtime: `python -m search.latency.probes.cuda_probe`.

Input and output stay in the GPU's memory, so no copy is timed. In torch, the time of a run is that between a CUDA event
before it and one after it. It includes the gaps between kernels, which are most of an eager run at batch 1. In ONNX
Runtime, it is the host's time from the call to the end of the last kernel, which is not quite comparable. TF32 is off
for fp32. The convolution algorithms of cuDNN and ONNX Runtime are chosen by timing when the networks are loaded. The L2
cache is not flushed between runs: as on the CPU, consecutive runs of one network fill the caches with its own data. The
activations of untrained networks vanish with depth, so a power-limited GPU may clock higher for them than for trained
ones.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from search.latency.devices.cuda import PROVIDER
from search.latency.probes.probe import (
    Loaded,
    Timer,
    about,
    host_timer,
    input_of,
    machine_state,
    output_of,
    serve,
    session_options,
)
from search.latency.probes.torch_probe import inference
from threshnet.network import build
from threshnet.spec import NetworkSpec

CAPTURE_WARMUP = 3  # runs on a side stream before a capture, as in torch's page on CUDA semantics
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# NVIDIA's clock event reasons (nvml.h, nvmlClocksEventReason...) that slow a measurement, and the equivalent bits of
# vcgencmd for search.latency.reading; idle 0x1, application clocks 0x2 and sync boost 0x10 are harmless.
HARMFUL_REASONS = {
    0x80: 0x1,  # HW power brake: insufficient power supply
    0x04: 0x2,  # SW power cap: the clock is capped
    0x08: 0x4,  # HW slowdown: throttled
    0x40: 0x4,  # HW thermal slowdown: throttled
    0x20: 0x8,  # SW thermal slowdown: the soft temperature limit
}
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")  # since driver 535, and before


@dataclass(frozen=True)
class Replay:
    """A captured CUDA graph as a callable that keeps alive the tensors that the graph reads and writes."""

    graph: torch.cuda.CUDAGraph
    run: Callable[[], Tensor]  # the captured function; holds the weights and the input
    output: Tensor  # overwritten by each replay

    def __call__(self) -> Tensor:
        """Replay the graph."""
        self.graph.replay()
        return self.output


def load(models: Sequence[Any], settings: Mapping[str, Any]) -> Loaded:
    """Load specs (torch) or ONNX files (onnxruntime) for (batch, 3, size, size) on the GPU."""
    torch.set_num_threads(settings["threads"])
    torch.cuda.set_device(0)
    notes = []
    if settings["precision"] == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        notes.append("emulated: this GPU does not support bf16")
    if settings["runtime"] == "onnxruntime":
        timers, version = onnx_timers(models, settings), onnxruntime.__version__
    else:
        timers, version = torch_timers(models, settings), torch.__version__
    gpu = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    return Loaded(timers, version, torch.cuda.get_device_name(0), notes, lambda: state_under_load(gpu, timers))


def torch_timers(models: Sequence[Any], settings: Mapping[str, Any]) -> list[Timer]:
    """Timers of the untrained networks of the specs in `models` (as JSON), with everything in the precision.

    The runtime "torch" is eager, "torch-graph" a CUDA graph captured from it.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    dtype = DTYPES[settings["precision"]]
    images = torch.rand(settings["batch"], 3, settings["input_size"], settings["input_size"])
    images = images.to("cuda", dtype).contiguous(memory_format=layout)
    timers = []
    for model in models:
        network: nn.Module = build(NetworkSpec.from_json(model)).eval()
        network.to("cuda", dtype, memory_format=layout)  # type: ignore[call-overload]
        run = inference(network, images)
        timers.append(event_timer(captured(run) if settings["runtime"] == "torch-graph" else run))
    return timers


def captured(run: Callable[[], Tensor]) -> Replay:
    """Capture a run as a CUDA graph, after runs on a side stream that initialize libraries.

    The graph's input is the tensor that `run` reads. Source: "CUDA semantics", section CUDA Graphs, of torch's
    documentation.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(CAPTURE_WARMUP):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()
    return Replay(graph, run, output)


def event_timer(run: Callable[[], object]) -> Timer:
    """A timer of one run, in milliseconds by the GPU's clock; it waits for the end of the run."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def timer() -> float:
        start.record()
        run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))

    return timer


def onnx_timers(paths: Sequence[str], settings: Mapping[str, Any]) -> list[Timer]:
    """Timers of ONNX files with one float32 input (batch, 3, size, size), run by the CUDA provider."""
    onnxruntime.preload_dlls()  # CUDA and cuDNN from wheels, unless torch has loaded them already
    options = {"device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    timers = []
    for path in paths:
        session = onnxruntime.InferenceSession(
            path, session_options(settings["threads"]), [(PROVIDER, options), "CPUExecutionProvider"]
        )
        if PROVIDER not in session.get_providers():
            raise RuntimeError(
                f"onnxruntime {onnxruntime.__version__} could not load its {PROVIDER}, "
                "which needs the CUDA and cuDNN that it was built for: pip install 'onnxruntime-gpu[cuda,cudnn]'"
            )
        timers.append(host_timer(bound(path, session, settings, "cuda")))
    return timers


def bound(path: str, session: Any, settings: Mapping[str, Any], place: str) -> Callable[[], None]:  # noqa: ANN401
    """A function that runs an ONNX session, with input and output in the memory of `place`, and waits for its end."""
    shape = (settings["batch"], 3, settings["input_size"], settings["input_size"])
    name, _ = input_of(path, session, shape)
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(images, place, 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, place, 0)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def state_under_load(gpu: str, timers: Sequence[Timer]) -> dict[str, Any]:
    """The gpu_state while the networks run: an idle GPU lowers its clock and resets its throttling reasons."""
    with ThreadPoolExecutor(1) as pool:
        state = pool.submit(gpu_state, gpu)
        while not state.done():
            for timer in timers:
                timer()
        return state.result()


def gpu_state(gpu: str) -> dict[str, Any]:
    """The state of a GPU, "GPU-UUID", from nvidia-smi; None for values not reported. The load is the machine's."""
    degrees, megahertz, reasons = "", "", ""
    for field in REASONS:
        if values := nvidia_smi(gpu, "temperature.gpu", "clocks.sm", field):
            degrees, megahertz, reasons = values
            break
    return {
        "temperature_c": number(degrees),
        "clock_mhz": number(megahertz),
        "governor": None,
        "throttled": throttling(int(reasons, 16)) if reasons.startswith("0x") else None,
        "load": machine_state()["load"],
    }


def nvidia_smi(gpu: str, *fields: str) -> list[str]:
    """The values of two or more fields from nvidia-smi for a GPU; empty if it fails."""
    output = output_of("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "-i", gpu)
    values = [value.strip() for value in output.split(",")]
    return values if len(values) == len(fields) else []


def number(text: str) -> float | None:
    """A number as printed by nvidia-smi; None for "[N/A]" and the like."""
    try:
        return float(text)
    except ValueError:
        return None


def throttling(reasons: int) -> int:
    """NVIDIA's clock event reasons as bits of vcgencmd; 0 if nothing slows the GPU."""
    return sum({bit for reason, bit in HARMFUL_REASONS.items() if reasons & reason})


def about_gpu() -> dict[str, Any]:
    """Facts about the GPU, in place of those about the machine's CPU."""
    gpu = torch.cuda.get_device_properties(0)
    free_mib = torch.cuda.mem_get_info(0)[0] >> 20
    return {**about(), "processor": gpu.name, "free_mib": free_mib, "state": gpu_state(f"GPU-{gpu.uuid}")}


if __name__ == "__main__":
    serve(load, about_gpu)
