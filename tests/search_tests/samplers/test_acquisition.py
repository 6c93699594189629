"""What a search may hope of each network, on candidates made up so that it is plain which is worth most."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_tests.tiny import LARGEST, SIZE, SMALLEST, SPACE

from search.pareto import non_dominated
from search.samplers.acquisition import ERROR_SLOPES, LATENCY_SLOPES, Acquisition
from search.samplers.candidates import Candidate, describe
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
    return Candidate(name or spec.fingerprint(), describe(spec, SIZE), latency_ms, errors or {}, feasible, state)


def finished(spec: NetworkSpec, latency_ms: float, error: float) -> Candidate:
    """A network trained to its end, each rung with three quarters of the error of the one before."""
    return candidate(spec, "closed", latency_ms, {1: error / 0.75**2, 2: error / 0.75, 4: error})


def a_front() -> list[Candidate]:
    """Six finished networks: the larger, the slower and better."""
    return [finished(spec_of(growth), 1.0 + growth, 40.0 - 4 * growth) for growth in range(6)]


def values(*candidates: Candidate) -> list[float]:
    return Acquisition(candidates, RUNGS).values().tolist()


def test_a_network_has_as_many_descriptors_as_there_are_slopes() -> None:
    told = describe(LARGEST, SIZE)
    assert len(told) == len(ERROR_SLOPES) == len(LATENCY_SLOPES)
    assert np.isfinite(told).all()
    assert told != describe(SMALLEST, SIZE)


def test_only_open_networks_promise_anything() -> None:
    fresh = [candidate(spec_of(growth, 4)) for growth in range(3)]
    closed = candidate(spec_of(4, 4), "closed", 4.0)  # failed
    turned_away = candidate(spec_of(5, 4), "closed")
    busy = candidate(spec_of(3, 4), "busy", 4.0)
    found = values(*a_front(), closed, turned_away, busy, *fresh)
    assert found[:9] == [-np.inf] * 9
    assert all(np.isfinite(found[9:]))
    assert min(found[9:]) >= 0


def test_nothing_known_at_all_still_gives_a_choice() -> None:
    found = values(*(candidate(spec_of(growth)) for growth in range(6)))
    assert np.isfinite(found).all()
    assert max(found) > 0


@pytest.mark.parametrize("state", ["open", "closed"])
def test_one_network_alone(state: State) -> None:
    found = values(candidate(LARGEST, state))
    assert (found[0] > 0) == (state == "open")


def test_a_good_score_at_a_low_rung_promises_more_than_a_bad_one() -> None:
    twin = spec_of(3, 3)
    good, bad = (candidate(twin, "open", 4.0, {1: error}, name=str(error)) for error in (40.0, 70.0))
    *_, of_good, of_bad = values(*a_front(), good, bad)
    assert of_good > of_bad
    outlook = Acquisition([*a_front(), good, bad], RUNGS)
    assert outlook.mean[-2] < outlook.mean[-1]


def test_what_was_paid_already_is_not_paid_again() -> None:
    """Of two networks expected to end alike, the one that is nearly there promises more for the rest."""
    front = a_front()
    early = candidate(spec_of(3, 3), "open", 4.0, {1: 40.0}, name="early")
    late = candidate(spec_of(3, 3), "open", 4.0, {1: 40.0, 2: 30.0}, name="late")
    *_, of_early, of_late = values(*front, early, late)
    assert of_late > of_early


def test_a_busy_network_stands_in_the_way_of_others_like_it() -> None:
    twin = spec_of(3, 3)
    waiting = candidate(twin, "open", 4.0, {1: 35.0}, name="waiting")
    other = candidate(twin, "busy", 4.0, {1: 35.0}, name="other")
    *_, beside_a_busy_one, _ = values(*a_front(), waiting, other)
    *_, beside_an_idle_one, _ = values(*a_front(), waiting, replace(other, state="open"))
    assert 0 < beside_a_busy_one < 0.7 * beside_an_idle_one
    outlook = Acquisition([*a_front(), waiting, other], RUNGS)
    assert len(outlook.front) == 7


def test_a_slower_network_that_will_be_worse_cannot_reach_the_front_and_the_quickest_can() -> None:
    """All others are the slower and the worse the smaller they are, so that the smallest has nothing to hope for."""
    ended = [
        finished(spec_of(growth, at), 20.0 - 3 * growth, 60.0 - 8 * growth) for at in (1, 4) for growth in range(6)
    ]
    slow = candidate(spec_of(0, 2), "open", 21.0, name="slow")
    quick = candidate(spec_of(0, 2), "open", 0.5, name="quick")
    scored_well = candidate(spec_of(5, 2), "open", 6.0, {1: 30.0, 2: 20.0}, name="scored well")
    outlook = Acquisition([*ended, slow, quick, scored_well], RUNGS)
    assert [outlook.can_reach(place) for place in range(12, 15)] == [False, True, True]
    assert outlook.can_reach(5)  # nothing dominates what is on the front


def test_a_network_in_training_turns_none_away() -> None:
    """What it will come to is a guess."""
    twin = spec_of(3, 3)
    asked = candidate(twin, "open", 4.0, name="asked")
    busy = candidate(twin, "busy", 1.5, {1: 5.0}, name="busy")
    outlook = Acquisition([*a_front()[2:], asked, busy], RUNGS)
    assert outlook.front[:, 0].min() == 1.5
    assert outlook.can_reach(4)


def test_a_network_over_a_limit_stands_in_nobodys_way() -> None:
    named = replace(finished(spec_of(5, 5), 0.1, 1.0), feasible=False)  # beats all others at no time
    asked = candidate(spec_of(4, 3), "open", 4.5)
    outlook, feasible = (Acquisition([*a_front(), asked, one], RUNGS) for one in (named, replace(named, feasible=True)))
    assert len(outlook.front) == 6
    assert outlook.can_reach(6)
    assert outlook.values()[6] > 0
    assert outlook.reference[0] > 4.5
    assert not feasible.can_reach(6)
    assert outlook.mean[6] == feasible.mean[6]  # what its errors tell of others counts all the same


def test_nothing_is_promised_beyond_the_latency_limit() -> None:
    over = replace(candidate(spec_of(5, 5), "closed", 50.0), feasible=False)
    slow, quick = candidate(spec_of(5, 4), "open", 9.0), candidate(spec_of(0, 1), "open", 0.5)
    outlook = Acquisition([*a_front(), over, slow, quick], RUNGS, limit_ms=7.0)
    assert outlook.reference[0] <= 7.0
    *_, of_slow, of_quick = outlook.values()
    assert of_slow == 0 < of_quick
    *_, unlimited, _ = Acquisition([*a_front(), over, slow, quick], RUNGS).values()
    assert unlimited > 0


def test_everything_can_reach_an_empty_front() -> None:
    outlook = Acquisition([candidate(spec_of(growth), "open", 1.0 + growth) for growth in range(3)], RUNGS)
    assert all(outlook.can_reach(place) for place in range(3))


def test_latencies_are_those_measured_and_the_others_in_between() -> None:
    outlook = Acquisition(
        [*a_front(), candidate(spec_of(2, 3)), candidate(spec_of(2, 3), latency_ms=77.0, name="x")], RUNGS
    )
    assert outlook.latency[:6].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert outlook.latency[7] == 77.0
    assert outlook.latency[6] > 1.0


def test_an_error_of_nothing_is_no_fault() -> None:
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
    outlook = Acquisition(candidates, RUNGS)
    points = np.column_stack([outlook.latency, np.exp(outlook.mean)])
    assert (points[non_dominated(points)] < outlook.reference).all()
    found = outlook.values()
    assert (np.isfinite(found) == [each.state == "open" for each in candidates]).all()


def test_outlooks_are_alike_each_time() -> None:
    candidates = [*a_front(), candidate(spec_of(3, 3)), candidate(spec_of(1, 4), "open", 3.0, {1: 50.0})]
    assert values(*candidates) == values(*candidates)
