"""Measure the networks of a study again without retraining them: on another device, or those with a warning."""

from dataclasses import dataclass, replace
from functools import partial

from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from search.latency.devices.device import Device
from search.latency.measure import measure_all
from search.latency.protocol import ConnectionLost, MeasurementError, Protocol
from search.latency.reading import Latency, backend
from search.latency.settled import settled_readings
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
    loaded: LoadedStudy,
    device: Device,
    runtime: str,
    protocol: Protocol,
    display: Display,
    *,
    again: bool = False,
    flagged: bool = False,
) -> Remeasured:
    """Measure all trained networks of a study on a device and store each reading immediately.

    Networks that already have a reading on this backend are skipped unless `again` is true. With `flagged`, only
    networks whose reading on this backend was disturbed are measured, also on the backend of the study, where the new
    readings replace those of the search. A disturbed reading is taken again, see settled_readings. Ctrl-C stops the
    measurement and keeps the readings. The latency limit of the study only applies to its own backend. Raises
    InputError in the same cases as `place_of` and if the storage cannot be written, and ConnectionLost if the
    connection to the device is lost.
    """
    place = place_of(loaded, device, runtime, protocol, flagged=flagged)
    networks = networks_of(loaded)
    todo = [
        (spec, trials)
        for spec, trials in networks
        if (again and not flagged) or any(_wanted(trial.latency.get(place), flagged=flagged) for trial in trials)
    ]
    taken, before, failed = 0, len(networks) - len(todo), dict[int, str]()
    display.counted(before)
    try:
        for spec, trials in todo:
            first = trials[0]
            display.stage(first.number, f"measuring on {place}")
            try:
                (latency,) = settled_readings(
                    partial(measure_all, device, (spec,), loaded.spec.input_size, runtime),
                    protocol,
                    partial(display.stage, first.number),
                )
            except ConnectionLost:
                raise
            except MeasurementError as failure:
                failed[first.number] = str(failure)
                display.finished(replace(first, state="failed", reason=str(failure)))
                continue
            own = place == next(iter(first.latency), None)
            if own and latency.processor != first.latency[place].processor:
                raise InputError(f"study {loaded.spec.name!r} was measured on another processor: {latency.processor!r}")
            _store(loaded, trials, place, latency)
            taken += 1
            display.counted(before + taken)
            measured = replace(first, latency=first.latency | {place: latency})
            display.finished(replace(measured, latency_ms=latency.latency_ms) if own else seen_on(measured, place))
    except KeyboardInterrupt:
        return Remeasured(taken, before, failed, interrupted=True)
    return Remeasured(taken, before, failed, interrupted=False)


def _wanted(latency: Latency | None, *, flagged: bool) -> bool:
    """Return whether a network with this reading is to be measured; with `flagged`, only if it was disturbed."""
    return bool(latency and latency.disturbed) if flagged else latency is None


def place_of(loaded: LoadedStudy, device: Device, runtime: str, protocol: Protocol, *, flagged: bool = False) -> str:
    """Return the backend for these settings, see Latency.backend.

    Raises InputError if no network is trained, or if the study itself measured on this backend and not only `flagged`
    networks are to be measured.
    """
    place, *own = (
        backend(where, how, taken.threads, taken.batch, taken.precision, taken.channels_last)
        for where, how, taken in (
            (device.name, runtime, protocol),
            *((loaded.spec.device, runtime, loaded.spec.protocol) for runtime in loaded.spec.runtimes),
        )
    )
    name = loaded.spec.name
    if place in own and not flagged:
        raise InputError(
            f"study {name!r} itself measured on {place!r}; name another --device or --runtime, or measure the networks "
            "whose readings were disturbed with --flagged"
        )
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
