"""Hypervolume improvements: the staircase sum against plain hypervolumes, and the expectation over predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.pareto import hypervolume
from search.samplers.acquisition import expected_improvements, improvements

Point = tuple[float, float]

REFERENCE = (8.0, 7.0)
GRID = st.tuples(st.integers(0, 10), st.integers(0, 10))  # coarse, so that ties are frequent; some points lie outside
GRIDS = st.lists(GRID, max_size=12)
REALS = st.lists(st.tuples(*[st.floats(0.01, 10)] * 2), max_size=12)


@given(GRIDS | REALS, st.lists(GRID, min_size=1, max_size=6) | REALS.filter(len))
def test_an_improvement_is_the_hypervolume_that_a_point_adds(front: list[Point], points: list[Point]) -> None:
    before = hypervolume(front, REFERENCE)
    latency, errors = np.array(points, dtype=float).T
    gains = improvements(latency, np.tile(errors, (len(points), 1)), front, REFERENCE)  # each latency with each error
    for row, x in enumerate(latency):
        for column, y in enumerate(errors):
            expected = hypervolume([*front, (x, y)], REFERENCE) - before
            assert gains[row, column] == pytest.approx(expected, abs=1e-9)


@given(GRIDS, st.floats(0, 20), st.floats(0, 20))
def test_points_beyond_the_reference_add_nothing(front: list[Point], x: float, y: float) -> None:
    gain = improvements(np.array([8.0 + x, x]), np.array([[y], [7.0 + y]]), front, REFERENCE)
    assert gain.tolist() == [[0.0], [0.0]]


def test_with_an_empty_front_a_point_adds_its_whole_box() -> None:
    assert improvements(np.array([3.0]), np.array([[2.0, 6.0]]), [], REFERENCE).tolist() == [[25.0, 5.0]]


@given(GRIDS, GRID)
def test_without_uncertainty_the_expectation_is_the_improvement(front: list[Point], point: Point) -> None:
    x, y = np.array([point[0]], dtype=float), max(point[1], 0.5)
    expected = expected_improvements(x, np.log([y]), np.array([1e-9]), front, REFERENCE)
    assert expected[0] == pytest.approx(improvements(x, np.array([[y]]), front, REFERENCE)[0, 0], abs=1e-6)


@given(GRIDS, st.floats(0, 9), st.floats(-2, 3), st.floats(0, 2), st.floats(0, 1))
def test_a_lower_mean_error_raises_the_expectation(
    front: list[Point], x: float, mean: float, less: float, deviation: float
) -> None:
    means = np.array([mean, mean - less])
    much, more = expected_improvements(np.array([x, x]), means, np.full(2, deviation), front, REFERENCE)
    assert 0 <= much <= more + 1e-12


def test_uncertainty_raises_the_expectation_of_a_dominated_point() -> None:
    front = [(1.0, 1.0)]
    deviations = np.array([0.01, 1.0])
    certain, uncertain = expected_improvements(np.full(2, 2.0), np.log([2.0, 2.0]), deviations, front, REFERENCE)
    assert certain == 0
    assert uncertain > 0


def test_the_expectation_matches_a_monte_carlo_estimate() -> None:
    front, rng = [(1.0, 4.0), (3.0, 2.0)], np.random.default_rng(0)
    drawn = np.exp(np.log(3.0) + 0.5 * rng.standard_normal((1, 100_000)))
    expected = expected_improvements(np.array([2.0]), np.log([3.0]), np.array([0.5]), front, REFERENCE)
    assert expected[0] == pytest.approx(improvements(np.array([2.0]), drawn, front, REFERENCE).mean(), rel=0.02)
