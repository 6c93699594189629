"""Latency on this machine's CPU, taken in a child process with fixed threads."""

import tempfile
from pathlib import Path

import torch

from search.latency.exchange import ask
from search.latency.processor import processor_name, usable_processors
from search.latency.timing import DEFAULT_PROTOCOL, Latency, MeasurementError, Protocol, summarise
from threshnet.errors import InputError
from threshnet.export import export_onnx
from threshnet.network import build
from threshnet.shapes import walk
from threshnet.spec import NetworkSpec

RUNTIMES = ("onnxruntime", "torch")
PROBES = {runtime: f"search.latency.{runtime}_probe" for runtime in RUNTIMES}


def measure(
    spec: NetworkSpec, input_size: int, runtime: str = "onnxruntime", protocol: Protocol = DEFAULT_PROTOCOL
) -> Latency:
    """Measure the network of a spec, untrained (weights do not change fp32 latency), on (batch, 3, size, size).

    Raises InputError for an unknown runtime or a size that the network pools away, MeasurementError when the
    measurement fails. The global random state and threads of torch are left alone.
    """
    walk(spec, input_size)  # refuses a size that is too small
    match runtime:
        case "torch":
            return _reading(runtime, spec.to_json(), input_size, protocol)
        case "onnxruntime":
            with tempfile.TemporaryDirectory(prefix="threshnet-") as folder:
                path = Path(folder) / "model.onnx"
                _export(spec, input_size, path, protocol.batch)
                return measure_onnx_file(path, input_size, protocol)
        case _:
            raise InputError(f"runtime {runtime!r}, must be one of {', '.join(RUNTIMES)}")


def measure_onnx_file(path: Path, input_size: int, protocol: Protocol = DEFAULT_PROTOCOL) -> Latency:
    """Measure an ONNX file in ONNX Runtime; its one input takes float32 (batch, 3, size, size).

    Raises InputError when there is no such file, MeasurementError when the measurement fails.
    """
    _check_size(input_size)
    if not path.is_file():
        raise InputError(f"{path}: no such file, must be an ONNX file")
    return _reading("onnxruntime", str(path.resolve()), input_size, protocol)


def _export(spec: NetworkSpec, input_size: int, path: Path, batch: int) -> None:
    try:
        with torch.random.fork_rng(devices=[]):
            export_onnx(build(spec), input_size, path, batch)
    except Exception as error:  # memory, disk, or torch's exporter, whose errors have no common kind
        first = str(error).strip().splitlines() or [""]
        raise MeasurementError(f"the ONNX export failed: {type(error).__name__}: {first[0]}") from error


def _reading(runtime: str, model: object, input_size: int, protocol: Protocol) -> Latency:
    answer = ask(PROBES[runtime], model, input_size, protocol)
    processors = usable_processors()
    crowded = f"{protocol.threads} threads on {processors} processors"
    return summarise(
        answer.samples_ms,
        protocol,
        device="cpu",
        processor=processor_name(),
        runtime=runtime,
        runtime_version=answer.runtime_version,
        input_size=input_size,
        warnings=(*answer.warnings, *([crowded] if protocol.threads > processors else [])),
    )


def _check_size(input_size: int) -> None:
    if input_size < 1:
        raise InputError(f"input size {input_size!r}, must be at least 1 pixel")
