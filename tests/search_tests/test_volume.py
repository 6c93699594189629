"""The hypervolume over the cost of a search: closed forms, and properties of every study."""

import math
from collections.abc import Sequence
from dataclasses import astuple, replace
from itertools import pairwise
from typing import get_args

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial
from search_tests.tiny import steady_latency

from search import records as trials
from search.box import Box, Latencies, Objective
from search.pareto import hypervolume
from search.records import Record, State
from search.volume import (
    PLATEAU_GROWTH,
    PLATEAU_TRAININGS,
    Step,
    box_in,
    box_of,
    class_images_of,
    curve,
    latencies_in,
    latencies_of,
    plateau,
)
from threshnet.baselines import LibraryModel

LINEAR = Box(10.0, 90.0, 0.0, "linear")
LOG = Box(10.0, 90.0, 0.5)
LIBRARY_MODEL = LibraryModel("timm", "resnet18", 10)
TEN = (1,) * 10  # images by class
BOXES = st.sampled_from([LINEAR, LOG])
POINTS = st.tuples(st.floats(0.1, 12), st.floats(0, 100))


def record(
    number: int, state: State, latency_ms: float, error: float, *, named: str | None = None, image_passes: int = 100
) -> Record:
    """One trial of a synthetic study, without values if a trial in this state has none."""
    valued = state in ("finished", "infeasible", "duplicate")
    return Record(
        number=number,
        state=state,
        network=None,
        named=named,
        error=error if valued else None,
        latency_ms=latency_ms if valued else None,
        latency={"cpu onnxruntime": steady_latency(latency_ms)} if valued else {},
        costs={"params": 1000, "macs": 2000},
        epochs=(),
        rungs={},
        image_passes=image_passes,
        continues=None,
        constraints={},
        reason=None,
        weights=None,
        fingerprint=f"network {number}",
        duplicate_of=None,
        seconds=1.0,
    )


@st.composite
def records(draw: st.DrawFn, states: Sequence[State] = get_args(State)) -> list[Record]:
    """Trials in any states, named or not."""
    found = []
    for number in range(draw(st.integers(0, 15))):
        state = draw(st.sampled_from(states))
        name = draw(st.sampled_from([None, None, "threshnet28"]))
        found.append(record(number, state, *draw(POINTS), named=name, image_passes=draw(st.integers(0, 1000))))
    return found


def steps(*volumes: float, passes: int = 100) -> list[Step]:
    """A curve of trainings that all have the same cost."""
    return [Step(n, (n + 1) * passes, volume, volume) for n, volume in enumerate(volumes)]


# The box


def test_the_edges_come_from_the_networks_that_count() -> None:
    trained = [
        record(0, "finished", 9.0, 20.0),
        replace(record(1, "infeasible", 4.0, 30.0, named="threshnet79"), constraints={"params": 0.1}),
        record(2, "finished", 2.0, 40.0, named="threshnet28"),
        record(3, "failed", 8.0, 0.0, named="threshnet95"),  # not measured
        replace(record(4, "finished", 0.1, 50.0), model=LIBRARY_MODEL),
        replace(record(5, "finished", 0.2, 50.0), postponed=True),
        record(6, "duplicate", 0.3, 50.0),
    ]
    assert latencies_of(trained) == Latencies((4.0, 2.0), (9.0, 4.0, 2.0, 0.2), (9.0, 2.0))
    assert astuple(box_of(trained, Objective(), TEN)) == pytest.approx((4.4, 90.0, 2.0, "log"))
    assert box_of(trained, Objective(), TEN, limit_ms=3) == Box(3.0, 90.0, 1.5)
    assert box_of([], Objective(), (1, 1), limit_ms=3) == Box(3.0, 50.0, 1.5)


def test_networks_that_were_only_measured_set_the_lower_edge() -> None:
    measured = {"cpu onnxruntime": steady_latency(0.7)}
    stopped = replace(record(0, "stopped", 1.0, 1.0), latency=measured)
    too_slow = replace(record(1, "not trained", 1.0, 1.0), latency=measured, constraints={"params": 0.1})
    assert latencies_of([stopped, too_slow]) == Latencies(feasible=(0.7,))
    assert box_of([stopped, too_slow], Objective(), TEN, 10.0).min_latency_ms == 0.7


def test_without_any_network_there_is_no_box() -> None:
    with pytest.raises(ValueError, match="no measured network"):
        box_of([record(0, "failed", 1.0, 1.0)], Objective(), TEN)


