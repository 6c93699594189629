"""A device chosen by its name."""

from search.latency import cpu
from search.latency.timing import DEFAULT_PROTOCOL, Latency, Protocol
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec

DEVICES = ("cpu",)


def measure_on(
    device: str,
    spec: NetworkSpec,
    input_size: int,
    runtime: str = "onnxruntime",
    protocol: Protocol = DEFAULT_PROTOCOL,
) -> Latency:
    """Measure the network of a spec on the named device.

    Raises InputError for an unknown device or runtime, MeasurementError when the measurement fails.
    """
    match device:
        case "cpu":
            return cpu.measure(spec, input_size, runtime, protocol)
        case _:
            raise InputError(f"device {device!r}, must be one of {', '.join(DEVICES)}")
