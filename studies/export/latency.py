"""Latency of exported files on a device: fp32, int8, and their comparison."""

from dataclasses import dataclass
from pathlib import Path

from search.latency.compare import Comparison, compare_on
from search.latency.devices.device import Device
from search.latency.devices.named import device_named
from search.latency.measure import check_runtime, measure_on
from search.latency.protocol import DEFAULT_PROTOCOL
from search.latency.reading import Latency
from threshnet.export.folder import INT8, ONNX

RUNTIME = "onnxruntime"  # of the exported files


@dataclass(frozen=True)
class Speed:
    """Readings of the ONNX files of a folder on one device."""

    # By file name.
    readings: dict[str, Latency]
    # The int8 file against the fp32 file, in alternating rounds; None if there is no int8 file.
    int8: Comparison | None = None

    def lines(self) -> list[str]:
        """A line for each file, and one for int8 against fp32."""
        parts = [
            f"{file} on {reading.device}: {reading.latency_ms:.3f} ms ({reading.low_ms:.3f} to {reading.high_ms:.3f})"
            for file, reading in self.readings.items()
        ]
        return parts if self.int8 is None else [*parts, f"int8 is {verdict(self.int8)}"]


def device_for_files(name: str) -> Device:
    """The device of that name. Raises InputError if there is none or it cannot run ONNX files."""
    device = device_named(name)
    check_runtime(device, RUNTIME, DEFAULT_PROTOCOL)
    return device


def speed_of(folder: Path, input_size: int, device: Device) -> Speed:
    """Measure the ONNX files of an exported folder, one image at a time. Raises MeasurementError if that fails."""
    files = [file for file in (ONNX, INT8) if (folder / file).exists()]
    readings = {file: measure_on(device, folder / file, input_size, RUNTIME) for file in files}
    if INT8 not in files:
        return Speed(readings)
    return Speed(readings, compare_on(device, [folder / INT8, folder / ONNX], input_size, RUNTIME, DEFAULT_PROTOCOL))


def verdict(found: Comparison) -> str:
    """The verdict on int8 against fp32, in words."""
    (pair,) = found.pairs
    return (
        f"{pair.verdict}: {pair.ratio:.2f} times the latency of fp32 ({pair.low:.2f} to {pair.high:.2f}, 95 % interval)"
    )
