"""Acquisition values, on synthetic candidates for which it is obvious which one is worth most."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_tests.tiny import LARGEST, SIZE, SMALLEST, SPACE

from search.pareto import non_dominated
from search.samplers.acquisition import ERROR_SLOPES, LATENCY_SLOPES, Acquisition
from search.samplers.candidates import Candidate, descriptors_of
from space import decode
from threshnet.spec import NetworkSpec

RUNGS = (1, 2, 4)
State = Literal["open", "busy", "closed"]


def spec_of(growth: int, transition: int = 2, layers: int = 3) -> NetworkSpec:
    """A dense network of the tiny space."""
    params = {"block1_layers": layers, "block1_threshold": 0, "block1_growth": growth, "block1_transition": transition}
    return decode(SPACE, params)


def candidate(
    spec: NetworkSpec,
    state: State = "open",
    latency_ms: float | None = None,
    errors: dict[int, float] | None = None,
    name: str | None = None,
    feasible: bool = True,
) -> Candidate:
    return Candidate(name or spec.fingerprint(), descriptors_of(spec, SIZE), latency_ms, errors or {}, feasible, state)


def finished(spec: NetworkSpec, latency_ms: float, error: float) -> Candidate:
    """A network trained to the end; each rung has three quarters of the previous rung's error."""
    return candidate(spec, "closed", latency_ms, {1: error / 0.75**2, 2: error / 0.75, 4: error})


def a_front() -> list[Candidate]:
    """Six finished networks; larger ones are slower and better."""
    return [finished(spec_of(growth), 1.0 + growth, 40.0 - 4 * growth) for growth in range(6)]


def values(*candidates: Candidate) -> list[float]:
    return [float(value) for value in Acquisition(candidates, RUNGS).values()]


def test_a_network_has_one_descriptor_per_slope() -> None:
    descriptors = descriptors_of(LARGEST, SIZE)
    assert len(descriptors) == len(ERROR_SLOPES) == len(LATENCY_SLOPES)
    assert np.isfinite(descriptors).all()
    assert descriptors != descriptors_of(SMALLEST, SIZE)


def test_only_open_networks_have_a_finite_value() -> None:
    fresh = [candidate(spec_of(growth, 4)) for growth in range(3)]
    failed = candidate(spec_of(4, 4), "closed", 4.0)
    pruned = candidate(spec_of(5, 4), "closed")
    busy = candidate(spec_of(3, 4), "busy", 4.0)
    found = values(*a_front(), failed, pruned, busy, *fresh)
    assert found[:9] == [-np.inf] * 9
    assert all(np.isfinite(found[9:]))
    assert min(found[9:]) >= 0


def test_without_observations_there_is_still_a_best_candidate() -> None:
    found = values(*(candidate(spec_of(growth)) for growth in range(6)))
    assert np.isfinite(found).all()
    assert max(found) > 0


def test_a_search_starts_within_the_latency_limit() -> None:
    measured = [candidate(spec_of(growth), "open", 1.0 + growth**2) for growth in range(6)]  # the knee is in the middle
    chosen = [int(np.argmax(Acquisition(measured, RUNGS, limit).values())) for limit in (None, 2.0, 1.5, 0.5)]
    assert chosen[0] > 1
    latencies = [measured[index].latency_ms for index in chosen]
    assert latencies[1] in (1.0, 2.0)
    assert latencies[2:] == [1.0, 1.0]  # the fastest one, if none is within


@pytest.mark.parametrize("state", ["open", "closed"])
def test_a_single_candidate(state: State) -> None:
    found = values(candidate(LARGEST, state))
    assert (found[0] > 0) == (state == "open")


def test_a_good_score_at_a_low_rung_raises_the_value() -> None:
    twin = spec_of(3, 3)
    good, bad = (candidate(twin, "open", 4.0, {1: error}, name=str(error)) for error in (40.0, 70.0))
    *_, of_good, of_bad = values(*a_front(), good, bad)
    assert of_good > of_bad
    acquisition = Acquisition([*a_front(), good, bad], RUNGS)
    assert acquisition.mean[-2] < acquisition.mean[-1]


def test_only_the_remaining_training_counts_as_cost() -> None:
    """Of two networks with similar predictions, the one closer to its end has the higher value."""
    front = a_front()
    early = candidate(spec_of(3, 3), "open", 4.0, {1: 40.0}, name="early")
    late = candidate(spec_of(3, 3), "open", 4.0, {1: 40.0, 2: 30.0}, name="late")
    *_, of_early, of_late = values(*front, early, late)
    assert of_late > of_early


def test_a_busy_network_lowers_the_value_of_similar_ones() -> None:
    twin = spec_of(3, 3)
    waiting = candidate(twin, "open", 4.0, {1: 35.0}, name="waiting")
    other = candidate(twin, "busy", 4.0, {1: 35.0}, name="other")
    *_, other_busy, _ = values(*a_front(), waiting, other)
    *_, other_open, _ = values(*a_front(), waiting, replace(other, state="open"))
    assert 0 < other_busy < 0.7 * other_open
    acquisition = Acquisition([*a_front(), waiting, other], RUNGS)
    assert len(acquisition.front) == 7


