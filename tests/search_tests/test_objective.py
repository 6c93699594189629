"""The objective of a study: when networks are measured and trained, what is recorded, and when a trial fails."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta
from optuna.trial import FrozenTrial, TrialState
from search_tests.leases import busy
from search_tests.tiny import (
    LARGEST,
    QUICK,
    SIZE,
    SMALLEST,
    SPACE,
    StubMeasurement,
    StubTraining,
    failing,
    params_of,
    tiny_data,
    tiny_task,
)

from search import records
from search.data import SearchData
from search.latency.devices.named import device_named
from search.latency.protocol import MeasurementError
from search.latency.samples import Samples
from search.objective import FAILURES, NoDisplay, StudyFolders, scorer
from search.records import record
from search.samplers.named import sampler_for
from search.storing import samples_of
from search.task import Task
from search.training.train import TrainingFailed
from space import Limits, effective_values, encode
from threshnet.checkpoint import load_weights
from threshnet.costs import count
from threshnet.shared_lease import SharedLease
from threshnet.spec import NetworkSpec, StemSpec

MIDDLE = (params_of(SMALLEST) + params_of(LARGEST)) / 2


class Scoring:
    """A study in memory with stubs for measuring and training; `log` lists their calls in order."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.measurement, self.training = StubMeasurement(self.log), StubTraining(self.log)
        monkeypatch.setattr("search.objective.measure_on", self.measurement)
        monkeypatch.setattr("search.objective.train", self.training)
        self.study: Study = optuna.create_study(directions=["minimize", "minimize"])
        (folder / "checkpoints").mkdir()
        self.weights = FileSystemArtifactStore(folder)
        self.folders = StudyFolders(self.weights, folder / "checkpoints")

    def score(self, spec: NetworkSpec, task: Task, named: str | None = None) -> FrozenTrial:
        """Score one network and return its trial."""
        self.log.clear()
        self.study.enqueue_trial(encode(task.space, spec), user_attrs={records.NAMED: named} if named else None)
        objective = scorer(task, tiny_data(), sampler_for("random", task, 0), self.folders, NoDisplay())
        self.study.optimize(objective, n_trials=1, catch=FAILURES)
        return self.study.trials[-1]


@pytest.fixture
def scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scoring:
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    return Scoring(tmp_path, monkeypatch)


def done(scoring: Scoring) -> list[str]:
    """The calls of the stubs, without the networks."""
    return [entry.split()[0] for entry in scoring.log]


