"""Disturbed readings: taken again, never a reason to leave a network out, and replaced at the end of the study."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import FrozenTrial, TrialState
from search_tests.tiny import (
    LARGEST,
    QUICK,
    SIZE,
    SMALLEST,
    StubTraining,
    params_of,
    steady_latency,
    tiny_data,
    tiny_task,
)

from search import records
from search.claims import latest_trials
from search.final import CLAIM_S, final_pass, to_measure_again
from search.latency.baseline import Baseline
from search.latency.measure import measure_all, measure_on
from search.latency.protocol import MeasurementError, Protocol
from search.latency.reading import Latency
from search.latency.settled import EXTENSION, settled_readings
from search.objective import FAILURES, NoDisplay, StudyFolders, scorer
from search.samplers.candidates import TrialCandidates
from search.samplers.named import sampler_for
from search.task import Task
from space import Limits, encode
from threshnet.spec import NetworkSpec

LIMIT_MS = 5.0
RETAKES = 2
LIMITED = Limits(latency_ms=LIMIT_MS)


class Device:
    """A stand-in for measuring: latencies by network, and the networks whose readings are disturbed."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self.disturbed: set[str] = set()
        self.taken: list[tuple[str, ...]] = []

    def reading(self, spec: NetworkSpec) -> Latency:
        name = spec.fingerprint()
        warnings = ("busy device",) if name in self.disturbed else ()
        milliseconds = self.ms.get(name, params_of(spec) / 1e4)
        return steady_latency(milliseconds, disturbed=bool(warnings), warnings=warnings, input_size=SIZE)

    def measure_on(self, device: object, spec: NetworkSpec, *others: object) -> Latency:
        self.taken.append((spec.fingerprint(),))
        return self.reading(spec)

    def measure_all(self, device: object, specs: Sequence[NetworkSpec], *others: object) -> tuple[Latency, ...]:
        self.taken.append(tuple(spec.fingerprint() for spec in specs))
        return tuple(map(self.reading, specs))