@given(records(), records(), st.none() | st.floats(0.1, 10))
def test_later_trials_only_move_the_lower_edge_down(
    first: list[Record], later: list[Record], limit: float | None
) -> None:
    """The upper edges are fixed once the named networks are measured or, without any, the first five are trained."""
    later = [one for one in later if not one.named]
    ready = any(one.trained and one.named for one in first) or sum(one.trained for one in first) >= 5
    if ready or limit is not None:
        before, after = (box_of(several, Objective(), TEN, limit) for several in (first, [*first, *later]))
        assert after.reference == before.reference
        assert after.min_latency_ms <= before.min_latency_ms


def test_a_running_study_has_the_same_box_as_its_records() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    finished, pruned, failed = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    model = {trials.MODEL: {"library": "timm", "constructor": "resnet18", "classes": 10}}
    for milliseconds, state, attrs, excess in (
        (2.0, finished, {}, -0.5),
        (4.0, finished, {trials.NAMED: "threshnet28"}, 0.3),
        (3.0, finished, {trials.NAMED: "timm/resnet18", **model}, -0.1),
        (0.8, pruned, {}, -0.1),
        (0.4, pruned, {}, 0.2),
        (0.6, finished, {trials.POSTPONED: 0.1}, -0.1),
        (1.0, failed, {trials.REASON: "diverged"}, -0.1),
        (2.0, finished, {trials.DUPLICATE_OF: 0, trials.NAMED: "mine"}, -0.5),
        (None, pruned, {}, 0.1),
        (None, TrialState.WAITING, {}, None),
    ):
        system: dict[str, object] = {}
        if milliseconds is not None:
            latency = steady_latency(milliseconds)
            system = {trials.LATENCY: {latency.backend: latency.to_json()}}
            attrs = {trials.LATENCY_MS: milliseconds, **attrs}
        if excess is not None:
            system["constraints"] = [excess]
        values = [30.0, milliseconds or 0.0] if state is finished else None
        study.add_trial(create_trial(state=state, values=values, user_attrs=attrs, system_attrs=system))
    found = latencies_in(study)
    assert found == latencies_of(trials.records(study))
    assert found == Latencies((2.0, 4.0), (2.0, 4.0, 0.6), (2.0, 0.8, 1.0))
    assert box_in(study, Objective(), 10) == box_of(trials.records(study), Objective(), TEN)
    study.set_user_attr(trials.CLASS_COUNTS, {"train": [1, 1], "validation": [80, 20]})
    assert astuple(box_in(study, Objective(), 2, 3.0)) == pytest.approx((3.0, 20.0, 0.8, "log"))


def test_studies_without_class_counts_have_equally_frequent_classes() -> None:
    assert class_images_of({}, 3) == (1, 1, 1)
    assert class_images_of({trials.CLASS_COUNTS: {"train": [9, 9], "validation": [4, 1]}}, 2) == (4, 1)


# The curve


def test_a_curve_computed_by_hand() -> None:
    ended = [
        record(0, "finished", 5.0, 45.0, image_passes=100),  # 5 x 45
        record(1, "failed", 1.0, 1.0, image_passes=30),  # counts as cost, but is no step
        record(3, "stopped", 1.0, 1.0, image_passes=20),
        record(2, "finished", 2.0, 80.0, image_passes=100),  # 3 x 10 more
        record(4, "duplicate", 1.0, 1.0, image_passes=100),
        record(5, "infeasible", 1.0, 1.0, image_passes=100),
        record(6, "finished", 6.0, 50.0, image_passes=100),  # dominated
        record(7, "running", 1.0, 1.0, image_passes=50),
        record(8, "finished", 11.0, 1.0, image_passes=100),  # beyond the box
    ]
    assert curve(ended, LINEAR) == (
        Step(0, 100, 225.0, 25.0),
        Step(3, 150, 225.0, 25.0),
        Step(2, 250, 255.0, 100 * 255 / 900),
        Step(5, 350, 255.0, 100 * 255 / 900),
        Step(6, 450, 255.0, 100 * 255 / 900),
        Step(8, 550, 255.0, 100 * 255 / 900),
    )
    assert curve([], LINEAR) == ()


def test_the_same_curve_in_a_log_box() -> None:
    ended = [record(0, "finished", 5.0, 45.0), record(2, "finished", 2.0, 80.0)]
    first = math.log(2) * 45
    second = first + math.log(5 / 2) * 10
    area = math.log(20) * 90
    assert [astuple(step) for step in curve(ended, LOG)] == [
        pytest.approx((0, 100, first, 100 * first / area)),
        pytest.approx((2, 200, second, 100 * second / area)),
    ]