def test_a_trained_trial_has_every_documented_attribute(scoring: Scoring, tmp_path: Path) -> None:
    task = tiny_task(Limits(params=1e6, latency_ms=100.0), runtimes=("onnxruntime", "torch"))
    trial = scoring.score(LARGEST, task, named="largest")
    assert trial.state is TrialState.COMPLETE
    of_studies = (
        "SPEC",
        "STUDY",
        "IMAGES",
        "GIVEN",
        "CLASSES",
        "CLASS_COUNTS",
        "CONDITIONS",
        "REMEASURED",
        "FINAL_PASS",
    )
    documented = {
        value
        for name, value in vars(records).items()
        if name.isupper() and name not in (*of_studies, "ERROR_AFTER", "LONG")
    }
    readable = effective_values(task.space, LARGEST) | {"error after 2 epochs": trial.values[0]}
    absent = {
        records.REASON,
        records.DUPLICATE_OF,
        records.RETRY_OF,
        records.CONTINUES,
        records.INTERRUPTED,
        records.LOST,
        records.UNREACHABLE,
        records.LATER,
        records.PROPOSAL,
        records.MEASURES,
        records.MODEL,
        records.CLASS_ERRORS,
        records.POSTPONED,
        records.UNRELIABLE,
    }
    assert trial.user_attrs.keys() == documented - absent - {*records.LONG} | readable.keys()
    assert trial.system_attrs.keys() >= {*records.LONG}
    assert trial.user_attrs.items() >= readable.items()
    assert not any("rounds_ms" in reading for reading in trial.system_attrs[records.LATENCY].values())

    read = record(trial)
    assert (read.number, read.state, read.trained, read.named) == (0, "finished", True, "largest")
    assert read.network == LARGEST
    assert read.fingerprint == LARGEST.fingerprint()
    assert read.error == 1e5 / params_of(LARGEST)
    assert read.latency_ms == params_of(LARGEST) / 1000
    assert read.point == (read.latency_ms, read.error)
    assert list(read.latency) == ["cpu onnxruntime", "cpu torch"]
    assert read.latency["cpu torch"].latency_ms == 2 * read.latency_ms
    counted = count(LARGEST, SIZE)
    assert read.costs == {field.name: getattr(counted, field.name) for field in fields(counted)[1:]}
    assert read.epochs == tuple({"number": number, "loss": 0.5, "seconds": 0.25} for number in (1, 2))
    assert read.rungs == {2: read.error}
    assert read.image_passes == 80
    assert read.constraints.keys() == {"input_size", "params", "latency_ms"}
    assert read.constraints["params"] == params_of(LARGEST) / 1e6 - 1
    assert (read.reason, read.duplicate_of) == (None, None)
    assert read.schedule == trial.user_attrs[records.SCHEDULE] == "dense"
    assert read.seconds is not None
    assert read.seconds > 0
    assert trial.user_attrs[records.WORKER].keys() == {"host", "pid"}

    assert read.weights is not None
    download_artifact(artifact_store=scoring.weights, artifact_id=read.weights, file_path=str(tmp_path / "model"))
    assert load_weights(tmp_path / "model").spec == LARGEST


def test_latency_is_measured_through_every_runtime_before_training(scoring: Scoring) -> None:
    scoring.score(LARGEST, tiny_task(runtimes=("torch", "onnxruntime")))
    name = LARGEST.fingerprint()
    assert scoring.log == [f"measure {name} torch", f"measure {name} onnxruntime", f"train {name}"]
    assert record(scoring.study.trials[0]).latency_ms == 2 * params_of(LARGEST) / 1000  # the first runtime's


def test_raw_latency_samples_are_stored_as_artifacts(scoring: Scoring, tmp_path: Path) -> None:
    read = record(scoring.score(LARGEST, tiny_task(runtimes=("onnxruntime", "torch"))))
    for latency in read.latency.values():
        milliseconds = params_of(LARGEST) / 1000 * (1 if latency.runtime == "onnxruntime" else 2)
        samples = samples_of(latency, tmp_path)
        assert samples == Samples(((milliseconds,) * 16,) * 6, ((1.0,) * 16,) * 6)
        assert latency.samples is None
        assert latency.artifact is not None
        (tmp_path / latency.artifact).write_text("half written")
        assert samples_of(latency, tmp_path) is None
        assert samples_of(latency, tmp_path / "another") is None
        assert samples_of(replace(latency, artifact="../model"), tmp_path) is None


@pytest.mark.parametrize("limit", ["params", "macs", "memory_bytes"])
def test_a_network_above_a_counted_limit_is_neither_measured_nor_trained(scoring: Scoring, limit: str) -> None:
    actual = getattr(count(LARGEST, SIZE), limit)
    read = record(scoring.score(LARGEST, tiny_task(Limits(**{limit: actual / 2}))))
    assert scoring.log == []
    reason = f"violates the constraint on {limit} by 100 %"
    assert (read.state, read.trained, read.reason) == ("not trained", False, reason)
    assert read.constraints == {"input_size": pytest.approx(read.constraints["input_size"]), limit: 1.0}
    assert read.network == LARGEST
    assert read.costs[limit] == actual
    assert (read.error, read.latency_ms, read.weights) == (None, None, None)
    with pytest.raises(ValueError, match="trial 0 was not trained"):
        _ = read.point


def test_a_network_exactly_at_the_limits_is_trained(scoring: Scoring) -> None:
    limits = Limits(params=params_of(LARGEST), latency_ms=params_of(LARGEST) / 1000)
    assert record(scoring.score(LARGEST, tiny_task(limits))).state == "finished"


