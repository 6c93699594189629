"""The PyTorch and ONNX Runtime probe for the only visible GPU: `python -m search.latency.probes.cuda_probe`.

Input and output stay in GPU memory, so copies are not timed. In torch, a run is timed by a CUDA event before the run
and a CUDA event after the run. This time includes the gaps between kernels, which account for most of an eager run at
batch size 1. In ONNX Runtime, the host measures the time from the call to the end of the last kernel. The two times are
not quite comparable. TF32 is disabled for fp32. cuDNN and ONNX Runtime choose their convolution algorithms by timing
them when the networks are loaded. The L2 cache is not flushed between runs. As on the CPU, consecutive runs of a
network fill the caches with the data of this network. In untrained networks, activations vanish with depth, so a
power-limited GPU may use a higher clock than for trained networks.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from search.latency.devices.cuda import PROVIDER
from search.latency.probes.probe import (
    Loaded,
    Timer,
    about,
    from_jpeg,
    host_timer,
    input_of,
    machine_state,
    output_of,
    run_session,
    serve,
    session_options,
)
from search.latency.probes.torch_probe import built, inference

CAPTURE_WARMUP = 3  # number of runs on a side stream before a capture, as in "CUDA semantics" of torch's documentation
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# NVIDIA's clock event reasons (nvml.h, nvmlClocksEventReason...) that slow down a measurement, and the equivalent
# vcgencmd bits for search.latency.reading. Idle 0x1, application clocks 0x2 and sync boost 0x10 are harmless.
HARMFUL_REASONS = {
    0x80: 0x1,  # HW power brake: insufficient power supply
    0x04: 0x2,  # SW power cap: the clock is capped
    0x08: 0x4,  # HW slowdown: throttled
    0x40: 0x4,  # HW thermal slowdown: throttled
    0x20: 0x8,  # SW thermal slowdown: the soft temperature limit
}
REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")  # since driver 535, and before driver 535


@dataclass(frozen=True)
class Replay:
    """A captured CUDA graph as a callable; it keeps the input and output tensors of the graph alive."""

    graph: torch.cuda.CUDAGraph
    run: Callable[[], Tensor]  # the captured function; holds the weights and the input
    output: Tensor  # overwritten by each replay

    def __call__(self) -> Tensor:
        """Replay the graph."""
        self.graph.replay()
        return self.output


def load(models: Sequence[Any], settings: Mapping[str, Any]) -> Loaded:
    """Load specs (torch) or ONNX files (onnxruntime) for inputs (batch, 3, size, size) on the GPU."""
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
    """Create timers for untrained networks (specs or library models, as JSON) in the precision of the settings.

    The runtime "torch" is eager, and the runtime "torch-graph" replays a captured CUDA graph.
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
        network = built(model, settings["input_size"])
        network.to("cuda", dtype, memory_format=layout)  # type: ignore[call-overload]
        run = inference(network, images)
        timers.append(event_timer(captured(run) if settings["runtime"] == "torch-graph" else run))
    return timers


def captured(run: Callable[[], Tensor]) -> Replay:
    """Capture a run as a CUDA graph, after warm-up runs on a side stream that initialize the libraries.

    The input of the graph is the tensor that `run` reads. Source: the section "CUDA Graphs" of "CUDA semantics" in
    torch's documentation.
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
    """Create a timer that waits for the end of a run and returns milliseconds measured by CUDA events."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def timer() -> float:
        start.record()
        run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))

    return timer


