"""The index of a network: solved by hand for small plans, and equal to the best of all plans written out."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.samplers.plans import Plan, indices

Array = NDArray[np.float64]

COSTS = st.floats(0.01, 2)
GAINS = st.lists(st.floats(0, 5), min_size=4, max_size=4).map(lambda gains: np.array(gains).reshape(2, 2))
PLANS = st.lists(st.tuples(COSTS, st.sampled_from([0.0, 0.3, 1.0]), GAINS), min_size=1, max_size=3)
Option = tuple[float, float, Array]  # first cost, rest and gains (q, z)


def index(reading: float, *options: Option) -> float:
    """The index of a single network."""
    return index_and_plan(reading, *options)[0]


def index_and_plan(reading: float, *options: Option) -> tuple[float, int]:
    """The index of a single network, and its best plan at the first latency."""
    plans = [Plan(np.array([first]), rest, np.array(gains, dtype=float)[None]) for first, rest, gains in options]
    found, chosen = indices(np.array([reading]), plans)
    return float(found[0]), int(chosen[0])


def best_ratio(reading: float, *options: Option) -> float:
    """The highest ratio of gain to cost of all plans: at each latency, an option and when to stop it, or none."""
    latencies = len(options[0][2])
    choices: list[list[tuple[float, float]]] = []  # for each latency, the expected (gain, cost) of each choice
    for latency in range(latencies):
        found = [(0.0, 0.0)]
        for first, rest, gains in options:
            found += [
                (float(np.mean(gains[latency] * trains)), first + rest * float(np.mean(trains)))
                for trains in product([0, 1], repeat=gains.shape[1])
            ]
        choices.append(found)
    ratios = [0.0]
    for combination in product(*choices):
        gain, cost = np.mean(combination, axis=0)
        if reading + cost > 0:
            ratios.append(gain / (reading + cost))
    return max(ratios)


def test_the_index_of_a_training_to_the_end_is_its_ratio() -> None:
    gains = np.array([[[3.0]], [[0.0]], [[0.5]]])
    found, chosen = indices(np.zeros(3), [Plan(np.array([1.0, 1.0, 0.25]), 0.0, gains)])
    assert found == pytest.approx([3, 0, 2])
    assert chosen.tolist() == [0, 0, 0]


def test_a_reading_is_paid_before_a_training() -> None:
    assert index(0.5, (1.0, 0.0, np.array([[3.0]]))) == pytest.approx(3 / 1.5)


def test_a_network_is_only_trained_if_its_latency_is_good() -> None:
    """Half of the latencies are worth nothing: 2 x 1/2 for 0.1 + 1/2, instead of 2 x 1/2 for 0.1 + 1."""
    assert index(0.1, (1.0, 0.0, np.array([[2.0], [0.0]]))) == pytest.approx(1 / 0.6)
    # Latencies worth 2 and 1: only the good one is trained, 1 for 0.6, as both would be 1.5 for 1.1.
    assert index(0.1, (1.0, 0.0, np.array([[2.0], [1.0]]))) == pytest.approx(1 / 0.6)
    # With a costlier reading, both are: 1.5 for 2 is more than 1 for 1.5.
    assert index(1.0, (1.0, 0.0, np.array([[2.0], [1.0]]))) == pytest.approx(1.5 / 2)


def test_the_index_of_weitzman_for_a_score_with_two_outcomes() -> None:
    """A score costs 0.25 and the rest 0.75. The index r solves E[max(0, gain - 0.75 r)] = 0.25 r."""
    # Gains 4 and 0: (4 - 0.75 r) / 2 = 0.25 r, so r = 2 / 0.625.
    assert index(0.0, (0.25, 0.75, np.array([[4.0, 0.0]]))) == pytest.approx(3.2)
    # Gains 4 and 3: if both are trained on, r = 3.5 / 1, and 3 > 0.75 x 3.5.
    assert index(0.0, (0.25, 0.75, np.array([[4.0, 3.0]]))) == pytest.approx(3.5)
    # Gains 4 and 2: 2 < 0.75 x 3.2, so only the first is.
    assert index(0.0, (0.25, 0.75, np.array([[4.0, 2.0]]))) == pytest.approx(3.2)


def test_the_best_of_several_plans_is_chosen() -> None:
    to_end = 1.0, 0.0, np.array([[2.0, 2.0]])
    by_score = 0.25, 0.75, np.array([[4.0, 0.0]])
    blind = 0.25, 0.75, np.array([[2.0, 2.0]])  # the score explains nothing
    passed = 1e9, 0.75, np.array([[4.0, 0.0]])
    for options, value, chosen in (
        ((to_end, by_score), 3.2, 1),
        ((by_score, to_end), 3.2, 0),
        ((to_end, blind), 2.0, 0),  # the first of equal ones
        ((to_end, passed), 2.0, 0),
    ):
        found = index_and_plan(0.0, *options)
        assert found[0] == pytest.approx(value)
        assert found[1] == chosen


def test_the_plan_that_is_chosen_is_that_of_the_first_latency() -> None:
    to_end = 1.0, 0.0, np.array([[9.0, 9.0], [2.0, 2.0]])
    by_score = 0.25, 0.75, np.array([[10.0, 8.0], [4.0, 0.0]])
    found, chosen = index_and_plan(0.01, to_end, by_score)
    assert found == pytest.approx(best_ratio(0.01, to_end, by_score))
    assert chosen == 0


def test_without_an_improvement_the_index_is_zero() -> None:
    assert index(0.1, (1.0, 0.0, np.zeros((2, 2))), (0.1, 0.9, np.zeros((2, 2)))) == 0
    assert index(0.0, (1.0, 0.0, np.zeros((2, 2)))) == 0


@settings(max_examples=60, deadline=None)
@given(PLANS, st.sampled_from([0.0, 0.05, 0.5]))
def test_the_index_equals_the_best_of_all_plans(options: list[Option], reading: float) -> None:
    found = index(reading, *options)
    assert found == pytest.approx(best_ratio(reading, *options), rel=1e-6, abs=1e-9)


@given(PLANS.filter(lambda options: len(options) > 1), st.sampled_from([0.0, 0.05, 0.5]))
def test_more_options_never_lower_the_index(options: list[Option], reading: float) -> None:
    values = [index(reading, *options[:number]) for number in range(1, len(options) + 1)]
    assert all(np.diff(values) >= -1e-9)


@given(PLANS, st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_costlier_reading_never_raises_the_index(options: list[Option], readings: tuple[float, float]) -> None:
    cheap, costly = (index(reading, *options) for reading in sorted(readings))
    assert costly <= cheap + 1e-9


@given(PLANS, st.sampled_from([0.0, 0.3]))
def test_a_known_score_is_worth_no_less_than_an_unknown_one(options: list[Option], reading: float) -> None:
    """The score is an option: what it does not explain is the same for all of its outcomes."""
    blurred = [
        (first, rest, np.broadcast_to(gains.mean(axis=1, keepdims=True), (2, 2))) for first, rest, gains in options
    ]
    assert index(reading, *blurred) <= index(reading, *options) + 1e-9


@given(PLANS, st.floats(0.1, 10), st.sampled_from([0.0, 0.3]))
def test_the_index_is_a_gain_per_cost(options: list[Option], factor: float, reading: float) -> None:
    found = index(reading, *options)
    richer = [(first, rest, factor * gains) for first, rest, gains in options]
    costlier = [(factor * first, factor * rest, gains) for first, rest, gains in options]
    assert index(reading, *richer) == pytest.approx(factor * found)
    assert index(factor * reading, *costlier) == pytest.approx(found / factor)


@given(st.lists(st.tuples(COSTS, GAINS, st.sampled_from([0.0, 0.1])), min_size=1, max_size=5))
def test_networks_do_not_influence_each_other(networks: list[tuple[float, Array, float]]) -> None:
    first, gains, reading = (np.array(each) for each in zip(*networks, strict=True))
    plans = [Plan(np.full(len(first), 1.0), 0.0, gains.mean(axis=2, keepdims=True)), Plan(first, 0.7, gains)]
    found, chosen = indices(reading, plans)
    for place, (cost, of_network, read) in enumerate(networks):
        alone = index_and_plan(read, (1.0, 0.0, of_network.mean(axis=1, keepdims=True)), (cost, 0.7, of_network))
        assert found[place] == pytest.approx(alone[0])
        assert chosen[place] == alone[1]
