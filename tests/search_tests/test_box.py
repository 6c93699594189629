"""The box of the hypervolume: closed forms, its edges, and their defaults."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.box import AXES, Box, Latencies, Objective, box_around, guessing_error, stored_objective

LOG = Box(8.0, 80.0, 1.0)
LINEAR = LOG.linear
FRACTIONS = st.floats(0, 1)
BOXES = st.builds(Box, st.floats(2, 100), st.floats(1, 100), st.floats(0.01, 1), st.sampled_from(AXES))
POINTS = st.lists(st.tuples(st.floats(0.001, 200), st.floats(0, 120)), max_size=8)


# Areas


def test_the_area_of_a_box_is_its_width_times_its_height() -> None:
    assert LOG.area == pytest.approx(math.log(8) * 80)
    assert LINEAR.area == 8 * 80
    assert replace(LOG, axis="linear").area == (8 - 1) * 80


def test_one_point_dominates_a_rectangle() -> None:
    assert LOG.hypervolume((2.0, 20.0)) == pytest.approx(math.log(4) * 60)
    assert LOG.share_percent((2.0, 20.0)) == pytest.approx(100 * (2 / 3) * (60 / 80))
    assert LINEAR.hypervolume((2.0, 20.0)) == 6 * 60
    assert LINEAR.share_percent((2.0, 20.0)) == pytest.approx(100 * (6 / 8) * (60 / 80))


def test_two_points_dominate_a_staircase() -> None:
    front = [(2.0, 40.0), (4.0, 10.0)]
    assert LOG.hypervolume(front) == pytest.approx(math.log(2) * 40 + math.log(2) * 70)
    assert LINEAR.hypervolume(front) == 2 * 40 + 4 * 70
    assert LOG.share_percent([*front, (5.0, 40.0)]) == LOG.share_percent(front)  # dominated


def test_an_empty_front_dominates_nothing() -> None:
    assert LOG.hypervolume([]) == LOG.share_percent([]) == LINEAR.share_percent([]) == 0


def test_an_empty_box_has_no_share() -> None:
    assert Box(1.0, 80.0, 1.0).share_percent((1.0, 0.0)) == 0


@given(st.floats(1, 4), st.floats(0, 80))
def test_halving_the_latency_counts_the_same_at_any_latency_of_a_log_box(latency_ms: float, error: float) -> None:
    gain = LOG.hypervolume((latency_ms, error)) - LOG.hypervolume((2 * latency_ms, error))
    assert gain == pytest.approx(math.log(2) * (80 - error), abs=1e-9)
    assert LOG.position(2 * latency_ms) - LOG.position(latency_ms) == pytest.approx(math.log(2))


@given(POINTS, st.floats(0.1, 10))
def test_the_unit_of_latency_does_not_change_the_share(points: list[tuple[float, float]], unit: float) -> None:
    for box in (LOG, LINEAR):
        scaled = replace(box, max_latency_ms=unit * box.max_latency_ms, min_latency_ms=unit * box.min_latency_ms)
        moved = [(unit * latency_ms, error) for latency_ms, error in points]
        assert scaled.share_percent(moved) == pytest.approx(box.share_percent(points), abs=1e-6)


# Edges


def test_points_beyond_an_upper_edge_add_nothing() -> None:
    assert LOG.hypervolume([(8.0, 1.0), (9.0, 1.0), (2.0, 80.0), (2.0, 99.0)]) == 0


def test_points_below_the_lower_edge_count_as_on_the_edge() -> None:
    assert LOG.hypervolume((0.01, 20.0)) == LOG.hypervolume((1.0, 20.0)) == pytest.approx(math.log(8) * 60)
    assert LOG.share_percent((0.01, 0.0)) == pytest.approx(100)


@given(BOXES, POINTS, st.tuples(st.floats(0.001, 200), st.floats(0, 120)))
def test_a_share_is_a_percentage_and_another_point_never_reduces_it(
    box: Box, points: list[tuple[float, float]], point: tuple[float, float]
) -> None:
    before, after = box.share_percent(points), box.share_percent([*points, point])
    assert 0 <= before <= after + 1e-9 <= 100 + 1e-6


# Defaults


def test_the_upper_edge_is_the_latency_limit_if_there_is_one() -> None:
    latencies = Latencies(named=(50.0,), trained=(40.0,), feasible=(1.0,))
    assert box_around(latencies, Objective(), (1,) * 10, limit_ms=3) == Box(3.0, 90.0, 1.0)


def test_without_a_limit_the_slowest_named_network_sets_the_upper_edge() -> None:
    latencies = Latencies(named=(4.0, 2.0), trained=(9.0, 4.0), feasible=(2.0, 4.0, 9.0, 0.5))
    assert box_around(latencies, Objective(), (1,) * 10).max_latency_ms == pytest.approx(4.4)


def test_without_a_named_network_the_first_five_trained_ones_set_it() -> None:
    trained = tuple(1.0 + n for n in range(8))
    assert box_around(Latencies(trained=trained), Objective(), (1, 1)).max_latency_ms == pytest.approx(5.5)
    assert box_around(Latencies(trained=trained[:2]), Objective(), (1, 1)).max_latency_ms == pytest.approx(2.2)


def test_before_the_first_training_the_slowest_feasible_network_sets_it() -> None:
    assert box_around(Latencies(feasible=(1.0, 10.0)), Objective(), (1, 1)) == Box(11.0, 50.0, 1.0)


def test_without_a_limit_and_a_measured_network_there_is_no_box() -> None:
    with pytest.raises(ValueError, match="no latency limit and no measured network"):
        box_around(Latencies(), Objective(), (1, 1))


def test_the_lower_edge_is_the_fastest_feasible_network() -> None:
    latencies = Latencies(named=(0.1,), trained=(0.1, 0.5), feasible=(0.5, 2.0, 0.4))
    assert box_around(latencies, Objective(), (1, 1), 3.0).min_latency_ms == 0.4


@pytest.mark.parametrize("feasible", [(), (2.9,), (3.0,), (7.0,)])
def test_without_a_fast_network_the_lower_edge_is_half_of_the_upper_edge(feasible: tuple[float, ...]) -> None:
    assert box_around(Latencies(feasible=feasible), Objective(), (1, 1), 3.0).min_latency_ms == 1.5


@pytest.mark.parametrize(("given_ms", "lower"), [(0.1, 0.1), (2.9, 2.9), (3.0, 0.4), (9.0, 0.4)])
def test_a_given_lower_edge_is_used_if_it_is_below_the_upper_edge(given_ms: float, lower: float) -> None:
    objective = Objective(min_latency_ms=given_ms)
    assert box_around(Latencies(feasible=(0.4,)), objective, (1, 1), 3.0).min_latency_ms == lower


def test_a_linear_box_begins_at_zero() -> None:
    box = box_around(Latencies(feasible=(0.4,)), Objective(axis="linear"), (1, 1), 3.0)
    assert box == Box(3.0, 50.0, 0.0, "linear") == box.linear
    assert box.area == 3.0 * 50.0


def test_the_upper_edge_of_the_error_is_that_of_naming_the_most_frequent_class() -> None:
    assert guessing_error("error", (70, 20, 10)) == pytest.approx(30)
    assert guessing_error("balanced_error", (70, 20, 10)) == pytest.approx(100 * 2 / 3)
    assert guessing_error("error", (5, 5, 0)) == guessing_error("balanced_error", (5, 5, 0)) == 50
    assert box_around(Latencies(), Objective(), (70, 20, 10), 3.0).max_error == pytest.approx(30)
    assert box_around(Latencies(), Objective("balanced_error"), (70, 20, 10), 3.0).max_error == pytest.approx(200 / 3)


def test_a_given_upper_edge_of_the_error_is_used() -> None:
    assert box_around(Latencies(), Objective(max_error=45.0), (70, 20, 10), 3.0).max_error == 45


@given(st.lists(st.floats(0.01, 100), max_size=6), st.none() | st.floats(0.01, 100), st.floats(0.02, 100))
def test_a_log_box_is_never_empty(feasible: list[float], given_ms: float | None, limit_ms: float) -> None:
    objective = Objective(min_latency_ms=given_ms)
    box = box_around(Latencies(feasible=tuple(feasible)), objective, (3, 1), limit_ms)
    assert 0 < box.min_latency_ms < box.max_latency_ms
    assert box.area > 0


# Stored studies


def test_studies_of_earlier_versions_have_a_linear_box_up_to_chance_level() -> None:
    assert stored_objective({}, 10) == {"box": "linear", "max_error": 90.0}
    assert stored_objective({"metric": "balanced_error"}, 4) == {
        "metric": "balanced_error",
        "box": "linear",
        "max_error": 75.0,
    }
    assert stored_objective({"box": "log", "max_error": 50.0}, 4) == {"box": "log", "max_error": 50.0}
