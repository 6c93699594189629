"""Latency of exported fp32 and int8 files on a device, and a comparison of the two."""

from dataclasses import dataclass
from pathlib import Path

from search.latency.compare import Comparison, compare_on
from search.latency.devices.device import Device
from search.latency.devices.named import device_named
from search.latency.measure import check_runtime, measure_on
from search.latency.protocol import DEFAULT_PROTOCOL
from search.latency.reading import Latency
from threshnet.export.folder import INT8, ONNX

RUNTIME = "onnxruntime"  # the runtime for exported files


@dataclass(frozen=True)
class Speed:
    """Latency readings of the ONNX files in a folder on one device."""

    # Readings by file name.
    readings: dict[str, Latency]
    # Comparison of the int8 file with the fp32 file in alternating rounds; None if there is no int8 file.
    int8: Comparison | None = None

    def lines(self) -> list[str]:
        """Return a line for each file, and a line that compares int8 with fp32."""
        parts = [
            f"{file} on {reading.device}: {reading.latency_ms:.3f} ms ({reading.low_ms:.3f} to {reading.high_ms:.3f})"
            for file, reading in self.readings.items()
        ]
        return parts if self.int8 is None else [*parts, f"int8 is {verdict(self.int8)}"]


def device_for_files(name: str) -> Device:
    """Return the device with this name. Raises InputError if it does not exist or cannot run ONNX files."""
    device = device_named(name)
    check_runtime(device, RUNTIME, DEFAULT_PROTOCOL)
    return device


def speed_of(folder: Path, input_size: int, device: Device) -> Speed:
    """Measure the ONNX files in an exported folder at batch size 1. Raises MeasurementError if that fails."""
    files = [file for file in (ONNX, INT8) if (folder / file).exists()]
    readings = {file: measure_on(device, folder / file, input_size, RUNTIME) for file in files}
    if INT8 not in files:
        return Speed(readings)
    return Speed(readings, compare_on(device, [folder / INT8, folder / ONNX], input_size, RUNTIME, DEFAULT_PROTOCOL))


def verdict(found: Comparison) -> str:
    """Describe the comparison of int8 with fp32."""
    (pair,) = found.pairs
    return (
        f"{pair.verdict}: {pair.ratio:.2f} times the latency of fp32 ({pair.low:.2f} to {pair.high:.2f}, 95 % interval)"
    )