def test_a_network_above_the_latency_limit_is_measured_once_and_not_trained(scoring: Scoring) -> None:
    task = tiny_task(Limits(latency_ms=params_of(LARGEST) / 4000), runtimes=("onnxruntime", "torch"))
    read = record(scoring.score(LARGEST, task))
    assert done(scoring) == ["measure"]
    assert (read.state, read.reason) == ("not trained", "violates the constraint on latency_ms by 300 %")
    assert read.constraints["latency_ms"] == 3.0
    assert list(read.latency) == ["cpu onnxruntime"]


def test_the_latency_limit_applies_to_the_first_runtime_only(scoring: Scoring) -> None:
    task = tiny_task(Limits(latency_ms=1.5 * params_of(LARGEST) / 1000), runtimes=("onnxruntime", "torch"))
    assert record(scoring.score(LARGEST, task)).state == "finished"


@pytest.mark.parametrize("limits", [Limits(params=MIDDLE), Limits(latency_ms=MIDDLE / 1000)])
def test_a_named_network_is_trained_even_if_infeasible(scoring: Scoring, limits: Limits) -> None:
    trial = scoring.score(LARGEST, tiny_task(limits), named="largest")
    read = record(trial)
    assert done(scoring) == ["measure", "train"]
    assert trial.state is TrialState.COMPLETE
    assert (read.state, read.trained, read.reason) == ("infeasible", True, None)
    assert max(read.constraints.values()) == pytest.approx(params_of(LARGEST) / MIDDLE - 1)
    assert scoring.study.best_trials == []  # infeasible for Optuna, too


@pytest.mark.parametrize("named", [None, "pooling"])
def test_a_network_whose_pooling_leaves_no_pixels_is_never_built(scoring: Scoring, named: str | None) -> None:
    stem = StemSpec((4, 8), stride=2, pool=True)
    space = replace(SPACE, stems=(stem,), pools=(True,))
    spec = replace(LARGEST, stem=stem, blocks=(replace(LARGEST.blocks[0], pool=True),))
    read = record(scoring.score(spec, replace(tiny_task(space=space), input_size=4), named))
    assert scoring.log == []
    assert (read.state, read.costs) == ("not trained", {})
    assert read.reason == "input too small: pooling leaves no pixels"
    assert read.constraints["input_size"] > 0


def test_a_task_decides_if_a_network_fits() -> None:
    task = tiny_task(Limits(params=MIDDLE))
    assert task.fits(SMALLEST)
    assert not task.fits(LARGEST)
    assert not replace(tiny_task(), input_size=2).fits(
        replace(SMALLEST, blocks=(replace(SMALLEST.blocks[0], pool=True),))
    )
    assert task.protocol == QUICK


def test_a_duplicate_has_the_earlier_values_and_is_not_trained(scoring: Scoring) -> None:
    task = tiny_task(Limits(latency_ms=100.0))
    first = record(scoring.score(LARGEST, task))
    second = record(scoring.score(LARGEST, task))
    assert scoring.log == []
    assert (second.state, second.duplicate_of, second.trained) == ("duplicate", 0, False)
    assert (second.error, second.latency_ms) == (first.error, first.latency_ms)
    assert second.constraints == first.constraints
    assert second.fingerprint == first.fingerprint
    third = record(scoring.score(LARGEST, task))
    assert third.duplicate_of == 0


def test_a_duplicate_of_an_untrained_or_failed_network_has_no_values(scoring: Scoring) -> None:
    task = tiny_task(Limits(params=MIDDLE))
    scoring.score(LARGEST, task)
    scoring.measurement.fail = failing(MeasurementError("no answer"))
    scoring.score(SMALLEST, task)
    for number, spec in enumerate((LARGEST, SMALLEST)):
        trial = scoring.score(spec, task)
        assert scoring.log == []
        assert trial.state is TrialState.PRUNED
        assert (record(trial).state, record(trial).duplicate_of) == ("duplicate", number)
        assert trial.constraints == scoring.study.trials[number].constraints


