"""The latencies of retrained networks, measured in one pass."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from search.latency.devices.device import Device
from search.latency.devices.named import device_named
from search.latency.measure import check_runtime, measure_all
from search.latency.protocol import DEFAULT_PROTOCOL, Protocol
from search.latency.reading import Latency, backend
from search.latency.settled import settled_readings
from studies.spec import StudySpec
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec
from threshnet.untrusted import read_json

LATENCIES = "latencies.json"


@dataclass(frozen=True)
class MeasurementSettings:
    """The device, the runtime and the protocol of a measurement."""

    device: Device
    runtime: str
    protocol: Protocol

    @property
    def backend(self) -> str:
        """The name of the backend, see Latency.backend."""
        taken = self.protocol
        return backend(self.device.name, self.runtime, taken.threads, taken.batch, taken.precision, taken.channels_last)


def measurement_settings(spec: StudySpec | None, device: str | None) -> MeasurementSettings:
    """Return the settings of a study or, if a `device` is given or without a study, the defaults of the device.

    Raises InputError if there is no such device or if it does not support the settings.
    """
    if spec is not None and device in (None, spec.device):
        settings = MeasurementSettings(device_named(spec.device), spec.runtimes[0], spec.protocol)
    else:
        found = device_named(device or "cpu")
        settings = MeasurementSettings(found, found.runtimes[0], DEFAULT_PROTOCOL)
    check_runtime(settings.device, settings.runtime, settings.protocol)
    return settings


def latencies(
    networks: Mapping[str, NetworkSpec],
    input_size: int,
    settings: MeasurementSettings,
    folder: Path,
    report: Callable[[str], None],
) -> dict[str, Latency]:
    """Return the latencies of networks by fingerprint; all are measured in one pass, interleaved.

    If `folder` has readings of all networks from an earlier pass with the same settings, these are returned. Raises
    MeasurementError if the measurement fails.
    """
    file = folder / LATENCIES
    stored = _stored(file)
    same = [reading.backend == settings.backend and reading.input_size == input_size for reading in stored.values()]
    if networks.keys() <= stored.keys() and all(same):
        return {fingerprint: stored[fingerprint] for fingerprint in networks}
    report(f"measuring {len(networks)} networks on {settings.backend}")
    take = partial(measure_all, settings.device, tuple(networks.values()), input_size, settings.runtime)
    readings = dict(zip(networks, settled_readings(take, settings.protocol, report), strict=True))
    partial_file = file.with_name(file.name + ".partial")
    partial_file.write_text(json.dumps({key: one.to_json() for key, one in readings.items()}, indent=2) + "\n")
    partial_file.replace(file)
    return readings


def _stored(file: Path) -> dict[str, Latency]:
    if not file.exists():
        return {}
    document = read_json(file)
    if not isinstance(document, Mapping):
        raise InputError(f"{file}: must be a table of readings; delete it to measure again")
    return {key: Latency.from_json(reading, f"{file}: {key}") for key, reading in document.items()}
