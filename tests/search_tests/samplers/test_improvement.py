"""Expected hypervolume improvements: certain networks against plain hypervolumes, uncertain ones against samples."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from search.box import AXES, Axis, Box
from search.samplers.improvement import Staircase, expected_improvement, expected_shortfall, staircase

Point = tuple[float, float]
Array = NDArray[np.float64]

LOG = Box(8.0, 70.0, 1.0)
LINEAR = LOG.linear
WIDE = {"log": Box(8.0, 70.0, 0.001), "linear": LINEAR}  # no sample falls below the lower edge
# Coarse, so that ties are frequent. Some points lie outside the box.
GRID = st.tuples(st.sampled_from([0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 9.0]), st.sampled_from([5.0, 20.0, 50.0, 70.0, 90.0]))
GRIDS = st.lists(GRID, max_size=10)
REALS = st.lists(st.tuples(st.floats(0.1, 12), st.floats(0.1, 90)), max_size=10)
FRONT = [(2.0, 40.0), (3.0, 30.0), (5.0, 10.0)]


def front_of(points: list[Point], box: Box) -> Staircase:
    latency, error = np.array(points, dtype=float).reshape(-1, 2).T
    return staircase(latency, error, box)


def expected(
    points: list[Point], front: list[Point], box: Box, latency_sd: float = 0.0, error_sd: float = 0.0
) -> Array:
    """The expected improvement of points whose median latency and error are given."""
    logs = np.log(np.array(points, dtype=float).reshape(-1, 2))
    deviations = [np.full(len(logs), deviation) for deviation in (latency_sd, error_sd)]
    return expected_improvement((logs[:, 0], deviations[0]), (logs[:, 1], deviations[1]), front_of(front, box), box)


def improvement(point: Point, front: list[Point], box: Box) -> float:
    """The hypervolume that a point adds, by definition."""
    return box.hypervolume([*front, point]) - box.hypervolume(front)


# Certain networks


@pytest.mark.parametrize("box", [LOG, LINEAR, replace(LOG, min_latency_ms=2.0)])
@given(front=GRIDS | REALS, points=st.lists(GRID, min_size=1, max_size=6) | REALS.filter(len))
def test_without_uncertainty_the_expectation_is_the_hypervolume_that_a_point_adds(
    box: Box, front: list[Point], points: list[Point]
) -> None:
    found = expected(points, front, box)
    assert found == pytest.approx([improvement(point, front, box) for point in points], abs=1e-5)


@given(GRIDS, st.sampled_from(AXES), st.floats(1, 20), st.floats(1, 20))
def test_points_beyond_an_upper_edge_add_nothing(front: list[Point], axis: Axis, x: float, y: float) -> None:
    box = WIDE[axis]
    assert expected([(8.0 * x, y), (x, 70.0 * y)], front, box) == pytest.approx(0, abs=1e-5)


@given(GRIDS, st.floats(0.01, 1))
def test_points_below_the_lower_edge_add_as_much_as_on_the_edge(front: list[Point], latency_ms: float) -> None:
    below, on_edge = expected([(latency_ms, 20.0), (1.0, 20.0)], front, LOG)
    assert below == pytest.approx(on_edge)


@given(REALS.filter(len), st.data())
def test_certain_dominated_points_add_nothing(front: list[Point], data: st.DataObject) -> None:
    latency_ms, error = data.draw(st.sampled_from(front))
    slower, worse = data.draw(st.tuples(st.floats(1, 3), st.floats(1, 3)))
    for box in WIDE.values():
        assert expected([(latency_ms * slower, error * worse)], front, box) == pytest.approx(0, abs=1e-5)


def test_with_an_empty_front_a_point_adds_its_whole_rectangle() -> None:
    assert expected([(2.0, 20.0)], [], LOG) == pytest.approx([np.log(4) * 50])
    assert expected([(2.0, 20.0)], [], LINEAR) == pytest.approx([6 * 50])


def test_a_staircase_has_the_front_inside_the_box_only() -> None:
    points = [*FRONT, (3.0, 30.0), (4.0, 60.0), (0.5, 70.0), (8.0, 1.0), (0.2, 65.0)]
    found = front_of(points, LOG)
    assert np.exp(found.edges) == pytest.approx([0.2, 2, 3, 5, 8])
    assert found.heights.tolist() == [70, 65, 40, 30, 10]
    assert np.exp(front_of([], LOG).edges) == pytest.approx([8])
    assert front_of([], LOG).heights.tolist() == [70]


def test_a_front_with_an_error_of_zero_can_still_be_improved() -> None:
    """On its left: with 30 % at 2 ms up to 5 ms, and then nothing, whatever the error."""
    front = [(5.0, 0.0)]
    assert expected([(2.0, 30.0), (6.0, 0.01)], front, LOG) == pytest.approx([np.log(5 / 2) * 40, 0])
    assert expected([(6.0, 30.0)], front, LOG, 0.02, 0.5) == pytest.approx([0], abs=1e-6)


# Uncertain networks


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("latency_sd", "error_sd"), [(0.0, 0.5), (0.4, 0.0), (0.4, 0.5)])
@pytest.mark.parametrize("point", [(2.5, 25.0), (4.0, 60.0), (9.0, 80.0), (1.0, 5.0)])
def test_the_expectation_matches_a_monte_carlo_estimate(
    axis: Axis, latency_sd: float, error_sd: float, point: Point
) -> None:
    box, rng = WIDE[axis], np.random.default_rng(0)
    half = rng.standard_normal((10_000, 2))
    draws = np.exp(np.log(point) + np.concatenate([half, -half]) * (latency_sd, error_sd))
    certain = np.log(draws)
    gains = expected_improvement(
        (certain[:, 0], np.zeros(len(draws))), (certain[:, 1], np.zeros(len(draws))), front_of(FRONT, box), box
    )  # of each draw; equal to the hypervolume that it adds, see above
    found = expected([point], FRONT, box, latency_sd, error_sd)[0]
    assert found == pytest.approx(gains.mean(), abs=4 * gains.std() / np.sqrt(len(half)) + 1e-4)


@given(st.floats(-3, 6), st.floats(0, 2), st.floats(0.01, 90))
def test_a_shortfall_matches_numerical_integration(mean: float, deviation: float, height: float) -> None:
    away = np.linspace(-9, 9, 20_001)
    density = np.exp(-0.5 * away**2) / np.sqrt(2 * np.pi)
    slow = np.sum(np.maximum(height - np.exp(mean + deviation * away), 0) * density) * (away[1] - away[0])
    found = expected_shortfall(np.array([mean]), np.array([deviation]), np.array([height]))
    assert found[0, 0] == pytest.approx(slow, abs=1e-3)


@given(GRIDS, st.floats(0.5, 10), st.floats(1, 90), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_uncertain_latency_only_adds_value(
    front: list[Point], latency_ms: float, error: float, error_sd: float, less: float, more: float
) -> None:
    """On a log axis, the improvement is a convex function of the log latency."""
    values = [
        expected([(latency_ms, error)], front, WIDE["log"], deviation, error_sd)[0]
        for deviation in sorted((less, more))
    ]
    assert 0 <= values[0] <= values[1] + 1e-5


@given(GRIDS, st.sampled_from(AXES), st.floats(0.5, 10), st.floats(1, 90), st.floats(0, 1), st.floats(0, 1))
def test_a_lower_median_latency_or_error_never_lowers_the_expectation(
    front: list[Point], axis: Axis, latency_ms: float, error: float, latency_sd: float, error_sd: float
) -> None:
    points = [(latency_ms, error), (0.7 * latency_ms, error), (latency_ms, 0.7 * error)]
    found = expected(points, front, WIDE[axis], latency_sd, error_sd)
    assert found[0] <= found[1:].min() + 1e-5


@pytest.mark.parametrize("axis", AXES)
def test_uncertainty_raises_the_expectation_of_a_dominated_point(axis: Axis) -> None:
    dominated = [(4.0, 60.0)]
    assert expected(dominated, FRONT, WIDE[axis]) == pytest.approx(0, abs=1e-5)
    for deviations in ((1.0, 0.0), (0.0, 1.0)):
        assert expected(dominated, FRONT, WIDE[axis], *deviations)[0] > 0.5


@given(GRIDS, st.floats(0.01, 100), st.floats(0, 1))
def test_the_unit_of_latency_scales_linear_improvements_only(
    front: list[Point], unit: float, latency_sd: float
) -> None:
    point, moved = (3.0, 20.0), [(unit * latency_ms, error) for latency_ms, error in front]
    for box, factor in ((WIDE["log"], 1.0), (LINEAR, unit)):
        scaled = replace(box, max_latency_ms=unit * box.max_latency_ms, min_latency_ms=unit * box.min_latency_ms)
        before = expected([point], front, box, latency_sd, 0.3)
        after = expected([(unit * point[0], point[1])], moved, scaled, latency_sd, 0.3)
        assert after == pytest.approx(factor * before, rel=1e-6, abs=1e-5 * factor)