def test_a_network_predicted_slower_and_worse_cannot_reach_the_front_and_the_fastest_can() -> None:
    """The smaller the finished networks, the slower and worse they are: the smallest one cannot improve the front."""
    ended = [
        finished(spec_of(growth, at), 20.0 - 3 * growth, 60.0 - 8 * growth) for at in (1, 4) for growth in range(6)
    ]
    slow = candidate(spec_of(0, 2), "open", 21.0, name="slow")
    fast = candidate(spec_of(0, 2), "open", 0.5, name="fast")
    scored_well = candidate(spec_of(5, 2), "open", 6.0, {1: 30.0, 2: 20.0}, name="scored well")
    acquisition = Acquisition([*ended, slow, fast, scored_well], RUNGS)
    assert [acquisition.can_reach(place) for place in range(12, 15)] == [False, True, True]
    assert acquisition.can_reach(5)  # nothing dominates a network of the front


def test_a_network_in_training_keeps_no_other_from_the_front() -> None:
    """Its final error is only a prediction."""
    twin = spec_of(3, 3)
    new = candidate(twin, "open", 4.0, name="new")
    busy = candidate(twin, "busy", 1.5, {1: 5.0}, name="busy")
    acquisition = Acquisition([*a_front()[2:], new, busy], RUNGS)
    assert acquisition.front[:, 0].min() == 1.5
    assert acquisition.can_reach(4)


def test_an_infeasible_network_is_not_on_the_front_but_informs_predictions() -> None:
    named = replace(finished(spec_of(5, 5), 0.1, 1.0), feasible=False)  # dominates all others
    new = candidate(spec_of(4, 3), "open", 4.5)
    infeasible, feasible = (
        Acquisition([*a_front(), new, one], RUNGS) for one in (named, replace(named, feasible=True))
    )
    assert len(infeasible.front) == 6
    assert infeasible.can_reach(6)
    assert infeasible.values()[6] > 0
    assert infeasible.reference[0] > 4.5
    assert not feasible.can_reach(6)
    assert infeasible.mean[6] == feasible.mean[6]


def test_values_beyond_the_latency_limit_are_zero() -> None:
    over = replace(candidate(spec_of(5, 5), "closed", 50.0), feasible=False)
    slow, fast = candidate(spec_of(5, 4), "open", 9.0), candidate(spec_of(0, 1), "open", 0.5)
    acquisition = Acquisition([*a_front(), over, slow, fast], RUNGS, limit_ms=7.0)
    assert acquisition.reference[0] <= 7.0
    *_, of_slow, of_fast = acquisition.values()
    assert of_slow == 0 < of_fast
    *_, unlimited, _ = Acquisition([*a_front(), over, slow, fast], RUNGS).values()
    assert unlimited > 0


def test_every_network_can_reach_an_empty_front() -> None:
    acquisition = Acquisition([candidate(spec_of(growth), "open", 1.0 + growth) for growth in range(3)], RUNGS)
    assert all(acquisition.can_reach(place) for place in range(3))


def test_measured_latencies_are_used_as_they_are_and_others_predicted() -> None:
    acquisition = Acquisition(
        [*a_front(), candidate(spec_of(2, 3)), candidate(spec_of(2, 3), latency_ms=77.0, name="x")], RUNGS
    )
    assert acquisition.latency[:6].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert acquisition.latency[7] == 77.0
    assert acquisition.latency[6] > 1.0


def test_an_error_of_zero_is_handled() -> None:
    front = [*a_front(), finished(spec_of(5, 5), 9.0, 0.0)]
    assert np.isfinite(values(*front, candidate(spec_of(3, 3)))[-1])


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(
        st.tuples(st.integers(0, 5), st.floats(0.5, 20), st.floats(1, 90), st.sampled_from(["open", "busy", "closed"])),
        min_size=1,
        max_size=8,
    )
)
def test_the_reference_lies_beyond_the_expected_front(values: list[tuple[int, float, float, State]]) -> None:
    candidates = [
        candidate(spec_of(growth), state, latency, {4: error} if state == "closed" else {1: error}, name=str(number))
        for number, (growth, latency, error, state) in enumerate(values)
    ]
    acquisition = Acquisition(candidates, RUNGS)
    points = np.column_stack([acquisition.latency, np.exp(acquisition.mean)])
    assert (points[non_dominated(points)] < acquisition.reference).all()
    found = acquisition.values()
    assert (np.isfinite(found) == [each.state == "open" for each in candidates]).all()


def test_acquisition_values_are_deterministic() -> None:
    candidates = [*a_front(), candidate(spec_of(3, 3)), candidate(spec_of(1, 4), "open", 3.0, {1: 50.0})]
    assert values(*candidates) == values(*candidates)
