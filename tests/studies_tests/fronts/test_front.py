"""The front of a study, compared with fronts worked out by hand and with Optuna's."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_tests.tiny import SMALLEST, steady_latency
from studies_tests.sample import remeasured, sample_front, sample_loaded, with_stopped

from search import records
from search.box import Box
from search.records import Record
from search.training.recipes import FAST
from search.volume import box_in, curve
from space import Limits
from studies.cli.tables import front_table
from studies.cli.volume import incomparable
from studies.figures.front import figure
from studies.fronts.as_json import front_json
from studies.fronts.front import ParetoFront, competitors, front_of, fronts_of
from studies.fronts.picking import PickRequest, pick
from studies.fronts.picking_text import reason
from studies.fronts.wording import title, verdict, volume_text
from studies.library import Study
from studies.report.dashboard import note
from studies.report.page.data import page_data
from studies.spec import StudySpec
from studies.study import LoadedStudy, ended, full_training, progress_of, study_box
from threshnet import InputError
from threshnet.spec import NetworkSpec

COSTS = {"params": 1000, "macs": 2000, "flops": 2100, "madd": 4000, "memory_bytes": 400}


@dataclass(frozen=True)
class Row:
    """A trained network of a made-up study."""

    latency_ms: float
    error: float
    # Violates a constraint.
    infeasible: bool = False
    named: str | None = None


def study_of(rows: Sequence[Row]) -> LoadedStudy:
    """Make a study of these networks, stored as the search stores them; trial i is row i."""
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
        trial.set_constraint("params", 1.0 if row.infeasible else -1.0)
        study.tell(trial, (row.error, row.latency_ms))
    return loaded(study)


def reading_of(latency_ms: float) -> dict[str, object]:
    """Make a reading in the format stored with a trial."""
    return steady_latency(latency_ms).to_json()


def loaded(study: optuna.Study) -> LoadedStudy:
    spec = StudySpec(name="made-up", trials=1, about="Numbers", caveat="Nothing is real")
    return LoadedStudy(study, spec, records.records(study), ("a", "b"), {}, [], Path("runs/made-up/weights"))


def numbers(several: Sequence[Record]) -> list[int]:
    return [record.number for record in several]


def placed(front: ParetoFront, name: str) -> tuple[bool, list[int], str]:
    """Return whether a named network is on the front, the trials that dominate it, and its verdict."""
    (point,) = [point for point in front.named if point.record.named == name]
    return point.on_front, numbers(point.dominated_by), verdict(point)


# Fronts worked out by hand


def test_a_staircase_is_its_own_front_fastest_first() -> None:
    rows = [Row(3, 10), Row(1, 30), Row(2, 20), Row(3, 11), Row(2.5, 20), Row(9, 9)]
    front = front_of(study_of(rows))
    assert numbers(front.front) == [1, 2, 0, 5]
    assert numbers(front.trained) == [0, 1, 2, 3, 4, 5]


def test_the_hypervolume_is_the_dominated_area_of_the_box() -> None:
    front = front_of(study_of([Row(1, 20), Row(2, 10), Row(10, 100, infeasible=True)]))
    assert astuple(front.box) == pytest.approx((11, 90.0, 1.0, "log"))  # ten classes
    dominated = math.log(2 / 1) * (90 - 20) + math.log(11 / 2) * (90 - 10)
    assert front.hypervolume == pytest.approx(dominated)
    assert front.share_percent == pytest.approx(100 * dominated / (math.log(11) * 90))
    linear = (2 - 1) * (90 - 20) + (11 - 2) * (90 - 10)
    assert front.linear_hypervolume == pytest.approx(linear)
    assert front.linear_share_percent == pytest.approx(100 * linear / (11 * 90))


def test_a_study_with_a_linear_box_has_one_hypervolume() -> None:
    made = study_of([Row(1, 20), Row(2, 10)])
    front = front_of(replace(made, spec=replace(made.spec, box="linear", max_error=60.0)))
    assert astuple(front.box) == pytest.approx((2.2, 60.0, 0.0, "linear"))
    assert front.share_percent == front.linear_share_percent == pytest.approx(100 * (40 + 0.2 * 50) / (2.2 * 60))
    assert (
        volume_text(front) == f"{front.share_percent:.2f} % of the box (0 to 2.2 ms on a linear axis, 0 to 60 % error)"
    )


def test_infeasible_networks_add_no_volume() -> None:
    assert front_of(study_of([Row(1, 20, infeasible=True), Row(2, 10, infeasible=True)])).hypervolume == 0


def test_a_latency_limit_and_a_lower_edge_hold_on_the_objectives_backend_only() -> None:
    study = remeasured(sample_loaded(), "cpu", "torch")
    study = replace(study, spec=replace(study.spec, min_latency_ms=0.01))
    first, second = fronts_of(study)
    named = [record.latency_ms for record in second.trained if record.named]
    assert first.box == Box(3.0, 90.0, 0.01)
    fastest = min(record.latency_ms for record in second.trained if record.state == "finished" and record.latency_ms)
    upper = 1.1 * max(ms for ms in named if ms)
    assert astuple(second.box) == pytest.approx((upper, 90.0, min(fastest, upper / 2), "log"))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.builds(Row, st.integers(1, 9), st.integers(1, 99), st.booleans()), min_size=5, max_size=12))
def test_the_volume_curve_ends_at_the_volume_of_the_front_and_its_upper_edges_are_fixed(rows: list[Row]) -> None:
    study, earlier = study_of(rows), study_of(rows[:5])
    assert study_box(study).reference == study_box(earlier).reference
    assert study_box(study) == front_of(study).box == box_in(study.study, study.spec.objective, 10)
    assert curve(ended(study), study_box(study))[-1].hypervolume == pytest.approx(front_of(study).hypervolume)


def test_trials_are_taken_in_the_order_in_which_they_ended() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"])
    slow, fast, _ = study.ask(), study.ask(), study.ask()
    for trial in (fast, slow):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert numbers(ended(loaded(study))) == [1, 0]
    assert numbers(loaded(study).records) == [0, 1, 2]


def test_a_full_training_is_every_epoch_in_whole_batches() -> None:
    assert full_training(sample_loaded()) == FAST.epochs * 7 * 128  # of 1000 images


def test_studies_with_the_same_settings_are_comparable() -> None:
    sample = sample_loaded()
    assert incomparable([sample, sample_loaded(seed=1)]) == ""
    other = replace(sample_loaded(limits=Limits()), images={"train": 7})
    assert incomparable([sample, other]) == "not comparable with sample: they differ in images, limits"


def test_stopped_networks_are_reported_but_are_not_on_the_front() -> None:
    study = with_stopped(sample_loaded(), stopped=4)
    assert [record.state for record in study.records[-5:]] == ["stopped"] * 4 + ["finished"]
    assert len(front_of(study).trained) == 15
    assert progress_of(study).stopped == {2: 3}
    assert progress_of(study).sentences[-1] == "Stopped early: 3 networks after 2 epochs."


@pytest.mark.parametrize(
    ("points", "knee"),
    [
        ([(1, 30), (2, 12), (5, 10)], 1),  # far below the line between the ends
        ([(1, 30), (4.5, 29), (5, 10)], 0),  # above that line: an end is the knee
        ([(1, 30), (1.2, 20), (2, 12), (5, 10)], 2),
        ([(1, 30), (2, 12)], 0),  # of two, the faster one
        ([(7, 7)], 0),
    ],
)
def test_the_knee_is_farthest_below_the_line_between_the_ends(points: list[tuple[float, float]], knee: int) -> None:
    assert front_of(study_of([Row(x, y) for x, y in points])).picked.number == knee


@pytest.mark.parametrize(
    ("points", "marked"),
    [([(1, 30)], False), ([(1, 30), (2, 12)], False), ([(1, 30), (2, 12), (5, 10)], True)],
)
def test_a_knee_is_shown_everywhere_on_a_front_of_three_or_more(
    points: list[tuple[float, float]], marked: bool
) -> None:
    made = replace(study_of([Row(x, y) for x, y in points]), images={"train": 1000, "validation": 100})
    front = front_of(made)
    assert front.knee is (front.picked if marked else None)
    table, chart = front_table(front), figure(front)
    page = page_data(made, [front], progress_of(made))["fronts"][0]
    found = {
        "table": any(str(cell).endswith(" *") for cell in table.columns[0].cells),
        "its caption": "* the knee" in str(table.caption),
        "notebook": "(knee)" in Study(made).front()._repr_html_(),
        "circle": any(trace.name == "knee" for trace in chart.data),
        "label": any(label.text.startswith("knee") for label in chart.layout.annotations),
        "page": page["knee"] == front.picked.number,
        "json": front_json(front)["knee"] == front.picked.number,
        "dashboard": ", the knee" in note("made-up", [front], front.picked.number, []),
        "pick": reason(pick(front, PickRequest(), 100)).startswith("the knee of"),
    }
    assert found == dict.fromkeys(found, marked)


def test_the_nondominated_networks_that_dominate_a_named_one_are_listed() -> None:
    rows = [Row(4, 40, named="threshnet79"), Row(3, 30), Row(2, 35), Row(3.5, 39), Row(1, 50), Row(4, 40)]
    assert placed(front_of(study_of(rows)), "threshnet79") == (False, [2, 1], "dominated by trial 2, trial 1")


def test_a_network_that_dominates_a_named_one_need_not_be_on_the_front() -> None:
    rows = [Row(1, 10, named="threshnet28"), Row(3, 30, named="threshnet79"), Row(2, 20)]
    front = front_of(study_of(rows))
    assert numbers(front.front) == [0]
    assert placed(front, "threshnet28") == (True, [], "on the front; no discovered network dominates it")
    assert placed(front, "threshnet79") == (False, [2], "dominated by trial 2")


def test_a_named_network_off_the_front_may_be_dominated_only_by_named_ones() -> None:
    front = front_of(study_of([Row(1, 10, named="threshnet28"), Row(3, 30, named="threshnet79"), Row(0.5, 90)]))
    assert placed(front, "threshnet79") == (False, [], "not on the front; no discovered network dominates it")


def test_equal_points_do_not_dominate_each_other() -> None:
    front = front_of(study_of([Row(1, 10, named="threshnet28"), Row(1, 10)]))
    assert numbers(front.front) == [0, 1]
    assert placed(front, "threshnet28")[:2] == (True, [])


def test_infeasible_networks_are_not_on_the_front_and_dominate_none() -> None:
    rows = [Row(1, 1, infeasible=True), Row(2, 20), Row(3, 30, named="threshnet79"), Row(1.5, 5, True, "threshnet28")]
    front = front_of(study_of(rows))
    assert numbers(front.front) == [1]
    assert numbers(front.trained) == [0, 1, 2, 3]
    assert placed(front, "threshnet79")[1] == [1]
    words = "not on the front; violates a constraint; no discovered network dominates it"
    assert placed(front, "threshnet28") == (False, [], words)


def test_the_constraint_is_that_of_the_named_network_and_not_of_the_one_that_dominates_it() -> None:
    front = front_of(study_of([Row(2, 20), Row(3, 30, True, "threshnet28")]))
    assert placed(front, "threshnet28") == (False, [0], "violates a constraint; dominated by trial 0")


def test_if_no_network_is_feasible_the_front_is_computed_from_all() -> None:
    front = front_of(
        study_of([Row(1, 20, infeasible=True), Row(2, 10, infeasible=True), Row(3, 30, True, "threshnet28")])
    )
    assert numbers(front.front) == [0, 1]
    assert placed(front, "threshnet28")[1] == []


def test_only_trained_networks_count() -> None:
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
        assert all(row.infeasible for row in rows)
    assert front.picked in front.front


@settings(deadline=None, max_examples=60)
@given(ROWS, st.sets(st.integers(0, 11)))
def test_dominating_is_no_worse_and_somewhere_better(rows: list[Row], named: set[int]) -> None:
    rows = [replace(row, named="threshnet28") if number in named else row for number, row in enumerate(rows)]
    for point in front_of(study_of(rows)).named:
        x, y = point.record.point
        dominating = {
            number
            for number, row in enumerate(rows)
            if not row.infeasible
            and not row.named
            and row.latency_ms <= x
            and row.error <= y
            and (row.latency_ms, row.error) != (x, y)
        }
        assert bool(point.dominated_by) == bool(dominating)
        assert set(numbers(point.dominated_by)) <= dominating


# As JSON


def test_json_has_every_field() -> None:
    front = sample_front()
    document = json.loads(json.dumps(front_json(front), allow_nan=False))
    assert set(document) == {
        "study",
        "about",
        "caveat",
        "backend",
        "baseline",
        "objectives",
        "trained",
        "hypervolume",
        "hypervolume_percent",
        "linear",
        "box",
        "reference",
        "knee",
        "front",
        "named",
    }
    assert (document["study"], document["caveat"], document["trained"]) == (
        front.study,
        front.caveat,
        len(front.trained),
    )
    assert (document["knee"], document["backend"]) == (front.picked.number, "cpu onnxruntime")
    assert document["reference"] == {"latency_ms": front.box.max_latency_ms, "error_percent": front.box.max_error}
    assert document["box"] == asdict(front.box)
    assert document["linear"]["hypervolume_percent"] == front.linear_share_percent
    assert [entry["trial"] for entry in document["front"]] == numbers(front.front)
    for entry, record in zip(document["front"], front.front, strict=True):
        assert entry["name"] == title(record)
        assert (entry["latency_ms"], entry["error_percent"]) == record.point
        low, high = entry["latency_interval_ms"]
        assert low <= entry["latency_ms"] <= high
        assert entry["latency_relative_iqr"] > 0
        assert (entry["params"], entry["macs"]) == (record.costs["params"], record.costs["macs"])
        assert (entry["fingerprint"], entry["schedule"]) == (record.fingerprint, record.schedule)
        assert NetworkSpec.from_json(entry["spec"]) == record.network
    for entry, point in zip(document["named"], front.named, strict=True):
        assert entry["name"] in ("ThreshNet28", "ThreshNet79")
        assert entry["on_front"] == point.on_front
        assert entry["feasible"] == (point.record.state == "finished")
        assert entry["dominated_by"] == numbers(point.dominated_by)


def test_no_test_error_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row(1, 30), Row(2, 12), Row(5, 10), Row(3, 30, named="threshnet28")]
    made = study_of(rows)
    with_test_errors = optuna.create_study(directions=["minimize", "minimize"])
    for number, trial in enumerate(made.study.trials):
        for key in ("test_error", "test_error_percent", "test"):
            trial.user_attrs[key] = 100.0 - number
        with_test_errors.add_trial(trial)
    monkeypatch.setattr("search.data.load_test", None)
    assert front_json(front_of(loaded(with_test_errors))) == front_json(front_of(made))
    assert not any("test" in field.name for field in (*fields(Record), *fields(ParetoFront)))


def test_without_a_reliable_latency_the_front_is_of_unreliable_ones() -> None:
    front = sample_front()
    none = [replace(record, postponed=True) for record in front.trained]
    assert {record.number for record in competitors(none)} == {
        record.number for record in front.trained if record.state == "finished" and record.model is None
    }
    best = next(record for record in front.front if not record.named)
    some = [replace(record, postponed=record.number == best.number) for record in front.trained]
    assert best.number not in {record.number for record in competitors(some)}
