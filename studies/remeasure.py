"""Measure the networks of a study on another device without retraining them."""

from dataclasses import dataclass, replace

from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from search.latency.devices.device import Device
from search.latency.measure import measure_on
from search.latency.protocol import ConnectionLost, MeasurementError, Protocol
from search.latency.reading import Latency, backend
from search.objective import Display
from search.records import REMEASURED, Record, seen_on
from search.storing import upload_samples
from studies.storage import reason
from studies.study import LoadedStudy, require_trained
from threshnet.baselines import Architecture
from threshnet.errors import InputError


@dataclass(frozen=True)
class Remeasured:
    """Summary of a remeasurement. The readings themselves are stored in the study."""

    # Number of networks that were measured now, and number of networks that already had a reading.
    taken: int
    before: int
    # Why measurements failed, by the number of the network's first trial.
    failed: dict[int, str]
    # Whether the user interrupted the measurement.
    interrupted: bool


def remeasure(
    loaded: LoadedStudy, device: Device, runtime: str, protocol: Protocol, display: Display, *, again: bool = False
) -> Remeasured:
    """Measure all trained networks of a study on a device and store each reading immediately.

    Networks that already have a reading on this backend are skipped unless `again` is true. Ctrl-C stops the
    measurement and keeps the readings. The latency limit of the study does not apply. Raises InputError in the same
    cases as `elsewhere` and if the storage cannot be written, and ConnectionLost if the connection to the device is
    lost.
    """
    place = elsewhere(loaded, device, runtime, protocol)
    networks = networks_of(loaded)
    todo = [(spec, trials) for spec, trials in networks if again or any(place not in trial.latency for trial in trials)]
    taken, before, failed = 0, len(networks) - len(todo), dict[int, str]()
    display.counted(before)
    try:
        for spec, trials in todo:
            first = trials[0]
            display.stage(first.number, f"measuring on {place}")
            try:
                latency = measure_on(device, spec, loaded.spec.input_size, runtime, protocol)
            except ConnectionLost:
                raise
            except MeasurementError as failure:
                failed[first.number] = str(failure)
                display.finished(replace(first, state="failed", reason=str(failure)))
                continue
            _store(loaded, trials, place, latency)
            taken += 1
            display.counted(before + taken)
            display.finished(seen_on(replace(first, latency=first.latency | {place: latency}), place))
    except KeyboardInterrupt:
        return Remeasured(taken, before, failed, interrupted=True)
    return Remeasured(taken, before, failed, interrupted=False)


def elsewhere(loaded: LoadedStudy, device: Device, runtime: str, protocol: Protocol) -> str:
    """Return the backend for these settings, see Latency.backend.

    Raises InputError if no network is trained, or if the study itself measured on this backend. Those readings guided
    the search, and the values of its trials cannot be changed.
    """
    place, *own = (
        backend(where, how, taken.threads, taken.batch, taken.precision, taken.channels_last)
        for where, how, taken in (
            (device.name, runtime, protocol),
            *((loaded.spec.device, runtime, loaded.spec.protocol) for runtime in loaded.spec.runtimes),
        )
    )
    name = loaded.spec.name
    if place in own:
        raise InputError(f"study {name!r} itself measured on {place!r}; name another --device or --runtime")
    require_trained(loaded)
    return place


def networks_of(loaded: LoadedStudy) -> list[tuple[Architecture, list[Record]]]:
    """Group trials by trained network. A network has several trials if several workers trained it at the same time."""
    found: dict[str, tuple[Architecture, list[Record]]] = {}
    for record in loaded.records:
        if record.trained and record.architecture:
            found.setdefault(record.architecture.fingerprint(), (record.architecture, []))[1].append(record)
    return list(found.values())


def _store(loaded: LoadedStudy, trials: list[Record], place: str, latency: Latency) -> None:
    loaded.weights.mkdir(parents=True, exist_ok=True)  # missing if the study is a copy
    try:
        stored = upload_samples(FileSystemArtifactStore(loaded.weights), loaded.study, latency).to_json()
        for trial in trials:
            loaded.study.set_user_attr(f"{REMEASURED} {trial.number} {place}", stored)
    except (SQLAlchemyError, StorageInternalError) as error:
        raise InputError(f"study {loaded.spec.name!r} cannot be written: {reason(error)}") from None