def test_a_pruned_network_that_is_named_later_is_trained(scoring: Scoring) -> None:
    task = tiny_task(Limits(params=MIDDLE))
    scoring.score(LARGEST, task)
    assert record(scoring.score(LARGEST, task, named="largest")).state == "infeasible"


def test_a_failed_training_keeps_its_measurement_and_records_the_reason(scoring: Scoring) -> None:
    scoring.training.fail = failing(TrainingFailed("out of memory (CPU)"))
    read = record(scoring.score(LARGEST, tiny_task()))
    assert (read.state, read.reason, read.error) == ("failed", "out of memory (CPU)", None)
    assert read.latency["cpu onnxruntime"].latency_ms == params_of(LARGEST) / 1000


def test_after_a_failed_measurement_nothing_is_trained_and_the_reason_is_recorded(scoring: Scoring) -> None:
    scoring.measurement.fail = failing(MeasurementError("the probe died"))
    read = record(scoring.score(LARGEST, tiny_task()))
    assert (read.state, read.reason) == ("failed", "the probe died")
    assert done(scoring) == ["measure"]


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("shapes")])
def test_a_programming_error_is_not_swallowed(scoring: Scoring, error: Exception) -> None:
    scoring.training.fail = failing(error)
    with pytest.raises(type(error)):
        scoring.score(LARGEST, tiny_task())
    assert scoring.study.trials[0].state is TrialState.FAIL


def test_an_interruption_is_recorded_and_the_network_can_be_tried_again(scoring: Scoring) -> None:
    scoring.training.fail = failing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        scoring.score(LARGEST, tiny_task())
    assert record(scoring.study.trials[0]).reason == records.INTERRUPTED
    scoring.training.fail = lambda spec: None
    assert record(scoring.score(LARGEST, tiny_task())).state == "finished"  # no duplicate


