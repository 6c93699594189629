"""The front of a study, on fronts small enough to be worked out by hand, and against Optuna's own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_tests.tiny import SMALLEST, steady_latency
from studies_tests.sample import remeasured, sample_front, sample_loaded, with_stopped

from search import records
from search.records import Record
from search.volume import curve
from space import Limits
from studies.cli.volume import incomparable
from studies.fronts.as_json import front_json
from studies.fronts.front import Front, front_of, fronts_of
from studies.fronts.wording import title, verdict
from studies.spec import StudySpec
from studies.study import LoadedStudy, ended, full_training, progress_of, reference_of
from threshnet import InputError
from threshnet.spec import NetworkSpec

COSTS = {"params": 1000, "macs": 2000, "flops": 2100, "madd": 4000, "memory_bytes": 400}


@dataclass(frozen=True)
class Row:
    """A trained network of a made-up study."""

    latency_ms: float
    error: float
    # Over a limit.
    over: bool = False
    named: str | None = None


def study_of(rows: Sequence[Row]) -> LoadedStudy:
    """A study of these networks, told to Optuna as the search tells it; trial i is row i."""
    study = optuna.create_study(directions=["minimize", "minimize"])
    for row in rows:
        trial = study.ask()
        attrs = {
            records.FINGERPRINT: f"{trial.number:016d}",
            records.NETWORK: SMALLEST.to_json(),
            records.COSTS: COSTS,
            records.LATENCY: {"cpu onnxruntime": reading_of(row.latency_ms)},
        }
        for key, value in attrs.items():
            trial.set_user_attr(key, value)
        if row.named:
            trial.set_user_attr(records.NAMED, row.named)
        trial.set_constraint("params", 1.0 if row.over else -1.0)
        study.tell(trial, (row.error, row.latency_ms))
    return loaded(study)


def reading_of(latency_ms: float) -> dict[str, object]:
    """A reading as a trial holds it."""
    return steady_latency(latency_ms).to_json()


def loaded(study: optuna.Study) -> LoadedStudy:
    spec = StudySpec(name="made-up", trials=1, about="Numbers", caveat="Nothing is real")
    return LoadedStudy(study, spec, records.records(study), ("a", "b"), {}, [], Path("weights"))


def numbers(found: Sequence[Record]) -> list[int]:
    return [record.number for record in found]


def placed(front: Front, name: str) -> tuple[bool, list[int], str]:
    """Where a named network stands: on the front, dominated by, in words."""
    (point,) = [point for point in front.named if point.record.named == name]
    return point.on_front, numbers(point.dominated_by), verdict(point)


# Fronts worked out by hand


def test_a_staircase_is_its_own_front_quickest_first() -> None:
    rows = [Row(3, 10), Row(1, 30), Row(2, 20), Row(3, 11), Row(2.5, 20), Row(9, 9)]
    front = front_of(study_of(rows))
    assert numbers(front.front) == [1, 2, 0, 5]
    assert numbers(front.trained) == [0, 1, 2, 3, 4, 5]


def test_the_hypervolume_is_the_area_below_the_fixed_reference_point() -> None:
    front = front_of(study_of([Row(1, 20), Row(2, 10), Row(10, 100, over=True)]))
    assert front.reference == pytest.approx((11, 90.0))  # ten classes
    assert front.hypervolume == pytest.approx((2 - 1) * (90 - 20) + (11 - 2) * (90 - 10))
    assert front.share_percent == pytest.approx(100 * front.hypervolume / (11 * 90))


def test_networks_over_a_limit_add_no_volume() -> None:
    assert front_of(study_of([Row(1, 20, over=True), Row(2, 10, over=True)])).hypervolume == 0


def test_a_latency_limit_is_the_edge_on_the_objectives_backend_alone() -> None:
    study = remeasured(sample_loaded(), "cpu", "torch")
    first, second = fronts_of(study)
    named = [record.latency_ms for record in second.trained if record.named]
    assert first.reference == (3.0, 90.0)
    assert second.reference == pytest.approx((1.1 * max(ms for ms in named if ms), 90.0))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.builds(Row, st.integers(1, 9), st.integers(1, 99), st.booleans()), min_size=5, max_size=12))
def test_the_course_ends_at_the_fronts_volume_and_its_reference_stays(rows: list[Row]) -> None:
    made, before = study_of(rows), study_of(rows[:5])
    assert reference_of(made) == reference_of(before) == front_of(made).reference
    assert curve(ended(made), reference_of(made))[-1].hypervolume == pytest.approx(front_of(made).hypervolume)


def test_trials_are_taken_in_the_order_in_which_they_ended() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    slow, quick, _ = study.ask(), study.ask(), study.ask()
    for trial in (quick, slow):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert numbers(ended(loaded(study))) == [1, 0]
    assert numbers(loaded(study).records) == [0, 1, 2]


def test_a_full_training_is_every_epoch_in_whole_batches() -> None:
    assert full_training(sample_loaded()) == 8 * 7 * 128  # of 1000 images


def test_studies_of_one_kind_are_comparable() -> None:
    sample = sample_loaded()
    assert incomparable([sample, sample_loaded(seed=1)]) == ""
    other = replace(sample_loaded(limits=Limits()), images={"train": 7})
    assert incomparable([sample, other]) == "not comparable with sample: they differ in images, limits"


def test_stopped_networks_are_told_of_but_are_not_on_the_front() -> None:
    found = with_stopped(sample_loaded(), stopped=4)
    assert [record.state for record in found.records[-5:]] == ["stopped"] * 4 + ["finished"]
    assert len(front_of(found).trained) == 15
    assert progress_of(found).stopped == {2: 3}
    assert progress_of(found).sentences[-1] == "Stopped early: 3 networks after 2 epochs."


@pytest.mark.parametrize(
    ("points", "knee"),
    [
        ([(1, 30), (2, 12), (5, 10)], 1),  # far below the line between the ends
        ([(1, 30), (4.5, 29), (5, 10)], 0),  # above that line: an end is the knee
        ([(1, 30), (1.2, 20), (2, 12), (5, 10)], 2),
        ([(1, 30), (2, 12)], 0),  # of two, the quicker one
        ([(7, 7)], 0),
    ],
)
def test_the_knee_is_farthest_below_the_line_between_the_ends(points: list[tuple[float, float]], knee: int) -> None:
    assert front_of(study_of([Row(x, y) for x, y in points])).knee.number == knee


def test_the_best_that_dominate_a_named_network_are_named() -> None:
    rows = [Row(4, 40, named="threshnet79"), Row(3, 30), Row(2, 35), Row(3.5, 39), Row(1, 50), Row(4, 40)]
    assert placed(front_of(study_of(rows)), "threshnet79") == (False, [2, 1], "dominated by trial 2, trial 1")


def test_what_dominates_a_named_network_need_not_be_on_the_front() -> None:
    rows = [Row(1, 10, named="threshnet28"), Row(3, 30, named="threshnet79"), Row(2, 20)]
    front = front_of(study_of(rows))
    assert numbers(front.front) == [0]
    assert placed(front, "threshnet28") == (True, [], "on the front; no discovered network dominates it")
    assert placed(front, "threshnet79") == (False, [2], "dominated by trial 2")


def test_a_named_network_off_the_front_may_be_dominated_by_named_ones_alone() -> None:
    front = front_of(study_of([Row(1, 10, named="threshnet28"), Row(3, 30, named="threshnet79"), Row(0.5, 90)]))
    assert placed(front, "threshnet79") == (False, [], "not on the front; no discovered network dominates it")


def test_equal_points_do_not_dominate_each_other() -> None:
    front = front_of(study_of([Row(1, 10, named="threshnet28"), Row(1, 10)]))
    assert numbers(front.front) == [0, 1]
    assert placed(front, "threshnet28")[:2] == (True, [])


def test_networks_over_a_limit_neither_stand_on_the_front_nor_dominate() -> None:
    rows = [Row(1, 1, over=True), Row(2, 20), Row(3, 30, named="threshnet79"), Row(1.5, 5, True, "threshnet28")]
    front = front_of(study_of(rows))
    assert numbers(front.front) == [1]
    assert numbers(front.trained) == [0, 1, 2, 3]
    assert placed(front, "threshnet79")[1] == [1]
    over = "not on the front (violates a constraint); no discovered network dominates it"
    assert placed(front, "threshnet28") == (False, [], over)


def test_where_no_network_keeps_the_limits_all_of_them_make_the_front() -> None:
    front = front_of(study_of([Row(1, 20, over=True), Row(2, 10, over=True), Row(3, 30, True, "threshnet28")]))
    assert numbers(front.front) == [0, 1]
    assert placed(front, "threshnet28")[1] == []


def test_only_trained_networks_are_looked_at() -> None:
    made = study_of([Row(5, 50), Row(4, 60)])
    study = made.study
    attrs = made.study.trials[0].user_attrs
    others = [
        optuna.create_trial(values=(1.0, 1.0), user_attrs=attrs | {records.DUPLICATE_OF: 0}),
        optuna.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=attrs | {records.REASON: "diverged"}),
        optuna.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs=attrs | {records.REASON: "interrupted"}),
        optuna.create_trial(state=optuna.trial.TrialState.PRUNED, user_attrs=attrs),
        optuna.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs=attrs),
        optuna.create_trial(state=optuna.trial.TrialState.WAITING),
    ]
    study.add_trials(others)
    front = front_of(loaded(study))
    states = ["duplicate", "failed", "interrupted", "not trained", "running", "waiting"]
    assert [record.state for record in records.records(study)] == ["finished"] * 2 + states
    assert numbers(front.trained) == [0, 1]
    assert numbers(front.front) == [1, 0]


def test_a_study_without_trained_networks_has_no_front() -> None:
    with pytest.raises(InputError, match=r"^study 'made-up' has no trained network yet"):
        front_of(study_of([]))


# Any front

ROWS = st.lists(st.builds(Row, st.integers(1, 9), st.integers(1, 9), st.booleans()), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_the_front_is_that_of_optuna(rows: list[Row]) -> None:
    made = study_of(rows)
    best = {trial.number for trial in made.study.best_trials}
    front = front_of(made)
    if best:
        assert set(numbers(front.front)) == best
    else:
        assert all(row.over for row in rows)
    assert front.knee in front.front


@settings(deadline=None, max_examples=60)
@given(ROWS, st.sets(st.integers(0, 11)))
def test_dominating_is_no_worse_and_somewhere_better(rows: list[Row], named: set[int]) -> None:
    rows = [replace(row, named="threshnet28") if number in named else row for number, row in enumerate(rows)]
    for point in front_of(study_of(rows)).named:
        x, y = point.record.point
        beaten_by = {
            number
            for number, row in enumerate(rows)
            if not row.over
            and not row.named
            and row.latency_ms <= x
            and row.error <= y
            and (row.latency_ms, row.error) != (x, y)
        }
        assert bool(point.dominated_by) == bool(beaten_by)
        assert set(numbers(point.dominated_by)) <= beaten_by


# As JSON


def test_json_has_every_field() -> None:
    front = sample_front()
    told = json.loads(json.dumps(front_json(front), allow_nan=False))
    assert set(told) == {
        "study",
        "about",
        "caveat",
        "backend",
        "objectives",
        "trained",
        "hypervolume",
        "hypervolume_percent",
        "reference",
        "knee",
        "front",
        "named",
    }
    assert (told["study"], told["caveat"], told["trained"]) == (front.study, front.caveat, len(front.trained))
    assert (told["knee"], told["backend"]) == (front.knee.number, "cpu onnxruntime")
    assert [entry["trial"] for entry in told["front"]] == numbers(front.front)
    for entry, record in zip(told["front"], front.front, strict=True):
        assert entry["name"] == title(record)
        assert (entry["latency_ms"], entry["error_percent"]) == record.point
        low, high = entry["latency_interval_ms"]
        assert low <= entry["latency_ms"] <= high
        assert entry["latency_relative_iqr"] > 0
        assert (entry["params"], entry["macs"]) == (record.costs["params"], record.costs["macs"])
        assert (entry["fingerprint"], entry["schedule"]) == (record.fingerprint, record.schedule)
        assert NetworkSpec.from_json(entry["spec"]) == record.network
    for entry, point in zip(told["named"], front.named, strict=True):
        assert entry["name"] in ("ThreshNet28", "ThreshNet79")
        assert entry["on_front"] == point.on_front
        assert entry["feasible"] == (point.record.state == "finished")
        assert entry["dominated_by"] == numbers(point.dominated_by)


def test_no_test_field_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(1, 30), Row(2, 12), Row(5, 10), Row(3, 30, named="threshnet28")]
    made = study_of(rows)
    scored = optuna.create_study(directions=["minimize", "minimize"])
    for number, trial in enumerate(made.study.trials):
        for key in ("test_error", "test_error_percent", "test"):
            trial.user_attrs[key] = 100.0 - number
        scored.add_trial(trial)
    monkeypatch.setattr("search.data.load_test", None)
    assert front_json(front_of(loaded(scored))) == front_json(front_of(made))
    assert not any("test" in field.name for field in (*fields(Record), *fields(Front)))
