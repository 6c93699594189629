"""The referee: what readings and trainings cost, which networks a seed has, shares by hand, and promotions."""

from itertools import combinations

import numpy as np
import pytest
from benchmarks_tests.made_up_tables import chosen_table, table_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.table_replay.mo_asha import epsilon_net, ranking
from benchmarks.table_replay.oracle import best_shares, fewest
from benchmarks.table_replay.promotion import points_at, promotion, rest_promoted
from benchmarks.table_replay.replay import READING, STARTS, SUBSET, Replay
from search.samplers.successive_halving import order
from threshnet.errors import InputError

# Three networks belong to every seed. The box ends at the slowest and worst one, at 8 ms and 8 %. On a linear axis,
# (2, 6) covers 6 x 2 and (4, 4) covers 4 x 4, together 2 x 2 + 4 x 4 = 20.
POINTS = ((2.0, 6.0), (4.0, 4.0), (8.0, 8.0))
MANY = tuple((1.0 + n, 30.0 - 2 * n) for n in range(10))


def by_error(points: NDArray[np.float64]) -> NDArray[np.intp]:
    """The indices of points from the lowest error to the highest."""
    return np.argsort(points[:, 1], kind="stable")


# Costs


def test_a_reading_is_charged_once() -> None:
    replay = Replay(table_of(POINTS), 0, budget=9)
    assert [replay.read(1), replay.read(1), replay.read(0)] == [4, 4, 2]
    assert replay.cost == pytest.approx(2 * READING)
    assert replay.latency == {1: 4, 0: 2}
    replay.train(1, 0)
    assert replay.cost == pytest.approx(2 * READING + 0.25)
    replay.train(2, 0)
    assert replay.cost == pytest.approx(3 * READING + 0.5)


def test_a_resumed_training_costs_the_difference() -> None:
    replay = Replay(table_of(POINTS, (0.1, 0.4), resumes=True), 0, budget=9)
    paid = []
    for network, rung in ((0, 0), (0, 0), (0, 1), (0, 2), (0, 1), (1, 2), (1, 0), (2, 1)):
        before, read = replay.cost, len(replay.latency)
        error = replay.train(network, rung)
        assert error == POINTS[network][1] + 5 * (2 - rung)
        paid.append(replay.cost - before - READING * (len(replay.latency) - read))
    assert paid == pytest.approx([0.1, 0, 0.3, 0.6, 0, 1, 0, 0.4])
    assert replay.errors == {0: {0: 16, 1: 11, 2: 6}, 1: {0: 14, 1: 9, 2: 4}, 2: {0: 18, 1: 13}}


def test_without_resuming_each_rung_is_a_training_of_its_own() -> None:
    replay = Replay(table_of(POINTS, (0.1, 0.4)), 0, budget=9)
    paid = []
    for network, rung in ((0, 0), (0, 0), (0, 2), (0, 1), (0, 2), (1, 2), (1, 0)):
        before, read = replay.cost, len(replay.latency)
        replay.train(network, rung)
        paid.append(replay.cost - before - READING * (len(replay.latency) - read))
    assert paid == pytest.approx([0.1, 0, 1, 0.4, 0, 1, 0.1])
    assert replay.errors == {0: {0: 16, 2: 6, 1: 11}, 1: {2: 4, 0: 14}}
    assert replay.trained(0) == replay.trained(2) == [0, 1]
    assert replay.trained(1) == [0]


# Networks of a seed


@given(st.integers(0, 200), st.integers(3, 60))
def test_a_seed_has_most_networks_and_starts_among_them(seed: int, n: int) -> None:
    replay = Replay(table_of([(1.0 + place, 70.0 - place) for place in range(n)]), seed, budget=9)
    networks = replay.networks.tolist()
    assert len(networks) == max(STARTS, round(SUBSET * n))
    assert networks == sorted(set(networks))
    assert set(networks) <= set(range(n))
    assert len(set(replay.starts)) == STARTS
    assert set(replay.starts) <= set(networks)
    assert [replay.has(network) for network in range(n)] == [network in networks for network in range(n)]


def test_networks_and_starts_depend_on_the_seed_only() -> None:
    first, again, other = (Replay(chosen_table(), seed, budget=9) for seed in (1, 1, 2))
    assert (first.networks.tolist(), first.starts, first.box) == (again.networks.tolist(), again.starts, again.box)
    assert first.networks.tolist() != other.networks.tolist()
    assert first.starts != other.starts


