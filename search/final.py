"""The final pass: at the end of a study, its front is measured again, all networks interleaved.

The front consists of the networks with the best readings, so some of these readings are too good by luck. New values
count for all of these networks alike; taking only the better ones would keep that bias.
"""

import os
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from optuna import Study
from optuna.artifacts import FileSystemArtifactStore

from search import records
from search.latency.lease import alive
from search.latency.measure import measure_all
from search.latency.protocol import MeasurementError
from search.latency.reading import Latency
from search.latency.settled import settled_readings
from search.objective import Display
from search.pareto import non_dominated
from search.records import Record, reading
from search.storing import upload_samples
from search.task import Task
from search.volume import plural

TOGETHER = 20  # maximum number of networks that are measured interleaved
CLAIM_S = 3600.0  # seconds after which the claim of a worker on another host expires


def final_pass(study: Study, task: Task, store: FileSystemArtifactStore, display: Display) -> int:
    """Measure the front of a study again, unless this was done since its last trial; returns the number of networks.

    The front includes every network that would be on it at the lower end of its interval, and the networks whose
    verdict was postponed. Networks whose new reading is disturbed keep their earlier one. Only one of several workers
    measures. If the measurement fails, the earlier readings count.
    """
    read = [record for record in records.records(study) if record.state not in ("running", "waiting")]
    claim = _claimed(study, len(read)) if any(record.trained for record in read) else None
    if claim is None:
        return 0
    chosen = to_measure_again(read)
    architectures = [record.architecture for record in chosen if record.architecture]
    latencies: list[Latency] = []
    display.print(f"measuring {plural(len(chosen), 'network')} again: the front and those that may belong to it")
    try:
        for start in range(0, len(architectures), TOGETHER):
            part = architectures[start : start + TOGETHER]
            display.stage(chosen[start].number, f"measuring {plural(len(chosen), 'network')} again")
            take = partial(measure_all, task.device, part, task.input_size, task.runtimes[0])
            latencies += settled_readings(take, task.protocol, partial(display.stage, chosen[start].number))
    except MeasurementError as failure:
        display.print(f"the front was not measured again: {failure}")
        return 0
    disturbed = sum(latency.disturbed for latency in latencies)
    if disturbed:
        display.print(f"{disturbed} of {plural(len(chosen), 'network')} could not be measured undisturbed")
    for architecture, latency in zip(architectures, latencies, strict=True):
        if latency.disturbed:
            continue
        name, stored = architecture.fingerprint(), upload_samples(store, study, latency).to_json()
        for record in read:  # a network has several trials, e.g. if it was stopped at a rung
            if record.fingerprint == name and record.latency:
                study.set_user_attr(f"{records.REMEASURED} {record.number} {latency.backend}", stored)
    if study.user_attrs[records.FINAL_PASS] == claim:
        study.set_user_attr(records.FINAL_PASS, claim | {"done": True})
    return len(chosen)


def to_measure_again(read: Sequence[Record]) -> list[Record]:
    """Return one record of each network that the final pass measures.

    These are the networks that no other one dominates even at the lower end of its interval, and those whose verdict is
    postponed.
    """
    competing = [record for record in read if record.competes or (record.trained and record.postponed)]
    points = [record.point for record in competing]
    front = [point for point, keep in zip(points, non_dominated(points), strict=True) if keep] if points else []
    chosen = [record for record in competing if _reaches(record, front)]
    chosen += [record for record in read if record.postponed and record.state != "duplicate"]
    chosen = chosen or [record for record in read if record.trained]
    return list({record.fingerprint: record for record in chosen if record.architecture}.values())


def _reaches(record: Record, front: Sequence[tuple[float, float]]) -> bool:
    """Return whether no point of the front dominates a network at the lower end of its latency interval."""
    low_ms, error = reading(record).low_ms, record.point[1]
    return not any(ms <= low_ms and other <= error and (ms, other) != (low_ms, error) for ms, other in front)


def _claimed(study: Study, trials: int) -> dict[str, Any] | None:
    """Claim the final pass after this number of ended trials, and return the claim.

    Returns None if the pass was done, or if another worker is at it.
    """
    last = study.user_attrs.get(records.FINAL_PASS)
    if last and last["trials"] == trials:
        here = last["host"] == socket.gethostname()
        working = alive(last["pid"]) and last["pid"] != os.getpid() if here else time.time() < last["since"] + CLAIM_S
        if last.get("done") or working:
            return None
    claim = {"host": socket.gethostname(), "pid": os.getpid(), "trials": trials, "since": time.time()}
    study.set_user_attr(records.FINAL_PASS, claim)
    return claim if study.user_attrs[records.FINAL_PASS] == claim else None