def test_training_gets_the_task_and_no_test_images(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: dict[str, object] = {}
    stub = scoring.training

    def spy(spec: NetworkSpec, train: object, validation: object, recipe: object, **others: object) -> object:
        passed.update(others, train=train, validation=validation, recipe=recipe)
        return stub(spec, train, validation, recipe, **others)  # type: ignore[arg-type]

    monkeypatch.setattr("search.objective.train", spy)
    task = replace(tiny_task(), flip=False, seed=7)
    data = tiny_data()
    scoring.study.enqueue_trial(encode(SPACE, LARGEST))
    scoring.study.optimize(scorer(task, data, sampler_for("random", task, 0), scoring.folders, NoDisplay()), n_trials=1)
    assert passed["train"] is data.train
    assert passed["validation"] is data.validation
    assert (passed["recipe"], passed["flip"], passed["seed"]) == (task.recipe, False, 7)
    assert passed["device"] == "cpu"
    assert {field.name for field in fields(SearchData)} == {
        "name",
        "classes",
        "train",
        "validation",
        "flip",
        "caveat",
        "remarks",
    }
    assert not any("test" in field.name for field in fields(Task))


@pytest.mark.parametrize(("trains_on", "held"), [("cpu", ["cpu"]), ("cuda:1", ["cpu", "cuda:1"])])
def test_training_waits_while_a_device_it_uses_is_measured(
    scoring: Scoring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trains_on: str, held: list[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stub, seen = scoring.training, []
    leases = [device_named(name).lease for name in ("cpu", "cuda:0", "cuda:1")]

    def spy(*arguments: object, device: str, shared_lease: SharedLease, **others: object) -> object:
        assert device == trains_on
        with shared_lease():
            seen.append(busy(leases))
        seen.append(busy(leases))
        return stub(*arguments, device=device, shared_lease=shared_lease, **others)  # type: ignore[arg-type]

    monkeypatch.setattr("search.objective.train", spy)
    task = replace(tiny_task(), trains_on=trains_on, training_lease=device_named(trains_on).lease)
    assert record(scoring.score(LARGEST, task)).state == "finished"
    assert seen == [[device_named(name).lease for name in held], []]


def test_callbacks_are_called_at_every_stage(scoring: Scoring) -> None:
    calls: list[str] = []

    class Recording(NoDisplay):
        def stage(self, number: int, text: str) -> None:
            calls.append(f"{number} {text}")

        def progress(self, done: int, total: int) -> None:
            calls.append(f"{done}/{total}")

    scoring.study.enqueue_trial(encode(SPACE, LARGEST))
    objective = scorer(tiny_task(), tiny_data(), sampler_for("random", tiny_task(), 0), scoring.folders, Recording())
    scoring.study.optimize(objective, n_trials=1)
    latency = f"{params_of(LARGEST) / 1000:.2f}"
    assert calls == ["0 proposing", "0 measuring with onnxruntime", f"0 training, {latency} ms", "1/1"]


def test_every_optuna_state_maps_to_a_recorded_state() -> None:
    values = (1.0, 2.0)
    cases: list[tuple[str, dict[str, object]]] = [
        ("finished", {"state": TrialState.COMPLETE, "values": values, "constraints": {"params": 0.0}}),
        ("infeasible", {"state": TrialState.COMPLETE, "values": values, "constraints": {"params": 0.1, "macs": -1.0}}),
        ("not trained", {"state": TrialState.PRUNED}),
        ("failed", {"state": TrialState.FAIL}),
        ("interrupted", {"state": TrialState.FAIL, "user_attrs": {records.REASON: records.INTERRUPTED}}),
        ("running", {"state": TrialState.RUNNING}),
        ("waiting", {"state": TrialState.WAITING}),
        ("duplicate", {"state": TrialState.COMPLETE, "values": values, "user_attrs": {records.DUPLICATE_OF: 0}}),
        ("duplicate", {"state": TrialState.PRUNED, "user_attrs": {records.DUPLICATE_OF: 0}}),
    ]
    assert {case["state"] for _, case in cases} == set(TrialState)
    for word, case in cases:
        read = record(optuna.create_trial(**case))  # type: ignore[arg-type]
        assert read.state == word
        assert read.trained == (word in ("finished", "infeasible"))
        assert (read.network, read.schedule, read.latency, read.epochs) == (None, "", {}, ())


def test_only_trained_networks_are_drawn(scoring: Scoring) -> None:
    drawn: list[tuple[NetworkSpec, int, str]] = []

    def draw(spec: NetworkSpec, input_size: int, title: str) -> str:
        drawn.append((spec, input_size, title))
        return "<svg/>"

    scoring.folders = replace(scoring.folders, draw=draw)
    task = tiny_task(Limits(params=int(MIDDLE)))
    scoring.score(LARGEST, task)
    scoring.score(SMALLEST, task, named="smallest")
    scoring.score(SMALLEST, task)  # a duplicate
    assert drawn == [(SMALLEST, SIZE, f"Trial 1 of {scoring.study.study_name}: smallest")]


def test_a_failed_drawing_does_not_fail_the_trial(scoring: Scoring) -> None:
    def draw(spec: NetworkSpec, input_size: int, title: str) -> str:
        raise ValueError("no pencil")

    scoring.folders = replace(scoring.folders, draw=draw)
    trial = scoring.score(SMALLEST, tiny_task())
    assert trial.state is TrialState.COMPLETE
    stored = {meta.filename: meta for meta in get_all_artifact_meta(trial, storage=scoring.study._storage)}
    assert stored.keys() == {"latency-cpu-onnxruntime.csv", "model.safetensors"}
    assert stored["model.safetensors"].artifact_id == trial.user_attrs[records.WEIGHTS]


def test_a_drawing_that_cannot_be_stored_stops_the_study_as_weights_would(
    scoring: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**others: Any) -> str:  # noqa: ANN401 - upload_artifact's own
        raise OSError("no space left on device")

    scoring.folders = replace(scoring.folders, draw=lambda spec, input_size, title: "<svg/>")
    monkeypatch.setattr("search.storing.upload_artifact", full)
    with pytest.raises(OSError, match="no space left"):
        scoring.score(SMALLEST, tiny_task())
