"""Retraining: a killed run resumes to the same table, settings do not mix, and test errors choose nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from search_tests.tiny import LARGEST, NETWORK, SIZE, SMALLEST, StubMeasurement
from studies_tests.small import small_spec, write_tree

from search.data import Split, load_search
from search.latency.protocol import MeasurementError
from search.training.train import Training, TrainingFailed
from studies.export.score import Score
from studies.figures.chrome import NoChrome
from studies.library import Study, launch
from studies.retraining import carry_out, latencies, run
from studies.retraining.finished import read_finished
from studies.retraining.outcome import Retrained
from studies.retraining.results import mean_error
from studies.retraining.retrain import Network, retrain
from threshnet import InputError, NetworkSpec
from threshnet.checkpoint import load_weights
from threshnet.network import ThreshNet
from threshnet.spec_file import ResolvedNetwork

ROOT = Path(__file__).parents[3]
EPOCHS = 2
POOLING = replace(SMALLEST, blocks=(replace(SMALLEST.blocks[0], pool=True),) * 4)
Call = Callable[..., Retrained]


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The titles and the weights of exported models; stubs replace the slow export, the figure and the device."""
    found: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(
        "studies.retraining.exporting.export_model",
        lambda model, folder, info, *others: found.append((info.title, model.state_dict())),
    )
    monkeypatch.setattr(carry_out, "write_picture", lambda chart, width, file: file.write_bytes(b"a picture"))
    monkeypatch.setattr(latencies, "measure_all", StubMeasurement([]).interleaved)
    return found


@pytest.fixture
def study(log: list[str], tmp_path: Path) -> Study:
    """A study of three networks on the digits."""
    return launch(small_spec(), f"journal:{tmp_path / 'study.log'}", runs=tmp_path / "runs", progress=False)


@pytest.fixture
def two(exported: list[tuple[str, dict[str, Any]]], tmp_path: Path) -> Call:
    """Retrain the smallest and the largest network on a tree of images."""
    tree = write_tree(tmp_path / "images")

    def call(folder: Path, networks: list[Any] | None = None, **changes: Any) -> Retrained:  # noqa: ANN401
        values: dict[str, Any] = {"data": tree, "epochs": EPOCHS, "seeds": 2, "input_size": SIZE, "progress": False}
        return retrain(networks or [SMALLEST, LARGEST], folder, **values | changes)

    return call


def lines(folder: Path) -> list[dict[str, Any]]:
    """The finished trainings of a folder."""
    return [json.loads(line) for line in (folder / "trainings.jsonl").read_text().splitlines()]