@given(records(), BOXES)
def test_hypervolume_and_cost_never_decrease(ended: list[Record], box: Box) -> None:
    found = curve(ended, box)
    for before, after in pairwise(found):
        assert after.hypervolume >= before.hypervolume
        assert after.image_passes >= before.image_passes
    assert all(0 <= step.share_percent <= 100 + 1e-9 for step in found)
    assert [step.trial for step in found] == [
        one.number for one in ended if one.state in ("finished", "infeasible", "stopped")
    ]


@given(records(), BOXES)
def test_it_ends_at_the_hypervolume_of_the_feasible_networks(ended: list[Record], box: Box) -> None:
    found = curve(ended, box)
    points = [one.point for one in ended if one.state == "finished"]
    assert (found[-1].hypervolume if found else 0.0) == pytest.approx(box.hypervolume(points))
    assert not found or found[-1].share_percent == box.percent(found[-1].hypervolume)
    if box is LINEAR:
        assert box.hypervolume(points) == pytest.approx(hypervolume(points, box.reference))


@given(records(), BOXES)
def test_the_order_of_trials_does_not_change_the_end(ended: list[Record], box: Box) -> None:
    there, back = curve(ended, box), curve(ended[::-1], box)
    assert len(there) == len(back)
    if there:
        assert there[-1].hypervolume == pytest.approx(back[-1].hypervolume)


# The plateau


def test_a_front_that_hardly_grows_has_plateaued() -> None:
    found = plateau(steps(*[10.0] * 20, *[10.04] * 10))
    assert found.reached
    assert found.growth_percent == pytest.approx(0.4)
    assert (found.over_networks, found.over_passes, found.image_passes) == (10, 1000, 3000)
    assert found.summary == (
        "The front has plateaued: hypervolume grew by 0.40 % over the last 10 trainings "
        "(1,000 of 3,000 training images processed)."
    )


def test_a_front_that_grows_is_still_improving() -> None:
    found = plateau(steps(*[10.0] * 20, *[10.06] * 10))
    assert not found.reached
    assert found.summary.startswith(
        "The front is still improving: hypervolume grew by 0.60 % over the last 10 trainings"
    )


def test_few_recent_trainings_are_too_few_to_judge() -> None:
    found = plateau(steps(*[10.0] * 27))
    assert (found.reached, found.growth_percent, found.over_networks) == (False, 0.0, 9)
    assert found.summary == "Too early to judge whether the front has plateaued: 9 recent trainings, 10 needed."


def test_few_trainings_are_enough_to_see_improvement() -> None:
    found = plateau(steps(1.0, 1.0, 2.0))
    assert found.summary.startswith("The front is still improving: hypervolume grew by 100.00 %")


@pytest.mark.parametrize("volumes", [(), (0.0,), (5.0,), (0.0,) * 40, (0.0,) * 30 + (1.0,) * 10])
def test_growth_from_an_empty_front_is_undefined(volumes: tuple[float, ...]) -> None:
    found = plateau(steps(*volumes))
    assert (found.reached, found.growth_percent) == (False, None)
    assert found.summary.startswith("Too early to judge whether the front has plateaued: it was empty before the last ")


def test_a_study_without_cost_is_not_judged() -> None:
    assert not plateau(steps(*[10.0] * 40, passes=0)).reached


def test_the_last_third_is_a_third_of_the_cost_not_of_the_networks() -> None:
    cheap = [Step(n, 10 * (n + 1), 10.0, 10.0) for n in range(60)]  # 600 images
    expensive = [Step(60 + n, 600 + 100 * (n + 1), 10.0, 10.0) for n in range(9)]  # 900 more
    found = plateau([*cheap, *expensive])
    assert (found.over_networks, found.over_passes) == (5, 500)


@given(st.lists(st.floats(0, 100), max_size=60).map(sorted), st.integers(1, 1000))
def test_a_plateau_is_reached_by_its_definition(volumes: list[float], passes: int) -> None:
    found = plateau(steps(*volumes, passes=passes))
    assert 0 <= found.over_passes <= found.image_passes == len(volumes) * passes
    assert 3 * found.over_passes >= found.image_passes
    assert found.growth_percent is None or found.growth_percent >= 0
    still = found.growth_percent is not None and found.growth_percent < PLATEAU_GROWTH
    assert found.reached == (still and found.over_networks >= PLATEAU_TRAININGS)
    assert found.summary.endswith(".")