def test_networks_of_other_seeds_cannot_be_used() -> None:
    replay = Replay(table_of(MANY), 0, budget=9)
    (foreign, _) = sorted(set(range(len(MANY))) - set(replay.networks.tolist()))
    with pytest.raises(ValueError, match=f"network {foreign} does not belong to this seed"):
        replay.read(foreign)
    with pytest.raises(ValueError, match=f"network {foreign} does not belong to this seed"):
        replay.train(foreign, 0)
    assert replay.cost == 0


# The share of the front


def test_shares_on_a_linear_axis_by_hand() -> None:
    replay = Replay(table_of(POINTS), 0, budget=9, axis="linear")
    assert (replay.box.max_latency_ms, replay.box.max_error, replay.box.min_latency_ms) == (8, 8, 0)
    shares = [replay.share]
    for network in (2, 0, 1):
        replay.train(network, 0)
        assert replay.share == shares[-1]  # only the end of training counts
        replay.train(network, replay.top)
        shares.append(replay.share)
    assert shares == pytest.approx([0, 0, 12 / 20, 1])
    assert [step.share for step in replay.curve] == shares[1:]
    assert [step.cost for step in replay.curve] == pytest.approx([1.26, 2.52, 3.78])
    assert [replay.cost_of(share) for share in (0.0, 0.6, 0.61, 1.0)] == pytest.approx([1.26, 2.52, 3.78, 3.78])
    assert replay.cost_of(1.01) is None


def test_shares_on_a_log_axis_by_hand() -> None:
    """(2, 6) covers 2 x ln 4 and (4, 4) covers 4 x ln 2, together 2 x ln 2 + 4 x ln 2."""
    for first in (0, 1):
        replay = Replay(table_of(POINTS), 0, budget=9)
        assert replay.box.min_latency_ms == 2
        replay.train(first, replay.top)
        assert replay.share == pytest.approx(2 / 3)


def test_an_upper_edge_of_the_error_leaves_networks_out() -> None:
    replay = Replay(table_of(POINTS), 0, budget=9, axis="linear", max_error=5.0)
    replay.train(0, replay.top)
    assert replay.share == 0
    replay.train(1, replay.top)
    assert replay.share == 1
    assert Replay(table_of(POINTS), 0, budget=9, max_error=5.0).box.min_latency_ms == 4  # the fastest one inside


@pytest.mark.parametrize(("points", "max_error"), [(POINTS, 4.0), (((2.0, 6.0), (2.0, 4.0), (2.0, 8.0)), None)])
def test_a_box_without_networks_is_an_error(points: tuple[tuple[float, float], ...], max_error: float | None) -> None:
    with pytest.raises(InputError, match=r"made_up, seed 5: no network has a latency below . and an error below . %"):
        Replay(table_of(points), 5, budget=9, max_error=max_error)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 90)), min_size=3, max_size=12), st.integers(0, 9))
def test_the_share_grows_to_one_whatever_the_order(points: list[tuple[int, int]], seed: int) -> None:
    try:
        replay = Replay(table_of([(float(x), float(y)) for x, y in points]), seed, budget=99)
    except InputError:
        assume(False)
    for network in np.random.default_rng(seed).permutation(replay.networks).tolist():
        replay.train(network, replay.top)
    shares = [step.share for step in replay.curve]
    assert all(np.diff([0, *shares]) >= 0)
    assert shares[-1] == 1


def test_a_replay_ends_at_its_goal_or_with_its_budget() -> None:
    replay = Replay(table_of(POINTS), 0, budget=9, axis="linear", goal=0.6)
    is_open = []
    for network in (2, 0):
        replay.train(network, replay.top)
        is_open.append(replay.open)
    assert is_open == [True, False]
    replay, is_open = Replay(table_of(POINTS), 0, budget=1.5), []
    for network, rung in ((2, replay.top), (1, 0), (0, 0)):
        replay.train(network, rung)
        is_open.append(replay.open)
    assert is_open == [True, True, False]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 90)), min_size=3, max_size=9), st.booleans())