class Scoring:
    """A study in memory whose networks are scored one by one, and measured again on request."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.device = Device()
        monkeypatch.setattr("search.objective.measure_on", self.device.measure_on)
        monkeypatch.setattr("search.final.measure_all", self.device.measure_all)
        monkeypatch.setattr("search.objective.train", StubTraining([]))
        (folder / "checkpoints").mkdir()
        self.store = FileSystemArtifactStore(folder)
        self.folders = StudyFolders(self.store, folder / "checkpoints")
        self.task = replace(tiny_task(LIMITED), protocol=replace(QUICK, retakes=RETAKES))
        self.study: Study = optuna.create_study(directions=["minimize", "minimize"])

    def score(self, spec: NetworkSpec, task: Task | None = None) -> FrozenTrial:
        task = task or self.task
        self.study.enqueue_trial(encode(task.space, spec))
        objective = scorer(task, tiny_data(), sampler_for("random", task, 0), self.folders, NoDisplay())
        self.study.optimize(objective, n_trials=1, catch=FAILURES)
        return self.study.trials[-1]

    def finish(self, task: Task | None = None) -> int:
        return final_pass(self.study, task or self.task, self.store, NoDisplay())


@pytest.fixture
def scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scoring:
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    return Scoring(tmp_path, monkeypatch)


# Readings that are taken again


@pytest.mark.parametrize(("disturbances", "expected"), [(0, 1), (1, 2), (3, 4), (99, 4)])
def test_a_disturbed_reading_is_extended_then_taken_again_after_pauses(disturbances: int, expected: int) -> None:
    protocols: list[Protocol] = []
    slept: list[float] = []

    def take(protocol: Protocol) -> tuple[Latency, ...]:
        protocols.append(protocol)
        return (steady_latency(1.0 * len(protocols), disturbed=len(protocols) <= disturbances),)

    (latency,) = settled_readings(take, Protocol(min_s=1.0, max_s=2.0), sleep=slept.append)
    assert len(protocols) == expected
    assert latency.latency_ms == expected  # the last one, not the best one
    assert {protocol.max_s for protocol in protocols[1:]} <= {2.0 * EXTENSION}
    assert slept == [0.0, 2.0, 6.0][: expected - 1]


# Verdicts that wait


def test_a_disturbed_reading_above_the_limit_does_not_prune_the_network_for_good(scoring: Scoring) -> None:
    scoring.device.ms[LARGEST.fingerprint()] = 3 * LIMIT_MS
    scoring.device.disturbed = {LARGEST.fingerprint()}
    trial = scoring.score(LARGEST)
    assert trial.state is TrialState.PRUNED
    assert trial.user_attrs[records.REASON] == "latency unreliable: 15.000 ms, busy device"
    assert records.LATENCY_LIMIT not in trial.constraints
    assert len(scoring.device.taken) == 1 + RETAKES
    assert records.record(trial).postponed

    scoring.device.disturbed = set()
    scoring.score(SMALLEST)
    scoring.device.ms[LARGEST.fingerprint()] = 4.0
    assert scoring.finish() == 2
    again = scoring.score(LARGEST)  # may be proposed again
    assert again.state is TrialState.COMPLETE
    assert again.values[1] == 4.0
    assert records.record(again).state == "finished"
    assert sum(LARGEST.fingerprint() in taken for taken in scoring.device.taken) == 2 + RETAKES


def test_a_network_that_violates_the_limit_after_all_is_not_proposed_again(scoring: Scoring) -> None:
    scoring.device.ms[LARGEST.fingerprint()] = 3 * LIMIT_MS
    scoring.device.disturbed = {LARGEST.fingerprint()}
    scoring.score(LARGEST)
    scoring.device.disturbed = set()
    scoring.score(SMALLEST)
    scoring.finish()
    again = scoring.score(LARGEST)
    assert records.record(again).state == "duplicate"


def test_a_disturbed_reading_below_the_limit_is_trained_but_not_on_the_front(scoring: Scoring) -> None:
    scoring.device.disturbed = {SMALLEST.fingerprint()}
    trial = scoring.score(SMALLEST)
    assert trial.state is TrialState.COMPLETE
    record = records.record(trial)
    assert (record.state, record.postponed, record.competes) == ("finished", True, False)
    scoring.device.disturbed = set()
    scoring.finish()
    (record,) = records.records(scoring.study)
    assert (record.postponed, record.competes) == (False, True)


# The final pass


def test_new_values_count_for_all_of_the_front_alike(scoring: Scoring) -> None:
    for spec in (SMALLEST, LARGEST):
        scoring.score(spec)
    before = {record.fingerprint: record.latency_ms for record in records.records(scoring.study)}
    scoring.device.ms = {SMALLEST.fingerprint(): 1.5, LARGEST.fingerprint(): LIMIT_MS * 1.2}
    assert scoring.finish() == 2
    assert scoring.device.taken[-1] == (SMALLEST.fingerprint(), LARGEST.fingerprint())
    small, large = records.records(scoring.study)
    assert (small.latency_ms, small.state) == (1.5, "finished")
    assert (large.latency_ms, large.state) == (6.0, "infeasible")  # it violates the limit by the reading that counts
    assert large.constraints[records.LATENCY_LIMIT] == pytest.approx(0.2)
    assert before != {small.fingerprint: 1.5, large.fingerprint: 6.0}
    candidates = {
        each.fingerprint: each for each in TrialCandidates(SIZE).candidates(scoring.study, latest_trials(scoring.study))
    }
    assert candidates[LARGEST.fingerprint()].latency_ms == 6.0
    assert not candidates[LARGEST.fingerprint()].feasible
    assert scoring.study.trials[1].values[1] == before[LARGEST.fingerprint()]  # Optuna's values stay


def test_the_final_pass_is_made_once_after_the_last_trial(scoring: Scoring) -> None:
    assert scoring.finish() == 0  # nothing is trained
    scoring.score(SMALLEST)
    assert scoring.finish() == 1
    assert scoring.finish() == 0
    scoring.score(LARGEST)
    assert scoring.finish() == 2


def test_one_of_several_workers_makes_the_final_pass(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    scoring.score(SMALLEST)
    claim = {"host": socket.gethostname(), "pid": os.getppid(), "trials": 1, "since": time.time()}
    scoring.study.set_user_attr(records.FINAL_PASS, claim)
    assert scoring.finish() == 0  # a living worker is at it
    monkeypatch.setattr("search.final.alive", lambda pid: False)
    assert scoring.finish() == 1
    scoring.score(LARGEST)
    elsewhere = claim | {"host": "another", "trials": 2}
    scoring.study.set_user_attr(records.FINAL_PASS, elsewhere)
    assert scoring.finish() == 0
    scoring.study.set_user_attr(records.FINAL_PASS, elsewhere | {"since": time.time() - CLAIM_S - 1})
    assert scoring.finish() == 2


def test_a_disturbed_final_pass_keeps_the_readings(scoring: Scoring) -> None:
    for spec in (SMALLEST, LARGEST):
        scoring.score(spec)
    before = {record.fingerprint: record for record in records.records(scoring.study)}
    scoring.device.ms = {SMALLEST.fingerprint(): 1.5, LARGEST.fingerprint(): 2 * LIMIT_MS}
    scoring.device.disturbed = {LARGEST.fingerprint()}
    assert scoring.finish() == 2
    small, large = records.records(scoring.study)
    assert small.latency_ms == 1.5
    assert large == before[LARGEST.fingerprint()]


def test_a_disturbed_reading_that_is_stored_later_decides_nothing(scoring: Scoring) -> None:
    scoring.score(SMALLEST)
    (before,) = records.records(scoring.study)
    worse = steady_latency(2 * LIMIT_MS, disturbed=True)
    scoring.study.set_user_attr(f"{records.REMEASURED} 0 {worse.backend}", worse.to_json())
    assert records.records(scoring.study) == [before]
    again = {worse.backend: worse.to_json(), "cpu torch": worse.to_json()}
    assert records.later_readings(scoring.study.trials[0], again).keys() == {"cpu torch"}


# Readings under another idle baseline


def measured_under_a_later_baseline(scoring: Scoring, number: int, ms: float = 2.0) -> Baseline:
    """Store another reading of a trial, twice the idle baseline of `ms`, and return the baseline."""
    latest = Baseline(ms, 0.95 * ms, 1.05 * ms, "pi", "2026-11-28 01:36")
    samples = steady_latency(2.0).samples
    assert samples is not None
    later = replace(steady_latency(4.0), **samples.statistics(ms), reference_ms=ms, baseline=latest)
    scoring.study.set_user_attr(f"{records.REMEASURED} {number} {later.backend}", later.to_json())
    return latest


def test_readings_under_another_baseline_are_rescaled_to_the_latest(scoring: Scoring) -> None:
    """The idle baseline was 1 ms, and then 2 ms: a latency of 3 ms is 6 ms, above the limit."""
    scoring.device.ms = {SMALLEST.fingerprint(): 3.0, LARGEST.fingerprint(): 2.0}
    for spec in (SMALLEST, LARGEST):
        scoring.score(spec)
    latest = measured_under_a_later_baseline(scoring, 1)
    small, large = records.records(scoring.study)
    assert (small.latency_ms, large.latency_ms) == (6.0, 4.0)
    assert (small.state, large.state) == ("infeasible", "finished")
    assert small.constraints[records.LATENCY_LIMIT] == pytest.approx(6.0 / LIMIT_MS - 1)
    assert (records.reading(small).rescaled, records.reading(large).rescaled) == (True, False)
    assert records.reading(small).baseline == latest
    assert records.reading(small).ratio == pytest.approx((3.0, 3.0, 3.0))


def test_readings_of_earlier_versions_with_two_baselines_are_read(scoring: Scoring) -> None:
    """They know only the latency of their baseline."""
    for spec in (SMALLEST, LARGEST):
        scoring.device.ms = {spec.fingerprint(): 1.0}
        trial = scoring.score(spec)
        stored = records.attributes_of(trial)[records.LATENCY]
        earlier = {
            backend: {key: value for key, value in data.items() if key not in ("baseline", "rescaled", "missing")}
            for backend, data in stored.items()
        }
        scale = 1.0 if spec == SMALLEST else 2.0
        for data in earlier.values():
            data.update({key: scale * data[key] for key in ("reference_ms", "latency_ms", "low_ms", "high_ms")})
        stored_trial = scoring.study.get_trials(deepcopy=False)[trial.number]
        stored_trial.system_attrs[records.LATENCY] = earlier
    small, large = records.records(scoring.study)
    assert [records.reading(record).reference_ms for record in (small, large)] == [2.0, 2.0]
    assert small.latency_ms == pytest.approx(2.0)


def test_a_network_above_the_limit_may_be_proposed_again_once_a_later_baseline_is_shorter(scoring: Scoring) -> None:
    """The idle baseline was 1 ms, and then 0.5 ms: a latency of 8 ms is 4 ms, within the limit of 5 ms."""
    scoring.device.ms = {LARGEST.fingerprint(): 8.0, SMALLEST.fingerprint(): 2.0}
    first = scoring.score(LARGEST)
    assert first.state is TrialState.PRUNED
    scoring.score(SMALLEST)
    assert records.record(scoring.score(LARGEST)).state == "duplicate"
    measured_under_a_later_baseline(scoring, 1, 0.5)
    again = scoring.score(LARGEST)
    assert (again.state, again.values[1]) == (TrialState.COMPLETE, 4.0)
    assert again.user_attrs[records.CONTINUES] == first.number


def test_each_host_has_its_own_baseline() -> None:
    readings = {
        (number, "cpu onnxruntime"): steady_latency(3.0, reference_ms=ms, baseline=Baseline(ms, ms, ms, host)).to_json()
        for number, (host, ms) in enumerate([("a", 1.0), ("b", 2.0), ("a", 1.5)])
    }
    assert {number for number, _ in records.on_one_baseline(readings)} == {0}


def test_a_disturbed_reading_is_rescaled_and_stays_postponed(scoring: Scoring) -> None:
    scoring.device.ms = {SMALLEST.fingerprint(): 3.0, LARGEST.fingerprint(): 2.0}
    scoring.device.disturbed = {SMALLEST.fingerprint()}
    for spec in (SMALLEST, LARGEST):
        scoring.score(spec)
    measured_under_a_later_baseline(scoring, 1)
    small, _ = records.records(scoring.study)
    assert records.reading(small).latency_ms == 6.0
    assert small.postponed


@pytest.mark.parametrize(
    ("other", "rescaled"),
    [({"processor": "slide rule"}, False), ({"runtime_version": "2"}, False), ({"disturbed": True}, False), ({}, True)],
)
def test_only_comparable_baselines_rescale(other: dict[str, Any], rescaled: bool) -> None:
    early = Baseline(1.0, 1.0, 1.0, "pi", "2026-11-27 01:36")
    late = Baseline(2.0, 2.0, 2.0, "pi", "2026-11-28 01:36", disturbed=other.pop("disturbed", False))
    readings = [
        steady_latency(3.0, baseline=late, reference_ms=2.0, **other).to_json(),
        steady_latency(3.0, baseline=early).to_json(),
    ]
    found = records.on_one_baseline({(number, "cpu onnxruntime"): data for number, data in enumerate(readings)})
    assert ((1, "cpu onnxruntime") in found) == rescaled


def test_the_pass_is_repeated_if_a_trial_ends_during_it(scoring: Scoring) -> None:
    scoring.score(SMALLEST)
    scoring.study.ask()  # another worker is still at it
    assert scoring.finish() == 1
    scoring.study.tell(1, state=TrialState.PRUNED)
    assert scoring.finish() == 1


def test_a_final_pass_that_fails_keeps_the_readings(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    scoring.score(SMALLEST)
    before = records.records(scoring.study)

    def failing(*arguments: object) -> None:
        raise MeasurementError("the probe died")

    monkeypatch.setattr("search.final.measure_all", failing)
    assert scoring.finish() == 0
    assert records.records(scoring.study) == before


def variant(
    base: records.Record, number: int, error: float, ms: float, low_ms: float, state: records.State = "finished"
) -> records.Record:
    """A network with an error, a latency and its lower end."""
    latency = {"cpu onnxruntime": replace(steady_latency(ms), low_ms=low_ms)}
    network = replace(SMALLEST, classes=number + 2)
    return replace(
        base,
        number=number,
        error=error,
        latency_ms=ms,
        state=state,
        fingerprint=f"n{number}",
        network=network,
        latency=latency,
    )


def test_the_front_and_all_whose_interval_reaches_it_are_measured(scoring: Scoring) -> None:
    scoring.score(SMALLEST)
    (base,) = records.records(scoring.study)
    read = [
        variant(base, 0, 10.0, 2.0, 1.9),
        variant(base, 1, 20.0, 1.0, 0.9),
        variant(base, 2, 11.0, 2.2, 1.95),  # would be on the front at 1.95 ms
        variant(base, 3, 12.0, 2.5, 2.4),
        replace(variant(base, 4, 50.0, 4.0, 3.9), postponed=True),
        variant(base, 5, 5.0, 9.0, 8.9, "infeasible"),
        replace(variant(base, 6, 50.0, 8.0, 7.9, "not trained"), postponed=True),
    ]
    assert [each.number for each in to_measure_again(read)] == [0, 1, 2, 4, 6]


def test_a_real_network_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scoring = Scoring(tmp_path, monkeypatch)
    task = tiny_task()
    scoring.score(SMALLEST, task)
    monkeypatch.undo()

    def calm(*arguments: Any) -> tuple[Latency, ...]:  # noqa: ANN401 - whatever happens on this machine
        return tuple(replace(latency, disturbed=False) for latency in measure_all(*arguments))

    monkeypatch.setattr("search.final.measure_all", calm)
    assert scoring.finish(task) == 1
    (found,) = records.records(scoring.study)
    expected = measure_on(task.device, SMALLEST, SIZE, "onnxruntime", task.protocol).latency_ms
    assert found.latency_ms == pytest.approx(expected, rel=1.0)
    assert latest_trials(scoring.study).keys() == {SMALLEST.fingerprint()}
