"""How much front a point adds: the quick sum over a staircase against hypervolumes, and what is expected of a guess."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.pareto import hypervolume
from search.samplers.acquisition import expected_improvements, improvements

Point = tuple[float, float]

REFERENCE = (8.0, 7.0)
GRID = st.tuples(st.integers(0, 10), st.integers(0, 10))  # so coarse that ties are frequent, some outside
GRIDS = st.lists(GRID, max_size=12)
REALS = st.lists(st.tuples(*[st.floats(0.01, 10)] * 2), max_size=12)


@given(GRIDS | REALS, st.lists(GRID, min_size=1, max_size=6) | REALS.filter(len))
def test_an_improvement_is_the_hypervolume_that_a_point_adds(front: list[Point], points: list[Point]) -> None:
    before = hypervolume(front, REFERENCE)
    latency, errors = np.array(points, dtype=float).T
    every = improvements(latency, np.tile(errors, (len(points), 1)), front, REFERENCE)  # each latency, each error
    for row, x in enumerate(latency):
        for column, y in enumerate(errors):
            expected = hypervolume([*front, (x, y)], REFERENCE) - before
            assert every[row, column] == pytest.approx(expected, abs=1e-9)


@given(GRIDS, st.floats(0, 20), st.floats(0, 20))
def test_points_outside_the_reference_add_nothing(front: list[Point], x: float, y: float) -> None:
    gain = improvements(np.array([8.0 + x, x]), np.array([[y], [7.0 + y]]), front, REFERENCE)
    assert gain.tolist() == [[0.0], [0.0]]


def test_an_empty_front_leaves_the_whole_box() -> None:
    assert improvements(np.array([3.0]), np.array([[2.0, 6.0]]), [], REFERENCE).tolist() == [[25.0, 5.0]]


@given(GRIDS, GRID)
def test_a_guess_without_doubt_is_a_point(front: list[Point], point: Point) -> None:
    x, y = np.array([point[0]], dtype=float), max(point[1], 0.5)
    sure = expected_improvements(x, np.log([y]), np.array([1e-9]), front, REFERENCE)
    assert sure[0] == pytest.approx(improvements(x, np.array([[y]]), front, REFERENCE)[0, 0], abs=1e-6)


@given(GRIDS, st.floats(0, 9), st.floats(-2, 3), st.floats(0, 2), st.floats(0, 1))
def test_the_lower_the_mean_the_more_is_expected(
    front: list[Point], x: float, mean: float, less: float, deviation: float
) -> None:
    means = np.array([mean, mean - less])
    much, more = expected_improvements(np.array([x, x]), means, np.full(2, deviation), front, REFERENCE)
    assert 0 <= much <= more + 1e-12


def test_doubt_gives_hope() -> None:
    """A point that is expected to be dominated adds nothing, but what may come out better does."""
    front = [(1.0, 1.0)]
    sure, unsure = expected_improvements(np.full(2, 2.0), np.log([2.0, 2.0]), np.array([0.01, 1.0]), front, REFERENCE)
    assert sure == 0
    assert unsure > 0


def test_the_expectation_is_that_of_many_draws() -> None:
    front, rng = [(1.0, 4.0), (3.0, 2.0)], np.random.default_rng(0)
    drawn = np.exp(np.log(3.0) + 0.5 * rng.standard_normal((1, 100_000)))
    expected = expected_improvements(np.array([2.0]), np.log([3.0]), np.array([0.5]), front, REFERENCE)
    assert expected[0] == pytest.approx(improvements(np.array([2.0]), drawn, front, REFERENCE).mean(), rel=0.02)