def onnx_timers(paths: Sequence[str], settings: Mapping[str, Any]) -> list[Timer]:
    """Create timers for ONNX files with one float32 input (batch, 3, size, size), using the CUDA provider.

    The files whose indices are in settings["from_jpeg"] decode a JPEG on the CPU in every run, see `from_jpeg`.
    """
    onnxruntime.preload_dlls()  # CUDA and cuDNN from wheels, unless torch has already loaded them
    options = {"device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    runs: list[Callable[[], object]] = []
    for number, path in enumerate(paths):
        session = onnxruntime.InferenceSession(
            path, session_options(settings["threads"]), [(PROVIDER, options), "CPUExecutionProvider"]
        )
        if PROVIDER not in session.get_providers():
            raise RuntimeError(
                f"onnxruntime {onnxruntime.__version__} could not load its {PROVIDER}, "
                "which needs the CUDA and cuDNN that it was built for: pip install 'onnxruntime-gpu[cuda,cudnn]'"
            )
        if number in settings.get("from_jpeg", ()):
            runs.append(from_jpeg(settings, partial(run_session, session, session.get_inputs()[0].name)))
        else:
            runs.append(bound(path, session, settings, "cuda"))
    return list(map(host_timer, runs))


def bound(path: str, session: Any, settings: Mapping[str, Any], place: str) -> Callable[[], None]:  # noqa: ANN401
    """Return a function that runs an ONNX session and waits for its end; input and output are in memory on `place`."""
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
    """Return gpu_state while the networks run, since an idle GPU lowers its clock and resets throttling reasons."""
    with ThreadPoolExecutor(1) as pool:
        state = pool.submit(gpu_state, gpu)
        while not state.done():
            for timer in timers:
                timer()
        return state.result()


def gpu_state(gpu: str) -> dict[str, Any]:
    """Return the state of a GPU ("GPU-UUID") from nvidia-smi and of the machine; None if not reported."""
    degrees, megahertz, reasons = "", "", ""
    for field in REASONS:
        if values := nvidia_smi(gpu, "temperature.gpu", "clocks.sm", field):
            degrees, megahertz, reasons = values
            break
    machine = machine_state()
    return {
        "temperature_c": number(degrees),
        "clock_mhz": number(megahertz),
        "governor": None,
        "throttled": throttling(int(reasons, 16)) if reasons.startswith("0x") else None,
        "quota_throttled": machine["quota_throttled"],
        "load": machine["load"],
        "gpu_others_percent": others_percent(
            output_of("nvidia-smi", "pmon", "-s", "u", "-c", "1", "-i", gpu), os.getpid()
        ),
    }


def others_percent(listing: str, pid: int) -> float | None:
    """Return how busy other processes kept a GPU, in percent of its multiprocessors, from `nvidia-smi pmon`.

    None if the process `pid` is not in the listing, as in containers, where the listing has the numbers of the host.
    """
    header, busy = list[str](), dict[int, float]()
    for line in listing.splitlines():
        if line.startswith("#"):
            header = header or line.strip("# ").split()
            continue
        values = dict(zip(header, line.split(), strict=False))
        if values.get("pid", "").isdigit():
            busy[int(values["pid"])] = number(values.get("sm", "")) or 0.0
    return sum(percent for process, percent in busy.items() if process != pid) if pid in busy else None


def nvidia_smi(gpu: str, *fields: str) -> list[str]:
    """Query two or more fields of a GPU from nvidia-smi and return the values, or an empty list if it fails."""
    output = output_of("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits", "-i", gpu)
    values = [value.strip() for value in output.split(",")]
    return values if len(values) == len(fields) else []


def number(text: str) -> float | None:
    """Parse a number printed by nvidia-smi; returns None for "[N/A]" and similar texts."""
    try:
        return float(text)
    except ValueError:
        return None


def throttling(reasons: int) -> int:
    """Convert NVIDIA's clock event reasons to vcgencmd bits; 0 if nothing slows down the GPU."""
    return sum({bit for reason, bit in HARMFUL_REASONS.items() if reasons & reason})


def about_gpu() -> dict[str, Any]:
    """Return facts about the GPU, which replace the facts about the CPU of the machine."""
    gpu = torch.cuda.get_device_properties(0)
    free_mib = torch.cuda.mem_get_info(0)[0] >> 20
    return {**about(), "processor": gpu.name, "free_mib": free_mib, "state": gpu_state(f"GPU-{gpu.uuid}")}


if __name__ == "__main__":
    serve(load, about_gpu)
