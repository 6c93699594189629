"""Pareto arithmetic: closed forms, and fast implementations compared with slow ones."""

from itertools import product

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.pareto import contributions, dominators, hypervolume, knee, non_dominated

Point = tuple[float, float]

GRID = st.tuples(st.integers(0, 8), st.integers(0, 8))  # coarse, so that ties and duplicates are frequent
GRIDS = st.lists(GRID, max_size=25)
REALS = st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2), max_size=25)


def staircase(steps: int) -> list[Point]:
    """(1, n), (2, n - 1) ... (n, 1): no point dominates another."""
    return [(float(x), float(steps + 1 - x)) for x in range(1, steps + 1)]


def dominates(a: Point, b: Point) -> bool:
    """The definition, written out."""
    return a[0] <= b[0] and a[1] <= b[1] and (a[0] < b[0] or a[1] < b[1])


def cells(points: list[tuple[int, int]], right: int, top: int) -> int:
    """Number of unit squares below the reference that some point dominates: the hypervolume by counting."""
    return sum(any(x <= i and y <= j for x, y in points) for i, j in product(range(right), range(top)))


@given(GRIDS | REALS)
def test_the_mask_equals_that_of_pairwise_comparison(points: list[Point]) -> None:
    slow = [not any(dominates(other, point) for other in points) for point in points]
    assert non_dominated(points).tolist() == slow


@given(GRIDS, GRID)
def test_dominators_follow_the_definition(points: list[Point], point: Point) -> None:
    assert dominators(points, point).tolist() == [i for i, other in enumerate(points) if dominates(other, point)]


@given(GRIDS.filter(len))
def test_points_of_the_front_have_no_dominators(points: list[Point]) -> None:
    assert non_dominated(points).tolist() == [len(dominators(points, point)) == 0 for point in points]


@given(GRIDS.filter(len))
def test_the_front_equals_optunas(points: list[Point]) -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    study.add_trials([optuna.create_trial(values=point) for point in points])
    assert sorted(t.number for t in study.best_trials) == np.flatnonzero(non_dominated(points)).tolist()


def test_front_of_a_staircase_with_points_behind_it() -> None:
    behind = [(x + 1, y) for x, y in staircase(6)] + [(x, y + 0.5) for x, y in staircase(6)]
    assert non_dominated(staircase(6) + behind).tolist() == [True] * 6 + [False] * 12


def test_equal_points_are_all_in_or_all_out() -> None:
    assert non_dominated([(1, 2), (2, 1), (1, 2), (2, 2), (2, 2), (2, 1)]).tolist() == [1, 1, 1, 0, 0, 1]
    assert dominators([(1, 1), (1, 1)], (1, 1)).tolist() == []


def test_without_points_every_result_is_empty() -> None:
    assert non_dominated([]).tolist() == []
    assert dominators([], (1, 1)).tolist() == []
    assert hypervolume([], (1, 1)) == 0


@given(GRIDS, st.integers(1, 10), st.integers(1, 10))
def test_hypervolume_equals_the_number_of_unit_squares(points: list[tuple[int, int]], right: int, top: int) -> None:
    assert hypervolume(points, (right, top)) == cells(points, right, top)


@given(GRIDS, GRID)
def test_another_point_never_reduces_the_hypervolume(points: list[Point], point: Point) -> None:
    before, after = hypervolume(points, (7, 6)), hypervolume([*points, point], (7, 6))
    gains = point[0] < 7 and point[1] < 6 and point not in points and not len(dominators(points, point))
    assert (after > before) == gains
    assert after >= before


@pytest.mark.parametrize("steps", [1, 2, 5, 40])
def test_hypervolume_of_a_staircase(steps: int) -> None:
    # from the corner (n + 1, n + 1) the steps are columns of height 1, 2, ... n
    assert hypervolume(staircase(steps), (steps + 1, steps + 1)) == steps * (steps + 1) / 2


@given(GRIDS)
def test_a_contribution_is_the_loss_without_a_point_and_its_duplicates(points: list[tuple[int, int]]) -> None:
    front = [point for point, kept in zip(points, non_dominated(points), strict=True) if kept]
    whole = hypervolume(front, (9, 9))
    lost = [whole - hypervolume([other for other in front if other != point], (9, 9)) for point in front]
    assert contributions(front, (9, 9)).tolist() == lost


def test_hypervolume_is_in_the_units_of_the_points() -> None:
    assert hypervolume([(0.5, 90.0)], (2.0, 100.0)) == 15.0
    # points on or beyond the reference add nothing
    assert hypervolume([(2.0, 0.0), (2.5, 0.0), (0.0, 100.0), (1.0, 100.5)], (2.0, 100.0)) == 0.0


@pytest.mark.parametrize(
    ("points", "index"),
    [
        ([(0, 10), (1, 1), (10, 0)], 1),
        ([(10, 0), (9, 9), (2, 1.5), (0, 10), (5, 1)], 2),  # unordered; (9, 9) is dominated
        ([(0, 1000), (1, 400), (2, 390), (3, 0)], 1),  # axes with different ranges
        ([(0, 10), (3, 8), (8, 3), (10, 0)], 0),  # concave: no point lies below the line, so an end
        ([(3, 1), (1, 3)], 1),
        ([(4, 4)], 0),
        ([(4, 4), (4, 4)], 0),
    ],
)
def test_knees_of_small_fronts(points: list[Point], index: int) -> None:
    assert knee(points) == index


@given(GRIDS.filter(len), st.sampled_from([0.25, 4.0]), st.sampled_from([0.5, 64.0]))
def test_the_knee_is_on_the_front_and_does_not_depend_on_units(points: list[Point], x: float, y: float) -> None:
    index = knee(points)
    assert non_dominated(points)[index]
    assert knee([(x * a, y * b) for a, b in points]) == index


def test_without_points_there_is_no_knee() -> None:
    with pytest.raises(ValueError, match="no points"):
        knee([])