def test_the_fewest_networks_equal_those_of_an_exhaustive_search(points: list[tuple[int, int]], linear: bool) -> None:
    table = table_of([(float(x), float(y)) for x, y in points])
    try:
        replay = Replay(table, 0, budget=99, axis="linear" if linear else "log")
    except InputError:
        assume(False)
    every = np.column_stack([table.latency, table.errors[:, -1]])[replay.networks]
    found = best_shares(replay)
    slow = [
        max(replay.box.hypervolume(np.array(chosen)) for chosen in combinations(every, number)) / replay.full
        for number in range(1, len(found) + 1)
    ]
    assert found == pytest.approx(slow)
    assert found[-1] == pytest.approx(1)
    assert fewest(replay, found[0]) == 1


# Promotion


def test_one_in_eta_is_promoted_the_best_first_and_from_the_highest_rung_first() -> None:
    replay = Replay(table_of(MANY, (0.25, 0.5)), 0, budget=99)
    worst, *_, better, best = networks = replay.networks.tolist()  # larger ones are slower and better
    replay.train(worst, 0)
    assert promotion(replay, by_error, 2) is None  # half of one network
    replay.train(best, 0)
    assert promotion(replay, by_error, 2) == (best, 1)
    assert promotion(replay, by_error, 3) is None
    replay.train(best, 1)
    assert promotion(replay, by_error, 2) is None
    replay.train(better, 0)
    replay.train(networks[1], 0)
    assert promotion(replay, by_error, 2) == (better, 1)
    replay.train(better, 1)
    assert promotion(replay, by_error, 2) == (best, 2)  # of the higher rung
    replay.train(best, 2)
    assert promotion(replay, by_error, 2) is None
    assert promotion(replay, by_error, 1) == (better, 2)


def test_a_network_that_left_the_best_still_counts_as_promoted() -> None:
    replay = Replay(table_of(MANY), 0, budget=99)
    first, second, *_, best = replay.networks.tolist()
    replay.train(first, 0)
    replay.train(first, 1)
    replay.train(second, 0)
    replay.train(best, 0)
    assert promotion(replay, by_error, 3) is None  # one of three is, though it is not the best any more
    assert promotion(replay, by_error, 2) is None
    replay.train(replay.networks[3], 0)
    assert promotion(replay, by_error, 2) == (best, 1)


def test_a_network_that_skipped_a_rung_counts_as_promoted() -> None:
    replay = Replay(table_of(MANY, (0.25, 0.5)), 0, budget=99)
    *_, better, best = replay.networks.tolist()
    replay.train(best, 0)
    replay.train(best, 2)
    replay.train(better, 0)
    assert promotion(replay, by_error, 2) is None
    assert promotion(replay, by_error, 1) == (better, 1)


@pytest.mark.parametrize("resumes", [True, False])
def test_the_rest_is_promoted_to_the_end(resumes: bool) -> None:
    replay = Replay(table_of(MANY, (0.25, 0.5), resumes=resumes), 0, budget=99, goal=2)
    for network in replay.networks.tolist():
        replay.train(network, 0)
    rest_promoted(replay, order)
    assert set(replay.trained(replay.top)) == set(replay.networks.tolist())
    assert replay.cost == pytest.approx(len(replay.networks) * (READING + (1 if resumes else 1.75)))


def test_points_are_on_the_axis_of_the_box() -> None:
    for axis, scale in (("log", np.log), ("linear", np.asarray)):
        replay = Replay(table_of(POINTS), 0, budget=9, axis=axis)  # type: ignore[arg-type]
        replay.train(1, 0)
        replay.train(0, 0)
        assert points_at(replay, [1, 0], 0) == pytest.approx(np.column_stack([scale([4.0, 2.0]), [9.0, 11.0]]))


def test_a_ranking_is_front_by_front_and_spread_out() -> None:
    points = np.array([(3.0, 3.0), (1.0, 4.0), (2.0, 3.9), (4.0, 1.0), (4.0, 4.0), (2.2, 2.0)])
    # Front: 1, 2, 5, 3; the fastest, then the farthest from it, then the farthest from both.
    assert ranking(points).tolist() == [1, 3, 5, 2, 0, 4]
    assert epsilon_net(np.array([(1.0, 1.0), (1.0, 1.0)])) == [0, 1]
    assert ranking(np.zeros((0, 2))).tolist() == []
