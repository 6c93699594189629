"""Multi-objective successive halving: ranks, then hypervolume within a rank, on fronts solved by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.pareto import dominators, non_dominated
from search.samplers.successive_halving import check_rungs, order, promoted
from threshnet.errors import InputError

Point = tuple[float, float]

GRIDS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=20)
REALS = st.lists(st.tuples(*[st.floats(0.01, 1e4)] * 2), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], []),
        ([(3, 3)], [0]),
        ([(1, 3), (1, 1), (1, 2)], [1, 2, 0]),  # three ranks
        # One rank; the reference is (11, 11): 5 x 5 lost without the middle, 1 x 5 without either end.
        ([(0, 10), (5, 5), (10, 0)], [1, 0, 2]),
        # One rank; the reference is (11, 10.2): 1 x 0.2, 9 x 1 and 1 x 1 lost.
        ([(0, 10), (1, 9), (10, 8)], [1, 2, 0]),
        # Lost are 0.1 x 1, 8.9 x 0.1, 1 x 1, 0 and 1 x 8.9: the second rank comes last.
        ([(0, 10), (0.1, 9.9), (10, 0), (0.2, 9.95), (9, 1)], [4, 2, 1, 0, 3]),
        ([(0, 10), (0.1, 9.9), (0.1, 9.9), (10, 0)], [3, 1, 2, 0]),  # equal points have equal contributions
        ([(2, 2), (2, 2)], [0, 1]),
    ],
)
def test_orders_solved_by_hand(points: list[Point], expected: list[int]) -> None:
    assert order(points).tolist() == expected


@given(GRIDS | REALS)
def test_an_order_has_every_point_once_after_its_dominators(points: list[Point]) -> None:
    ordered = order(points).tolist()
    assert sorted(ordered) == list(range(len(points)))
    for place, index in enumerate(ordered):
        assert set(dominators(points, points[index]).tolist()) <= set(ordered[:place])


@given(GRIDS)
def test_the_front_comes_first(points: list[Point]) -> None:
    front = non_dominated(points)
    assert front[order(points)[: front.sum()]].all()


@given(GRIDS, st.sampled_from([0.25, 4.0]), st.sampled_from([0.5, 64.0]))
def test_the_order_does_not_depend_on_units(points: list[Point], x: float, y: float) -> None:
    """A column of equal values has no range, so the reference lies at a fixed distance: such points are skipped."""
    values = np.array(points)
    if (values.min(axis=0) < values.max(axis=0)).all():
        assert order(values * (x, y)).tolist() == order(values).tolist()


@given(GRIDS, st.integers(1, 5))
def test_one_in_eta_is_promoted_and_at_least_one(points: list[Point], eta: int) -> None:
    best = promoted(points, eta)
    assert len(best) == -(-len(points) // eta)
    assert best == order(points).tolist()[: len(best)]


def test_half_of_the_networks_are_promoted() -> None:
    assert promoted([(1.0, error) for error in (5.0, 3.0, 1.0, 4.0, 2.0)]) == [2, 4, 1]
    assert promoted([(7.0, 90.0)]) == [0]
    assert promoted([]) == []


@pytest.mark.parametrize("rungs", [(), (1,), (3,), (1, 2, 3)])
def test_increasing_epochs_below_the_end_are_valid_rungs(rungs: tuple[int, ...]) -> None:
    check_rungs(rungs, 4)


@pytest.mark.parametrize("rungs", [(0,), (-1, 2), (4,), (5,), (2, 2), (2, 1), (1.5,), (True,), ("1",), (1, None)])
def test_invalid_rungs_are_rejected(rungs: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"training\.rungs = \[.*\]: must be increasing epochs from 1 to below 4"):
        check_rungs(rungs, 4)
