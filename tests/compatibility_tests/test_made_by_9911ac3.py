"""Studies, checkpoints and a model folder written by commit 9911ac3 still load, resume, export and check."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.storages import RDBStorage

from search import records
from search.run import counted
from studies.cli import main
from studies.study import launch_study, load_study

FIXTURES = Path(__file__).parents[1] / "fixtures" / "made_by_9911ac3"
SQLITE = ("old", "sqlite:///study.sqlite3")
JOURNAL = ("old-journal", "journal:study.journal")
STATES = {
    "old": ["finished", *["stopped"] * 5, "finished", "duplicate", "not trained", "failed", "interrupted"],
    "old-journal": ["finished", "finished"],
}
STOPPED = 4  # a trial of `old`, stopped after the first of two epochs and not resumed since
EXPORTED = 6  # the trial of the model folder in the fixtures
TRAINING_IMAGES = 400

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Copy the fixtures to a working directory; close every SQLite storage that a test opens."""
    opened: list[RDBStorage] = []
    original = RDBStorage.__init__

    def remember(self: RDBStorage, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of RDBStorage
        original(self, *arguments, **options)
        opened.append(self)

    monkeypatch.setattr(RDBStorage, "__init__", remember)
    shutil.copytree(FIXTURES, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    yield tmp_path / "old"
    for storage in opened:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `threshnet` in this process, check its exit status, and return what it printed."""

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["threshnet", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert (end.value.code or 0) == status, printed.err
        return printed.out

    return run


@pytest.mark.parametrize(("name", "storage"), [SQLITE, JOURNAL])
def test_a_study_is_loaded_and_its_front_computed(name: str, storage: str, run: Run) -> None:
    loaded = load_study(name, storage)
    assert [record.state for record in loaded.records] == STATES[name]
    trained = [record for record in loaded.records if record.state == "finished"]
    assert all(record.network and record.weights and record.costs["params"] <= 2000 for record in trained)
    assert all(len(record.epochs) == loaded.spec.recipe.epochs for record in trained)
    assert all({"cpu onnxruntime", "cpu torch"} == record.latency.keys() for record in trained)
    points = {record.number: record.point for record in trained}
    front = {number: point for number, point in points.items() if not any(dominates(p, point) for p in points.values())}
    reported = json.loads(run("pareto", name, "--storage", storage, "--csv", "trials.csv", "--json"))
    assert {each["trial"]: (each["latency_ms"], each["error_percent"]) for each in reported["front"]} == front
    with Path("trials.csv").open() as table:
        assert [row["state"] for row in csv.DictReader(table)] == STATES[name]
    assert "cpu torch" in run("pareto", name, "--storage", storage, "--on", "cpu torch")
    (listed,) = json.loads(run("studies", "--storage", storage, "--json"))
    assert listed["name"] == name


def test_a_stopped_trial_of_a_sqlite_study_is_resumed_from_its_checkpoint(run: Run) -> None:
    before = load_study(*SQLITE)
    stopped = before.records[STOPPED]
    (checkpoint,) = Path("runs/old/checkpoints").glob(f"*/{stopped.fingerprint}.pt")
    before.study.enqueue_trial(before.study.trials[STOPPED].params)
    run("launch", "study.toml", "--storage", SQLITE[1], "--trials", str(counted(before.study) + 1))
    resumed, retried, *_ = load_study(*SQLITE).records[len(before.records) :]
    assert (resumed.state, resumed.continues, resumed.fingerprint) == ("finished", STOPPED, stopped.fingerprint)
    assert resumed.image_passes == TRAINING_IMAGES  # one epoch: the other was trained earlier
    assert resumed.epochs[0] == stopped.epochs[0]
    assert (len(resumed.epochs), resumed.rungs[1]) == (2, stopped.rungs[1])
    own = records.record(before.study.trials[resumed.number])  # without the reading of the final pass
    assert own.latency == stopped.latency
    assert not checkpoint.exists()
    interrupted = before.records[-1]
    assert retried.state in ("finished", "stopped")  # resuming the other network did not add one
    assert before.study.trials[retried.number].user_attrs["retry_of"] == interrupted.number


def test_a_journal_study_is_resumed() -> None:
    loaded, outcome = launch_study("journal.toml", JOURNAL[1], trials=3)
    assert (outcome.ended, outcome.trials, loaded.trained) == ("enough", 3, 3)
    last = loaded.records[-1]
    assert last.latency.keys() == loaded.records[0].latency.keys()
    assert last.fingerprint not in {record.fingerprint for record in loaded.records[:2]}


def test_a_trial_is_exported_with_its_trained_weights(run: Run) -> None:
    run("export", SQLITE[0], "--storage", SQLITE[1], "--trial", str(EXPORTED), "-o", "again")
    assert Path("again/model.safetensors").read_bytes() == Path("model/model.safetensors").read_bytes()
    again, before = (json.loads(Path(folder, "config.json").read_text()) for folder in ("again", "model"))
    assert again.keys() >= before.keys()
    for key in ("format", "fingerprint", "input_size", "classes", "recipe", "spec"):
        assert again[key] == before[key]
    for now, earlier in zip(again["latency"], before["latency"], strict=True):
        later: dict[str, Any] = {"disturbed": False, "lost": 0, "priority": 0, "switches": 0, "missing": 0.0}
        later |= {"baseline": None, "rescaled": False}
        later |= {
            moment: {"quota_throttled": None, "gpu_others_percent": None, **earlier[moment]}
            for moment in ("before", "after")
        }
        assert now | {"ratio": pytest.approx(now["ratio"])} == earlier | {"rounds": 6} | later


def test_a_model_folder_passes_its_check(run: Run, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(old / "state"))  # another test may export this network, with the same .pt2
    found = {each["file"]: each["ok"] for each in json.loads(run("check", "model", "--json"))}
    unopened = {"README.md": None, "model.pt2": None}  # a .pt2 is opened only on the machine that exported it
    files = ("config.json", "model.safetensors", "model.onnx", "model_int8.onnx", "model.py", "predict.py")
    assert found == dict.fromkeys(files, True) | unopened


def test_a_final_training_is_resumed_from_its_checkpoint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.export.export", interrupt)  # after the training; the export is tested elsewhere
    before = epochs_in("half-trained/checkpoint-0.pt")
    training = ("--data", "digits", "--epochs", "2", "--input", "16", "-o", "half-trained")
    run("train", "network.json", *training, status=130)
    after = epochs_in("half-trained/checkpoint-0.pt")
    assert [number for number, _, _ in after] == [1, 2]
    assert after[:1] == before


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return True if a point is nowhere worse than another and somewhere better."""
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def epochs_in(checkpoint: str) -> list[tuple[int, float, float]]:
    """List (number, loss, seconds) of every epoch of a checkpoint."""
    epochs: list[tuple[int, float, float]] = torch.load(checkpoint, weights_only=True)["training"]["epochs"]
    return epochs
