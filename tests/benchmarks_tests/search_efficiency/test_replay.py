"""Replaying a recorded table: costs with free and charged repeats, shares of the front, and the fewest networks."""

from itertools import combinations

import numpy as np
import pytest
from benchmarks_tests.made_up import table_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.search_efficiency.replay import (
    TOP,
    Point,
    Replay,
    best_shares,
    content_hash,
    growth,
    oracle,
    target,
)
from search.pareto import hypervolume

# The front (1, 5), (2, 3), (4, 1) has the nadir (4, 5). The reference point lies a tenth of the range beyond it, at
# (4.3, 5.4). Area: 1 x 0.4 + 2 x 2.4 + 0.3 x 4.4 = 6.52.
FRONT = [(1.0, 5.0), (2.0, 3.0), (4.0, 1.0)]
DOMINATED = (3.0, 4.0)
AREA = 6.52
POINTS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=8)


def test_a_target_is_the_front_and_a_reference_point() -> None:
    goal = target(table_of([DOMINATED, *reversed(FRONT), FRONT[0]]))
    assert goal.front == (3, 2, 1)  # fastest first, without the duplicate
    assert goal.reference == pytest.approx((4.3, 5.4))
    assert goal.volume == pytest.approx(AREA)


def test_a_front_with_a_single_point_is_an_error() -> None:
    with pytest.raises(ValueError, match="single point"):
        target(table_of([(1.0, 1.0), (2.0, 2.0), (1.0, 1.0)]))


def test_a_training_is_resumed() -> None:
    replay = Replay(table_of(FRONT))
    assert [replay.rung(0), replay.share] == [-1, 0.0]
    assert replay.train(0, 0) == (20.0,)
    assert replay.train(0, 2) == (20.0, 15.0, 10.0)
    assert replay.train(0, TOP) == (20.0, 15.0, 10.0, 5.0)
    assert [point.cached for point in replay.curve] == [0, 1 / 8, 4 / 8, 1]
    assert [point.charged for point in replay.curve] == [0, 1 / 8, 4 / 8, 1]
    assert [replay.rung(0), replay.rung(1)] == [TOP, -1]


def test_a_repeat_is_free_or_charged_from_scratch() -> None:
    replay = Replay(table_of(FRONT))
    for index, rung in ((0, 2), (0, 1), (0, 2), (1, TOP), (1, TOP), (0, TOP)):
        replay.train(index, rung)
    assert [proposal.repeated for proposal in replay.proposals] == [False, True, True, False, True, False]
    assert [point.cached for point in replay.curve[1:]] == [0.5, 0.5, 0.5, 1.5, 1.5, 2.0]
    assert [point.charged for point in replay.curve[1:]] == [0.5, 0.75, 1.25, 2.25, 3.25, 3.75]


def test_only_fully_trained_networks_count() -> None:
    replay = Replay(table_of([*FRONT, DOMINATED]))
    shares = []
    for index, rung in ((1, TOP - 1), (1, TOP), (3, TOP), (0, TOP), (2, TOP)):
        replay.train(index, rung)
        shares.append(replay.share)
    # (2, 3) alone: 2.3 x 2.4; the dominated network adds nothing; (1, 5) adds 1 x 0.4.
    assert shares == pytest.approx([0, 5.52 / AREA, 5.52 / AREA, 5.92 / AREA, 1])
    assert not replay.open


def test_a_replay_ends_at_its_goal_or_its_limit() -> None:
    replay = Replay(table_of(FRONT), goal=0.8)
    replay.train(1, TOP)
    assert not replay.open
    replay = Replay(table_of(FRONT), limit=2)
    replay.train(0, 0)
    assert replay.open
    replay.train(0, 0)
    assert not replay.open


def test_a_rung_beyond_the_top_is_an_error() -> None:
    with pytest.raises(ValueError, match="rung 4: the table has 0 to 3"):
        Replay(table_of(FRONT)).train(0, 4)


def test_a_network_is_found_by_its_parameters() -> None:
    replay = Replay(table_of(FRONT))
    assert [replay.index_of(entry.params) for entry in replay.entries] == [0, 1, 2]


def test_a_curve_is_reduced_to_its_increases_and_its_end() -> None:
    curve = [Point(0, 0, 0), Point(1, 1, 0.5), Point(1, 2, 0.5), Point(2, 3, 0.7), Point(2, 4, 0.7), Point(2, 5, 0.7)]
    assert growth(curve) == [curve[1], curve[3], curve[5]]
    assert growth(curve[:4]) == [curve[1], curve[3]]


def test_the_fewest_networks_of_a_small_front() -> None:
    table = table_of([*FRONT, DOMINATED])
    # The best single network is (2, 3); the best two are (2, 3) and (4, 1): 2 x 2.4 + 0.3 x 4.4 = 6.12.
    assert best_shares(table) == pytest.approx([5.52 / AREA, 6.12 / AREA, 1])
    assert [oracle(table, share) for share in (0.5, 0.9, 0.99, 1.0)] == [1, 2, 3, 3]


@settings(max_examples=60, deadline=None)
@given(POINTS)
def test_the_fewest_networks_equal_those_of_an_exhaustive_search(points: list[tuple[int, int]]) -> None:
    table = table_of([(float(x), float(y)) for x, y in points])
    try:
        goal = target(table)
    except ValueError:
        assume(False)
    points_of_table = [tuple(point) for point in goal.points]
    best = [
        max(hypervolume(chosen, goal.reference) for chosen in combinations(points_of_table, number)) / goal.volume
        for number in range(1, len(goal.front) + 1)
    ]
    assert best_shares(table) == pytest.approx(best)
    assert np.isclose(best[-1], 1)


def test_the_hash_covers_latencies_and_errors() -> None:
    table = table_of(FRONT)
    assert content_hash(table) == content_hash(table_of(FRONT))
    assert content_hash(table) != content_hash(table_of([(1.0, 5.1), *FRONT[1:]]))
