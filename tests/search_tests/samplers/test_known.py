"""A study as an acquisition: descriptors, slopes, the cost of a reading, the box, and the states of networks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import Study
from optuna.trial import FrozenTrial, TrialState, create_trial
from search_tests.tiny import LARGEST, SIZE, SMALLEST, SPACE, steady_latency, tiny_task

from search import records
from search.box import Box
from search.samplers.candidates import ERROR_SLOPES, LATENCY_SLOPES, Candidate, TrialCandidates, descriptors_of
from search.samplers.known import MIN_FINISHED, NO_BOX, READING, acquisition_of, box_for, can_reach, reading_cost
from search.volume import box_in
from space import Limits, decode
from threshnet.spec import NetworkSpec

RUNGS = (1, 2, 4)
BOX = Box(10.0, 80.0, 0.5)


def spec_of(growth: int, transition: int = 2) -> NetworkSpec:
    """A dense network of the tiny space."""
    params = {"block1_layers": 3, "block1_threshold": 0, "block1_growth": growth, "block1_transition": transition}
    return decode(SPACE, params)


def trial_of(
    spec: NetworkSpec = SMALLEST,
    latency_ms: float | None = None,
    errors: Mapping[int, float] | None = None,
    measuring_s: float | None = None,
    epoch_s: float | None = None,
    constraints: Mapping[str, float] | None = None,
) -> FrozenTrial:
    """A trial as a study stores it; with an error after the last rung, it is complete."""
    user: dict[str, Any] = {records.FINGERPRINT: spec.fingerprint(), records.COSTS: {"params": 1}}
    system: dict[str, Any] = {records.NETWORK: spec.to_json()}
    if latency_ms is not None:
        reading = steady_latency(latency_ms)
        user[records.LATENCY_MS] = latency_ms
        system[records.LATENCY] = {reading.backend: reading.to_json()}
    if errors:
        user[records.RUNGS] = {str(epochs): error for epochs, error in errors.items()}
    if measuring_s is not None:
        user[records.MEASURING_S] = measuring_s
    if epoch_s is not None:
        seconds = [9.0, epoch_s]  # the first epoch is slow
        system[records.EPOCHS] = [{"number": n, "loss": 0.5, "seconds": s} for n, s in enumerate(seconds, start=1)]
    complete = errors is not None and RUNGS[-1] in errors
    trial = create_trial(
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        values=[errors[RUNGS[-1]], latency_ms or 1.0] if errors is not None and complete else None,
        user_attrs=user,
        system_attrs=system,
    )
    for name, excess in (constraints or {}).items():
        trial.set_constraint(name, excess)
    return trial


def study_of(*trials: FrozenTrial) -> Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize", "minimize"])
    study.add_trials(trials)
    return study


# Descriptors


def test_a_network_has_one_descriptor_per_slope() -> None:
    descriptors = descriptors_of(LARGEST, SIZE)
    assert len(descriptors) == len(ERROR_SLOPES) == len(LATENCY_SLOPES)
    assert np.isfinite(descriptors).all()
    assert descriptors != descriptors_of(SMALLEST, SIZE)


def test_larger_networks_are_expected_to_be_slower_and_better() -> None:
    specs = [SMALLEST, spec_of(0), spec_of(3), LARGEST]
    fresh = [Candidate(spec.fingerprint(), descriptors_of(spec, SIZE), None, {}, True, "open") for spec in specs]
    found = acquisition_of(fresh, tiny_task(rungs=RUNGS), BOX, READING)
    assert (np.diff(found.log_latency()[0]) > 0).all()
    assert (np.diff(found.log_error()[0]) < 0).all()


# The cost of a reading


def test_a_reading_costs_a_usual_share_before_both_were_timed() -> None:
    assert reading_cost([], 4) == READING
    assert reading_cost([trial_of(measuring_s=3.0)], 4) == READING
    assert reading_cost([trial_of(epoch_s=3.0)], 4) == READING


def test_a_reading_costs_its_median_time_in_full_trainings() -> None:
    """Epochs count by the last one of each trial: their median is 10 s, so that four of them take 40 s."""
    trials = [
        trial_of(measuring_s=2.0, epoch_s=10.0),
        trial_of(measuring_s=1.0, epoch_s=8.0),
        trial_of(measuring_s=50.0, epoch_s=100.0),
        trial_of(),  # neither measured nor trained
    ]
    assert reading_cost(trials, 4) == pytest.approx(2 / 40)
    assert reading_cost(trials, 8) == pytest.approx(2 / 80)
    assert reading_cost([*trials, trial_of(measuring_s=3.0)], 4) == pytest.approx(2.5 / 40)


# The box


def test_the_box_is_that_of_the_study() -> None:
    study, task = study_of(trial_of(latency_ms=4.0, errors={4: 30.0}), trial_of(spec_of(1), 1.0)), tiny_task()
    assert box_for(study, task) == box_in(study, task.objective, 2) == Box(1.1 * 4.0, 50.0, 1.0)
    limited = tiny_task(Limits(latency_ms=3.0))
    assert box_for(study, limited) == Box(3.0, 50.0, 1.0)


def test_before_any_reading_the_box_is_the_limit_or_holds_everything() -> None:
    assert box_for(study_of(), tiny_task()) == box_for(study_of(trial_of()), tiny_task()) == NO_BOX
    assert box_for(study_of(), tiny_task(Limits(latency_ms=3.0))) == Box(3.0, 50.0, 1.5)


# Candidates


def test_an_acquisition_has_the_candidates_in_their_order() -> None:
    candidates = [
        Candidate("a", descriptors_of(spec_of(0), SIZE), 2.0, {1: 50.0, 2: 40.0, 4: 30.0}, True, "closed"),
        Candidate("b", descriptors_of(spec_of(1), SIZE), 3.0, {1: 60.0, 3: 1.0}, False, "busy"),
        Candidate("c", descriptors_of(spec_of(2), SIZE), None, {}, True, "open"),
        Candidate("d", descriptors_of(spec_of(3), SIZE), 4.0, {4: 25.0}, True, "open"),
    ]
    found = acquisition_of(candidates, tiny_task(rungs=RUNGS), BOX, 0.03)
    assert found.rungs.costs == (0.25, 0.5, 1.0)
    assert found.rungs.resumes
    assert (found.box, found.reading) == (BOX, 0.03)
    assert found.latency.tolist()[:2] == [2.0, 3.0]
    assert np.isnan(found.latency).tolist() == [False, False, True, False]
    assert found.errors[0].tolist() == [50.0, 40.0, 30.0]
    assert np.isnan(found.errors[1]).tolist() == [False, True, True]  # 3 epochs are no rung of the task
    assert found.open.tolist() == [False, False, True, True]
    assert found.busy.tolist() == [False, True, False, False]
    assert found.infeasible.tolist() == [False, True, False, False]
    assert found.finished.tolist() == [True, False, False, True]


def test_the_candidates_of_a_study_are_its_latest_trials_with_costs() -> None:
    specs = [spec_of(growth) for growth in range(5)]
    later = trial_of(specs[2], 3.0)
    later.set_user_attr(records.REASON, f"{records.LATER}, 3 ms: another network is more promising")
    study = study_of(
        trial_of(specs[0], 1.0, {1: 50.0, 2: 40.0, 4: 30.0}),
        trial_of(specs[1], 2.0, {1: 60.0}),
        later,
        trial_of(specs[3], 4.0, constraints={"front": 1.0}),
    )
    running = study.ask()
    running.set_user_attr(records.FINGERPRINT, specs[4].fingerprint())
    running.set_user_attr(records.NETWORK, specs[4].to_json())
    running.set_user_attr(records.COSTS, {"params": 1})
    trials = {trial.user_attrs[records.FINGERPRINT]: trial for trial in study.trials}
    found = TrialCandidates(SIZE).candidates(study, trials)
    assert [each.fingerprint for each in found] == [spec.fingerprint() for spec in specs]
    assert [each.state for each in found] == ["closed", "open", "open", "closed", "busy"]
    assert [each.feasible for each in found] == [True, True, True, False, True]
    assert [each.latency_ms for each in found] == [1.0, 2.0, 3.0, 4.0, None]
    assert found[1].errors == {1: 60.0}
    assert found[1].descriptors == descriptors_of(specs[1], SIZE)
    again = TrialCandidates(SIZE).candidates(study, trials, current=specs[4].fingerprint())
    assert again[4].state == "open"


def test_every_network_can_reach_the_front_until_enough_are_trained_to_the_end() -> None:
    """Larger networks are faster and better here, and the new one is the smallest."""
    task, new = tiny_task(rungs=RUNGS), trial_of(spec_of(0), 90.0)
    reaches = []
    for number in (MIN_FINISHED - 1, MIN_FINISHED):
        ends = {growth: 10.0 - growth for growth in range(6 - number, 6)}
        finished = [trial_of(spec_of(growth), end, {1: 4 * end, 2: 2 * end, 4: end}) for growth, end in ends.items()]
        reaches.append(can_reach(TrialCandidates(SIZE), study_of(*finished, new), task, spec_of(0).fingerprint()))
    assert reaches == [True, False]