def error_of(call: Callable[[], object]) -> str:
    """The one-line message of an invalid call."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_seed_of_every_network_is_a_line_with_its_conditions(two: Call, tmp_path: Path) -> None:
    retrained = two(tmp_path / "a")
    small, large = SMALLEST.fingerprint(), LARGEST.fingerprint()
    found = lines(tmp_path / "a")
    order = [(line["fingerprint"], line["seed"]) for line in found]
    assert order == [(small, 0), (large, 0), (small, 1), (large, 1)]
    for line in found:
        assert NetworkSpec.from_json(line["network"]).fingerprint() == line["fingerprint"]
        assert line["settings"]["recipe"] | {"name": "fast", "epochs": EPOCHS} == line["settings"]["recipe"]
        data = line["settings"]["data"]
        assert (data["train"], data["validation"], data["test"], data["held_out"]) == (48, 12, 20, True)
        assert line["validation_error_percent"] == 100 * line["validation"]["wrong"] / 12
        assert line["test_error_percent"] == 100 * line["test"]["wrong"] / 20
        assert line["seconds"] > 0
        assert torch.__version__.startswith(line["environment"]["versions"]["torch"])
    assert (tmp_path / "a" / "figure.png").read_bytes() == b"a picture"
    assert list((tmp_path / "a" / "checkpoints").iterdir()) == []
    table = retrained.to_dataframe()
    assert list(table["seeds"]) == [2, 2]
    assert table["latency_ms"].is_monotonic_increasing
    assert "<table" in retrained._repr_html_()


def test_the_line_of_a_training_can_be_read_back(two: Call, tmp_path: Path) -> None:
    two(tmp_path / "a", seeds=1, metric="balanced_error")
    read = read_finished(tmp_path / "a" / "trainings.jsonl")
    assert [training.to_json() for training in read] == lines(tmp_path / "a")
    assert all(training.test and training.test.by_class for training in read)


class Killed(BaseException):
    """Stands for a signal that kills the process."""


def test_a_run_killed_at_any_moment_resumes_to_the_same_table(
    two: Call, exported: list[tuple[str, dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill it in the middle of each epoch, and before and after each step that follows a training, and rerun it."""
    whole = two(tmp_path / "whole", seeds=1)
    left = [0]
    epochs: list[int] = []

    def step(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    def counted(owner: object, name: str) -> None:
        original: Callable[..., object] = getattr(owner, name)

        def around(*arguments: Any, **options: Any) -> object:  # noqa: ANN401 - those of the original
            step()
            result = original(*arguments, **options)
            step()
            return result

        monkeypatch.setattr(owner, name, around)

    step_epoch = Training.step_epoch

    def interruptible(self: Training[ThreshNet], progress: object, lease: Any) -> object:  # noqa: ANN401 - a lease
        found = step_epoch(self, step, lease)
        epochs.append(found.number)
        return found

    monkeypatch.setattr(Training, "step_epoch", interruptible)
    for owner, name in ((run, "score_model"), (run, "save_weights"), (run, "append"), (Path, "unlink")):
        counted(owner, name)
    for owner, name in ((carry_out, "latencies"), (carry_out, "export_retrained")):
        counted(owner, name)
    moment = 0
    while True:
        moment += 1
        folder, left[0] = tmp_path / str(moment), moment
        epochs.clear()
        try:
            two(folder, seeds=1)
        except Killed:
            left[0] = 0
            resumed = two(folder, seeds=1)
        else:
            break
        assert resumed.to_dataframe().equals(whole.to_dataframe())
        assert resumed.choice
        assert whole.choice
        assert resumed.choice.network.fingerprint == whole.choice.network.fingerprint
        assert all(torch.equal(value, exported[0][1][key]) for key, value in exported[-1][1].items())
        assert sorted(epochs) == [1, 1, 2, 2]
        assert len(lines(folder)) == 2
        assert list((folder / "checkpoints").iterdir()) == []
    assert moment > 20


@pytest.mark.usefixtures("exported")
def test_a_study_is_retrained_again_after_a_sigkill(study: Study, tmp_path: Path) -> None:
    undisturbed = retrain(study.front(), tmp_path / "whole", epochs=EPOCHS, seeds=2, progress=False)
    program = f"""
import os, signal
from pathlib import Path
from search.training.train import Training
from studies.library import load
from studies.retraining.retrain import Network, retrain

started = []
step_epoch = Training.step_epoch

def killed(self, progress, lease):
    started.append(self.seed)
    kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done > total // 2 else None
    return step_epoch(self, kill if len(started) == 4 else progress, lease)

Training.step_epoch = killed
study = load("small", "journal:{tmp_path / "study.log"}")
retrain(study.front(), Path({str(tmp_path / "killed")!r}), epochs={EPOCHS}, seeds=2, progress=False)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 1
    before = lines(tmp_path / "killed")
    assert len(before) == 1
    resumed = retrain(study.front(), tmp_path / "killed", epochs=EPOCHS, seeds=2, progress=False)
    assert lines(tmp_path / "killed")[:1] == before
    assert resumed.to_dataframe().equals(undisturbed.to_dataframe())


def test_a_rerun_with_more_networks_and_seeds_trains_only_what_is_missing(
    two: Call, exported: list[tuple[str, dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[int, int]] = []
    step_epoch = Training.step_epoch

    def counted(self: Training[ThreshNet], *arguments: Any) -> object:  # noqa: ANN401 - those of the original
        started.append((sum(weight.numel() for weight in self.weights), self.seed))
        return step_epoch(self, *arguments)

    measured: list[int] = []
    stub = StubMeasurement([])

    def measure(device: Any, networks: Any, *others: Any) -> object:  # noqa: ANN401 - those of measure_all
        measured.append(len(networks))
        return stub.interleaved(device, networks, *others)

    monkeypatch.setattr(Training, "step_epoch", counted)
    monkeypatch.setattr(latencies, "measure_all", measure)
    two(tmp_path / "a", [SMALLEST], seeds=1, epochs=1)
    two(tmp_path / "a", [SMALLEST], seeds=1, epochs=1)
    assert (len(started), measured, len(exported)) == (1, [1], 2)  # the stub writes no folder, so it exports again
    both = two(tmp_path / "a", [SMALLEST, LARGEST, SMALLEST], seeds=2, epochs=1)
    assert (len(set(started)), len(started), measured) == (4, 4, [1, 2])
    assert [len(one.trainings) for one in both.networks] == [2, 2]
    two(tmp_path / "a", [LARGEST], seeds=1, epochs=1)
    assert (len(started), measured) == (4, [1, 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "recipe.epochs = 1, now it is 3"),
        ({"recipe": "published", "epochs": 1}, 'recipe.name = "fast", now it is "published"'),
        ({"data": "other"}, "data.title = "),
        ({"input_size": 20}, "data.input_size = 16, now it is 20"),
        ({"metric": "balanced_error"}, 'objective.metric = "error", now it is "balanced_error"'),
        ({"held_out": False}, "data.held_out = true, now it is false"),
        ({"tested": False}, "data.test = 20, now it is null"),
    ],
)
def test_trainings_with_other_settings_are_not_mixed(
    two: Call, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    two(tmp_path / "a", seeds=1, epochs=1)
    before = (tmp_path / "a" / "trainings.jsonl").read_bytes()
    if changes.get("data") == "other":
        changes = {"data": write_tree(tmp_path / "other", train=20)}
    error = error_of(lambda: two(tmp_path / "a", **{"seeds": 1, "epochs": 1} | changes))
    assert error.startswith(f"{tmp_path / 'a' / 'trainings.jsonl'}: its trainings have {message}")
    assert error.endswith("; choose another output folder")
    assert (tmp_path / "a" / "trainings.jsonl").read_bytes() == before


def test_a_checkpoint_with_other_settings_is_rejected(
    two: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run, "score_model", kill)
        with pytest.raises(Killed):
            two(tmp_path / "a", epochs=1)
    file = tmp_path / "a" / "checkpoints" / f"{SMALLEST.fingerprint()}-0.pt"
    error = error_of(lambda: two(tmp_path / "a", epochs=2))
    assert error == f"{file}: belongs to a training with another recipe; delete it to start over"


@pytest.fixture
def opposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small network have the lower validation error, and the large one the lower test error."""

    def score(model: ThreshNet, split: Split, metric: str) -> Score:
        small, validation = model.spec == SMALLEST, len(split) == 12
        return Score(wrong=2 if small is validation else 6, images=len(split))

    monkeypatch.setattr(run, "score_model", score)


@pytest.mark.usefixtures("opposed")
def test_the_network_with_the_lowest_validation_error_is_exported(
    two: Call, exported: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    retrained = two(tmp_path / "a", epochs=1)
    assert retrained.choice is not None
    assert retrained.choice.network.network.spec == SMALLEST
    (small, large) = retrained.networks
    assert small.test
    assert large.test
    assert small.test.mean > large.test.mean
    assert "lowest mean validation error, 16.67 %; test errors are never used to choose" in retrained.export_text
    weights = load_weights(run.weights_file(tmp_path / "a", SMALLEST, 0)).state_dict()
    ((_, state),) = exported
    assert all(torch.equal(value, state[key]) for key, value in weights.items())


@pytest.mark.usefixtures("opposed")
def test_the_network_that_is_named_is_exported(two: Call, tmp_path: Path) -> None:
    retrained = two(tmp_path / "a", epochs=1, export=LARGEST)
    assert retrained.choice is not None
    assert retrained.choice.network.network.spec == LARGEST
    error = error_of(lambda: two(tmp_path / "a", epochs=1, export=NETWORK))
    names = ", ".join(f"network {one.fingerprint()}" for one in (SMALLEST, LARGEST))
    assert error == f"export = 'network {NETWORK.fingerprint()}': must be one of the networks, {names}"


def test_without_validation_images_nothing_is_chosen(
    two: Call, exported: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    retrained = two(tmp_path / "a", epochs=1, held_out=False)
    assert (retrained.choice, exported, retrained.trained_on) == (None, [], 60)
    assert retrained.export_text.endswith("name it with --export")
    assert {line["validation_error_percent"] for line in lines(tmp_path / "a")} == {None}
    assert "validation_error" not in retrained.to_dataframe()
    assert two(tmp_path / "a", epochs=1, held_out=False, export=LARGEST).choice is not None
    assert two(tmp_path / "a", [SMALLEST], epochs=1, held_out=False).choice is not None  # the only one


def test_without_a_test_the_test_images_are_not_read(
    two: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("studies.export.images.load_test", refuse)
    retrained = two(tmp_path / "a", epochs=1, seeds=1, tested=False)
    assert retrained.error_name == "validation error"
    assert len(retrained.figure().layout.annotations) == 2
    assert {line["test"] for line in lines(tmp_path / "a")} == {None}
    assert "test_error" not in retrained.to_dataframe()


def test_a_failed_training_is_reported_and_the_others_are_finished(
    two: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step_epoch = Training.step_epoch

    def diverge(self: Training[ThreshNet], *arguments: Any) -> object:  # noqa: ANN401 - those of the original
        if self.seed == 1 and isinstance(self.model, ThreshNet) and self.model.spec == SMALLEST:
            raise TrainingFailed("the loss was not finite in epoch 1")
        return step_epoch(self, *arguments)

    monkeypatch.setattr(Training, "step_epoch", diverge)
    retrained = two(tmp_path / "a", epochs=1)
    title = f"network {SMALLEST.fingerprint()}"
    assert retrained.failures == (f"{title}, seed 1: training failed: the loss was not finite in epoch 1",)
    assert sorted(len(one.trainings) for one in retrained.networks) == [1, 2]
    assert retrained.choice is not None
    assert retrained.choice.network.network.spec == LARGEST  # the other one has not all of its seeds
    named = two(tmp_path / "a", epochs=1, export=SMALLEST)
    assert (named.choice, "has finished all of its trainings" in named.export_text) == (None, True)
    with pytest.raises(TrainingFailed, match="seed 1: training failed"):
        two(tmp_path / "b", [SMALLEST], epochs=1, seeds=[1])


def test_networks_come_from_a_study_from_files_and_by_name(
    study: Study, exported: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(replace(SMALLEST, classes=10, head_dropout=0.5).to_json()))
    trained = study.network(0)
    networks: list[Network] = [trained, file, ResolvedNetwork("again", "A copy", trained.network, 99)]
    retrained = retrain(networks, tmp_path / "a", study=study, epochs=1, seeds=1, progress=False)
    assert {one.title for one in retrained.networks} == {"small, trial 0", "mine"}
    assert retrained.plan.input_size == SIZE
    (first, _) = lines(tmp_path / "a")
    digits = load_search(replace(study.spec.dataset, train=None), SIZE)
    assert first["settings"]["data"]["train"] == len(digits.train) > 40  # all images that are not held out
    assert first["settings"]["data"]["validation"] == 20
    assert "Trial 0 of the study small" in retrained.plan.networks[0].origin


@pytest.mark.parametrize(
    ("networks", "changes", "message"),
    [
        ([], {}, "networks = []: must be a list of one or more networks"),
        ([SMALLEST], {"data": None}, "the networks need data: a data set, the path of an ImageFolder tree, or a study"),
        ([SMALLEST], {"recipe": "slow"}, "no recipe is named 'slow'; the recipes are published, fast"),
        ([SMALLEST], {"seeds": 0}, "seeds = []: must be a list of one or more different whole numbers"),
        ([SMALLEST], {"held_out": False, "tested": False}, "networks that are trained on all images and not tested"),
        ([replace(SMALLEST, classes=10)], {}, "has 10 classes, folder has 2"),
        ([POOLING], {}, "input size 16 is too small"),
        ([SMALLEST], {"device": "gpu"}, "device 'gpu': must be cpu, cuda"),
        (["nonsense"], {}, "no network is named 'nonsense'"),
        (
            [ResolvedNetwork("mine", "A", one, size) for one, size in ((SMALLEST, 16), (LARGEST, 32))],
            {"input_size": None},
            "the networks are for images of 16, 32 pixels; choose --input",
        ),
        (
            [ResolvedNetwork("mine", "A", one, 16) for one in (SMALLEST, LARGEST)],
            {},
            "two different networks have the title 'mine'; rename one of their files",
        ),
    ],
)
def test_invalid_input_is_one_line_and_writes_nothing(
    two: Call, tmp_path: Path, networks: list[Any], changes: dict[str, Any], message: str
) -> None:
    tree = tmp_path / "images"
    values: dict[str, Any] = {"data": tree, "epochs": 1, "seeds": 1, "input_size": SIZE, "progress": False}
    values |= changes
    assert message in error_of(lambda: retrain(networks, tmp_path / "a", **values))
    assert not (tmp_path / "a").exists()


def test_a_folder_in_use_or_with_damaged_lines_is_reported(two: Call, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    with FileLock(folder / "retrain.lock"):
        assert error_of(lambda: two(folder)) == f"{folder}: another process is retraining networks in this folder"
    for content, message in (
        ("no JSON\n", f"{folder / 'trainings.jsonl'}: cannot be read ("),
        ("{}\n", f"{folder / 'trainings.jsonl'}, line 1: key 'validation' is missing"),
        ("[]\n", f"{folder / 'trainings.jsonl'}, line 1: must be a finished training"),
        ('{"validation": {"wrong": 1}}\n', f"{folder / 'trainings.jsonl'}, line 1: key 'images' is missing"),
    ):
        (folder / "trainings.jsonl").write_text(content)
        assert error_of(lambda: two(folder)).startswith(message)
    (folder / "trainings.jsonl").unlink()
    (folder / "file").write_text("")
    assert "cannot be written" in error_of(lambda: two(folder / "file"))


def test_the_latencies_of_an_earlier_pass_must_have_the_same_settings(
    two: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MeasurementError("the device is on fire")

    retrained = two(tmp_path / "a", epochs=1, seeds=1)
    monkeypatch.setattr(latencies, "measure_all", fail)
    again = two(tmp_path / "a", epochs=1, seeds=1)
    assert [one.latency for one in again.networks] == [one.latency for one in retrained.networks]
    assert "idle baseline" in retrained.notes[1]
    file = tmp_path / "a" / "latencies.json"
    other = json.loads(file.read_text().replace('"batch": 1', '"batch": 2'))
    file.write_text(json.dumps(other))
    with pytest.raises(MeasurementError, match="on fire"):
        two(tmp_path / "a", epochs=1, seeds=1)
    file.write_text("[]")
    assert error_of(lambda: two(tmp_path / "a", epochs=1, seeds=1)).endswith("delete it to measure again")


def test_no_chrome_leaves_out_the_figure_only(two: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NoChrome("no Chrome or Chromium found")

    monkeypatch.setattr(carry_out, "write_picture", fail)
    assert two(tmp_path / "a", epochs=1, seeds=1).choice is not None


def test_the_interval_of_a_mean_is_that_of_student() -> None:
    found = mean_error([Score(wrong, 100) for wrong in (10, 12, 17)])
    half = 4.302653 * 3.605551 / 3**0.5  # t of two degrees of freedom, times the standard error
    assert (found.mean, found.seeds) == (13, 3)
    assert found.low == pytest.approx(13 - half)
    assert found.high == pytest.approx(13 + half)
    one = mean_error([Score(10, 100)])
    assert (one.low, one.high) == Score(10, 100).interval
    assert mean_error([Score(0, 100), Score(2, 100)]).low == 0


def test_the_model_folder_has_the_errors_of_all_seeds(
    two: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Export for real, and only once."""
    monkeypatch.undo()
    monkeypatch.setattr(carry_out, "write_picture", lambda chart, width, file: None)
    monkeypatch.setattr(latencies, "measure_all", StubMeasurement([]).interleaved)
    two(tmp_path / "a", [LARGEST], epochs=1)
    model = tmp_path / "a" / "model"
    config = json.loads((model / "config.json").read_text())
    found = lines(tmp_path / "a")
    assert config["fingerprint"] == LARGEST.fingerprint()
    assert config["validation_error_percent"] == found[0]["validation_error_percent"]
    assert {seed: score["wrong"] for seed, score in config["test_errors_by_seed"].items()} == {
        "0": found[0]["test"]["wrong"],
        "1": found[1]["test"]["wrong"],
    }
    card = (model / "README.md").read_text()
    assert "Trained on the training split without the validation images, seed 0" in card
    assert "| latency in the pass over all retrained networks, cpu onnxruntime |" in card
    written = (model / "model.onnx").stat().st_mtime_ns
    two(tmp_path / "a", [LARGEST], epochs=1)
    assert (model / "model.onnx").stat().st_mtime_ns == written
    (tmp_path / "a" / "latencies.json").unlink()
    monkeypatch.setattr(latencies, "measure_all", StubMeasurement([], lambda spec: 7.0).interleaved)
    two(tmp_path / "a", [LARGEST], epochs=1)
    assert "cpu onnxruntime | 7.000 ms (" in (model / "README.md").read_text()
