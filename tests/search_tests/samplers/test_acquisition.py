"""Acquisition values, on synthetic networks for which it is obvious which one is worth most."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.box import AXES, Axis, Box
from search.samplers import acquisition, learner
from search.samplers.acquisition import (
    DEFAULT_ERROR,
    LATENCIES,
    OPTIMISTIC_SD,
    SCORES,
    Acquisition,
    Rungs,
)
from search.samplers.features import Features, features_of
from search.samplers.improvement import expected_improvement, staircase
from search.samplers.learner import Memory
from search.samplers.surrogate import prior
from search.samplers.warp import MIN_ERROR, unwarped, warped

Array = NDArray[np.float64]

READING = 0.01
BOX = Box(10.0, 80.0, 0.5)
RUNGS = Rungs((0.25, 0.5, 1.0))
TO_END = Rungs((1.0,))
FRONT = np.linspace(0, 1, 6)  # sizes of six networks on a front


def sized(sizes: Sequence[float] | Array) -> Features:
    """Features of networks that differ in their size and in something that does not matter."""
    return features_of(np.column_stack([sizes, np.arange(len(sizes)) % 3]))


def latency_of(size: float) -> float:
    """Larger networks are slower, 1 to 7 ms."""
    return 1 + 6 * size


def error_of(size: float) -> float:
    """Larger networks are better, 60 to 30 %."""
    return 60 - 30 * size


def finish(search: Acquisition, network: int, latency_ms: float, error: float) -> None:
    """Train a network to the end; each doubling divides its error by 1.3."""
    search.read(network, latency_ms)
    for rung in range(len(search.rungs.costs)):
        score(search, network, rung, error)


def score(search: Acquisition, network: int, rung: int, error: float) -> None:
    """Score a network whose error at the end will be `error`."""
    search.score(network, rung, error * 1.3 ** search.rungs.to_go[rung])


def with_front(*others: float, rungs: Rungs = RUNGS, box: Box = BOX, reading: float = READING) -> Acquisition:
    """A search with six finished networks and `others`, by their sizes; these are numbered from 6."""
    found = Acquisition(sized([*FRONT, *others]), rungs, box, reading)
    for network, size in enumerate(FRONT):
        finish(found, network, latency_of(size), error_of(size))
    return found


def gains(search: Acquisition) -> Array:
    """The expected improvement of each network if it is trained to the end at once."""
    return expected_improvement(search.log_latency(), search.log_error(), search.front(), search.box)


def gains_at_latencies(search: Acquisition, network: int) -> Array:
    """The expected improvement of a network at each of the latencies that are expected."""
    latency_mean, latency_sd, error_mean, error_sd = (
        each[network] + np.zeros(len(LATENCIES)) for each in (*search.log_latency(), *search.log_error())
    )
    latency = latency_mean + latency_sd * LATENCIES, np.zeros(len(LATENCIES))
    return expected_improvement(latency, (error_mean, error_sd), search.front(), search.box)


# Networks that are proposed


def test_only_open_feasible_networks_have_a_value() -> None:
    found = with_front(0.3, 0.5, 0.7, 0.9, 0.4)
    found.open[7], found.busy[8], found.infeasible[9] = False, True, True
    values, _ = found.values()
    assert np.isfinite(values).tolist() == [False] * 6 + [True, False, False, False, True]
    assert values[6] >= 0
    found.open[:] = False
    assert (found.values()[0] == -np.inf).all()


def test_without_observations_there_is_still_a_best_network() -> None:
    values, next_rung = Acquisition(sized(FRONT), RUNGS, BOX, READING).values()
    assert np.isfinite(values).all()
    assert values.max() > 0
    assert (next_rung == 0).all()


@pytest.mark.parametrize("is_open", [True, False])
def test_a_single_network(is_open: bool) -> None:
    found = Acquisition(sized([0.0]), RUNGS, BOX, READING)
    found.open[0] = is_open
    assert (found.values()[0][0] > 0) == is_open


def test_only_the_best_networks_are_valued(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.random.default_rng(0).uniform(0, 1, 30)
    every = with_front(*sizes).values()[0]
    found = with_front(*sizes)
    monkeypatch.setattr(acquisition, "SHORTLIST", 7)
    short = found.values()[0]
    chosen = np.isfinite(short)
    assert chosen.sum() == 7
    assert short[chosen] == pytest.approx(every[chosen])
    assert gains(found)[chosen].min() >= np.sort(gains(found)[6:])[-7]


def test_values_are_deterministic() -> None:
    assert with_front(0.3, 0.8).values()[0].tolist() == with_front(0.3, 0.8).values()[0].tolist()


# Values and costs


@pytest.mark.parametrize(("resumes", "remaining"), [(True, 0.5), (False, 1.0)])
def test_a_value_before_the_last_rung_is_the_improvement_per_remaining_cost(resumes: bool, remaining: float) -> None:
    """No other plan is left: the latency is known, and the only rung left is the end."""
    found = with_front(0.4, rungs=replace(RUNGS, resumes=resumes))
    found.read(6, 3.0)
    for rung in (0, 1):
        score(found, 6, rung, 40.0)
    values, next_rung = found.values()
    assert values[6] == pytest.approx(gains(found)[6] / remaining)
    assert next_rung[6] == 2


def test_without_rungs_the_value_of_a_measured_network_is_its_improvement() -> None:
    found = with_front(0.2, 0.5, rungs=TO_END)
    found.read(6, 2.0)
    found.read(7, 3.0)
    assert found.values()[0][6:] == pytest.approx(gains(found)[6:])


@pytest.mark.parametrize("reading", [0.01, 0.5])
def test_an_unknown_latency_is_read_before_the_training_is_decided(reading: float) -> None:
    """The value v solves E[max(0, improvement - v)] = v x reading, over the latencies that are expected."""
    found = with_front(0.33, rungs=TO_END, reading=reading)
    value, of_latency = found.values()[0][6], gains_at_latencies(found, 6)
    assert np.ptp(of_latency) > 0
    assert np.maximum(of_latency - value, 0).mean() == pytest.approx(value * reading)
    found.read(6, float(np.exp(found.log_latency()[0][6])))
    assert found.values()[0][6] == pytest.approx(gains(found)[6])  # nothing left to read


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.booleans())
def test_a_rung_and_an_unread_latency_are_options(seed: int, resumes: bool) -> None:
    """Neither lowers a value below the improvement per cost of reading and training to the end at once."""
    rng = np.random.default_rng(seed)
    found = with_front(*rng.uniform(0, 1, 5), rungs=replace(RUNGS, resumes=resumes))
    found.read(6, rng.uniform(1, 9))
    score(found, 6, 0, rng.uniform(20, 80))
    found.read(7, rng.uniform(1, 9))
    values, next_rung = found.values()
    assert values[6] >= gains(found)[6] / (0.75 if resumes else 1) - 1e-9
    assert values[7] >= gains(found)[7] - 1e-9
    for network in range(8, 11):
        assert values[network] >= gains_at_latencies(found, network).mean() / (1 + READING) - 1e-9
    assert (next_rung[6:] >= [1, 0, 0, 0, 0]).all()


def test_only_the_remaining_training_counts_as_cost() -> None:
    """Of two networks with the same predictions, the one that has paid more is worth more, if a training is resumed."""
    values = {}
    for resumes in (True, False):
        found = with_front(0.4, 0.4, rungs=replace(RUNGS, resumes=resumes))
        for network, rungs in ((6, 1), (7, 2)):
            found.read(network, 3.0)
            for rung in range(rungs):
                score(found, network, rung, 40.0)
        values[resumes] = found.values()[0][6:] / gains(found)[6:]
    early, late = values[True]
    assert late == pytest.approx(2)
    assert 4 / 3 <= early < late
    assert (values[False] < values[True]).all()


def test_a_resumed_training_stops_at_every_rung_and_others_may_skip_rungs() -> None:
    resumed, others = (with_front(0.4, 0.45, rungs=replace(RUNGS, resumes=resumes)) for resumes in (True, False))
    for found in (resumed, others):
        found.read(6, 2.0)
        score(found, 6, 0, 20.0)  # much better than the front
    assert resumed.values()[1][6:].tolist() == [1, 0]
    assert others.values()[1][6] == 2


@pytest.mark.parametrize(("resumes", "rest"), [(True, 0.8), (False, 1.0)])
def test_a_score_at_a_low_rung_decides_about_the_rest_of_the_training(resumes: bool, rest: float) -> None:
    """The value v solves E[max(0, improvement - v x rest)] = v x cost, over the scores that are expected."""
    found = with_front(0.4, rungs=Rungs((0.2, 1.0), resumes))
    found.read(6, latency_of(0.4))
    (mean, deviation), front = (each[6] for each in found.log_error()), found.front()
    posterior = found._error.posterior()
    explained = deviation / posterior.deviation[6] * posterior.explained(np.array([6]), found.rungs.to_go[0])[0]
    residual = np.full(len(SCORES), np.sqrt(deviation**2 - explained**2))
    latency = np.full(len(SCORES), np.log(latency_of(0.4))), np.zeros(len(SCORES))
    of_score = expected_improvement(latency, (mean + explained * SCORES, residual), front, BOX)
    value = found.values()[0][6]
    assert 0.1 * deviation < explained < 0.99 * deviation
    assert value > gains(found)[6]
    assert np.maximum(of_score - value * rest, 0).mean() == pytest.approx(value * 0.2)


def test_a_low_rung_is_chosen_if_its_score_explains_much() -> None:
    """If it costs almost as much as the end, the network is trained to the end, or past the rung if it is resumed."""
    cheap, costly = (with_front(0.4, rungs=Rungs((cost, 1.0), resumes=False)) for cost in (0.05, 0.95))
    past = with_front(0.4, rungs=Rungs((0.95, 1.0)))
    for found in (cheap, costly, past):
        found.read(6, latency_of(0.4))
    assert cheap.values()[1][6] == 0
    assert costly.values()[1][6] == 1
    assert past.values()[1][6] == 0
    assert cheap.values()[0][6] > gains(cheap)[6]
    assert costly.values()[0][6] == pytest.approx(gains(costly)[6])


def test_a_network_that_is_much_better_at_a_rung_is_worth_more() -> None:
    found = with_front(0.4, 0.4)
    for network, error in ((6, 30.0), (7, 60.0)):
        found.read(network, latency_of(0.4))
        score(found, network, 0, error)
    values = found.values()[0]
    assert values[6] > 2 * values[7]
    assert found.log_error()[0][6] < found.log_error()[0][7]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(AXES), st.floats(0.01, 100))
def test_the_unit_of_latency_does_not_change_the_order(axis: Axis, unit: float) -> None:
    box = BOX if axis == "log" else BOX.linear
    scaled = replace(box, max_latency_ms=unit * box.max_latency_ms, min_latency_ms=unit * box.min_latency_ms)
    found, moved = (
        with_front(0.1, 0.4, 0.8, box=box),
        Acquisition(sized([*FRONT, 0.1, 0.4, 0.8]), RUNGS, scaled, READING),
    )
    for network, size in enumerate(FRONT):
        finish(moved, network, unit * latency_of(size), error_of(size))
    factor = 1.0 if axis == "log" else unit
    assert moved.values()[0][6:] == pytest.approx(factor * found.values()[0][6:], rel=1e-3)


# The front and networks in training


def test_networks_in_training_are_on_the_front_at_their_expected_points() -> None:
    found = with_front(0.4, 0.4, 0.7)
    before = found.front()
    found.busy[6] = True
    points = np.exp([found.log_latency()[0][6], found.log_error()[0][6]])
    latency = np.append(found.latency[:6], points[0])
    error = np.append(found.errors[:6, -1], points[1])
    assert found.front().edges == pytest.approx(staircase(latency, error, BOX).edges)
    assert found.front().heights == pytest.approx(staircase(latency, error, BOX).heights)
    assert len(before.edges) == 7


def test_a_network_in_training_lowers_the_value_of_similar_ones() -> None:
    found = with_front(0.4, 0.4)
    for network in (6, 7):
        found.read(network, latency_of(0.4))
        score(found, network, 0, 40.0)
    alone = found.values()[0][6]
    found.busy[7] = True
    assert 0 < found.values()[0][6] < 0.8 * alone


def test_an_infeasible_network_is_not_on_the_front_but_informs_predictions() -> None:
    infeasible, feasible = with_front(0.5, 0.2), with_front(0.5, 0.2)
    for found in (infeasible, feasible):
        finish(found, 6, 0.6, 20.0)  # better than all others
        found.read(7, latency_of(0.2))
    infeasible.infeasible[6] = True
    assert (len(infeasible.front().edges), len(feasible.front().edges)) == (7, 2)
    assert infeasible.finished.tolist() == [True] * 6 + [False] * 2
    assert infeasible.can_reach(7)
    assert not feasible.can_reach(7)
    assert infeasible.values()[0][7] > feasible.values()[0][7]
    assert infeasible.log_error()[0][7] == feasible.log_error()[0][7] < np.log(error_of(0.2)) - 0.1


def test_a_network_that_is_slower_and_worse_cannot_reach_the_front_and_the_fastest_can() -> None:
    """The smaller the network, the slower and the worse: the smallest one cannot improve the front."""
    sizes = [*np.linspace(0, 1, 9), 0.02, 0.02, 0.98]
    found = Acquisition(sized(sizes), RUNGS, BOX, READING)
    for network, size in enumerate(sizes[:9]):
        finish(found, network, 9 - 7 * size, error_of(size))
    slow, fast, scored_well = 9, 10, 11
    for network, latency_ms in ((slow, 9.5), (fast, 0.5), (scored_well, 3.0)):
        found.read(network, latency_ms)
    score(found, scored_well, 0, 15.0)
    assert [found.can_reach(network) for network in (slow, fast, scored_well)] == [False, True, True]
    assert found.can_reach(8)  # on the front


def test_the_optimistic_bound_decides_what_can_reach_the_front() -> None:
    found = with_front(0.5)
    mean, deviation = (each[6] for each in found.log_error())
    bound = np.exp(mean - OPTIMISTIC_SD * deviation)
    reaches = []
    for latency_ms in (0.5, 4.5, 4.7, 5.7, 5.9):  # the others: 42 % at 4.6 ms, 36 % at 5.8 ms
        found.latency[6] = latency_ms
        reaches.append(found.can_reach(6))
        assert reaches[-1] is not bool(((found.latency[:6] < latency_ms) & (found.errors[:6, -1] < bound)).any())
    assert reaches == [True, True, True, True, False]


def test_every_network_can_reach_an_empty_front() -> None:
    found = Acquisition(sized(FRONT), RUNGS, BOX, READING)
    found.read(3, 9.0)
    assert found.can_reach(3)


def test_values_beyond_the_edges_of_the_box_are_small() -> None:
    found = with_front(0.5, 0.5)
    found.read(6, 12.0)
    found.read(7, 3.0)
    assert found.values()[0][6] == pytest.approx(0, abs=1e-5)
    assert found.values()[0][7] > 0.01


def test_an_error_of_zero_is_handled() -> None:
    found = with_front(0.5, 0.9)
    finish(found, 6, 5.0, 0.0)
    assert np.isfinite(found.values()[0][7])
    assert found.log_error()[0][6] == pytest.approx(np.log(MIN_ERROR), abs=0.1)


# Predictions


def test_measured_latencies_are_known_exactly_and_others_are_predicted() -> None:
    found = with_front(0.5, 0.5)
    found.read(7, 9.9)
    mean, deviation = found.log_latency()
    assert np.exp(mean[:6]) == pytest.approx(found.latency[:6])
    assert np.exp(mean[7]) == pytest.approx(9.9)
    assert deviation.astype(bool).tolist() == [False] * 6 + [True, False]
    assert 3 < np.exp(mean[6]) < 9.9


def test_slopes_are_the_prior_change_per_unit_of_a_feature() -> None:
    features = sized(FRONT)
    slopes = features.slopes([0.5, 0.0]), features.slopes([-0.2, 0.0])
    found = Acquisition(features, RUNGS, BOX, READING, slopes=slopes)
    standard = (FRONT - FRONT.mean()) / FRONT.std()
    assert found.log_latency()[0] == pytest.approx(0.5 * standard)
    warped_error = warped(DEFAULT_ERROR, BOX.max_error) - 0.2 * standard
    assert found.log_error()[0] == pytest.approx(unwarped(warped_error, np.zeros(6), BOX.max_error)[0])


def test_the_scores_and_latencies_are_equally_likely() -> None:
    for quantiles in (SCORES, LATENCIES):
        assert quantiles.sum() == pytest.approx(0)
        assert 0.75 < quantiles.var() < 1


# Learning


def test_a_later_search_starts_from_the_memory_of_an_earlier_one(learnings: list[int]) -> None:
    first = with_front(0.4)
    assert first.memory == Memory()
    first.values()
    learnings.clear()
    later = Acquisition(sized([*FRONT, 0.4]), RUNGS, BOX, READING, memory=first.memory)
    for network, size in enumerate(FRONT):
        finish(later, network, latency_of(size), error_of(size))
    assert later.values()[0] == pytest.approx(first.values()[0])
    assert learnings == []
    assert later.memory == first.memory


def test_a_search_with_many_values_still_has_values(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.random.default_rng(0).uniform(0, 1, 40)

    def search() -> Acquisition:
        found = with_front(*sizes)
        for network in range(6, 36):
            found.read(network, latency_of(sizes[network - 6]))
            score(found, network, 0, error_of(sizes[network - 6]))
        return found

    every = search()
    expected = every.values()[0]
    monkeypatch.setattr(learner, "MAX_VALUES", 24)
    found = search()
    values = found.values()[0]
    assert (np.isfinite(values) == np.isfinite(expected)).all()
    assert values.tolist() == search().values()[0].tolist()
    assert found.log_error()[0] == pytest.approx(every.log_error()[0], abs=0.2)


def test_few_values_leave_the_prior_hyperparameters() -> None:
    found = Acquisition(sized(FRONT), TO_END, BOX, READING)
    finish(found, 0, 1.0, 60.0)
    found.values()
    memory = found.memory
    assert memory.latency is not None
    assert memory.error is not None
    assert memory.error.hyperparameters.tolist() == prior(2)[0].tolist()
    assert (memory.error.values, memory.latency.values) == (1, 1)


# Rungs


def test_doublings_of_the_training_are_left_at_a_rung() -> None:
    assert RUNGS.to_go == (2.0, 1.0, 0.0)
    assert Rungs((0.1, 1.0)).to_go == pytest.approx((np.log2(10), 0))


@pytest.mark.parametrize(("costs", "starts"), [((0.1, 1.0), 5), ((0.125, 0.5, 1.0), 4), ((0.6, 1.0), 0), ((1.0,), 0)])
def test_the_first_trainings_at_the_lowest_rung_cost_half_of_a_full_training(
    costs: tuple[float, ...], starts: int
) -> None:
    assert Rungs(costs).starts == Rungs(costs, resumes=False).starts == starts
    assert starts * costs[0] <= acquisition.START


def test_a_network_trained_to_the_end_is_closed() -> None:
    found = with_front(0.4)
    assert found.open.tolist() == [False] * 6 + [True]
    assert found.scored.tolist() == found.finished.tolist() == [True] * 6 + [False]
    found.score(6, 0, 50.0)
    assert (found.open[6], found.scored[6], found.finished[6]) == (True, True, False)
    found.score(6, 2, 40.0)
    assert not found.finished[6]  # without a latency
    found.read(6, 3.0)
    assert found.finished[6]
