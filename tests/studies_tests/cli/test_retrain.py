"""`threshnet retrain`: its selections, its table, its export, an interrupt, and bad input in one line."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from search_tests.tiny import SMALLEST, StubMeasurement
from studies_tests.cli.test_cli import Run, error_of, run
from studies_tests.small import small_spec

from search.latency.protocol import MeasurementError
from search.training.train import Training, TrainingFailed
from studies.library import load
from studies.screen import Screen
from studies.study import launch_study

__all__ = ["error_of", "run"]

STORAGE = ["--storage", "journal:study.log"]
ONCE = ["--epochs", "1", "--seeds", "1", "-o", "out"]


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the exported networks; stubs replace the export, the figure and the device."""
    titles: list[str] = []
    monkeypatch.setattr(
        "studies.retraining.exporting.export_model", lambda model, folder, info, *others: titles.append(info.title)
    )
    monkeypatch.setattr("studies.retraining.carry_out.write_picture", lambda chart, width, file: None)
    monkeypatch.setattr("studies.retraining.latencies.measure_all", StubMeasurement([]).interleaved)
    return titles


@pytest.fixture
def files(log: list[str], run: Run, exports: list[str]) -> None:
    """A study of three networks on the digits and a network in a file, in the working directory."""
    launch_study(small_spec(), "journal:study.log", runs=Path("runs"))
    Path("mine.json").write_text(json.dumps(replace(SMALLEST, classes=10, head_dropout=0.5).to_json()))


def titles() -> list[str]:
    """The titles of the networks that were trained, in order."""
    return [json.loads(line)["title"] for line in Path("out/trainings.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("files")
def test_the_front_of_a_study_is_retrained_and_tabled(run: Run, exports: list[str]) -> None:
    front = [network.title for network in load("small", "journal:study.log").front()]
    output = run("retrain", "small", "--front", "--epochs", "2", "--seeds", "2", "-o", "out", *STORAGE)
    assert (output.status, output.err) == (0, "")
    assert titles() == [f"small, {title}" for title in front] * 2
    first, *rest = output.out.splitlines()
    assert first == f"0 of {2 * len(front)} trainings so far; Ctrl-C stops"
    assert sum(re.match(r"small, trial \d, seed \d, epoch   [12] of 2  loss ", line) is not None for line in rest) == (
        4 * len(front)
    )
    for part in ("Retrained networks", "validation error %", "test error %", "params M", "idle baseline", "seeds 0, 1"):
        assert part in output.out
    *_, choice, following = output.out.splitlines()
    assert re.fullmatch(
        r"exported (.*), seed 0: lowest mean validation error, .* %; test errors are never used to choose", choice
    )
    assert exports == [choice.removeprefix("exported ").partition(", seed")[0]]
    assert following == "Next: threshnet check out/model"


@pytest.mark.usefixtures("files")
def test_trials_names_and_files_are_retrained_together(run: Run) -> None:
    selections = ["--trials", "2, 0", "--config", "mine.json"]
    output = run("retrain", "small", *selections, *ONCE, *STORAGE)
    assert (output.status, output.err) == (0, "")
    assert titles() == ["small, trial 2", "small, trial 0", "mine"]


@pytest.mark.usefixtures("exports")
def test_named_networks_and_files_need_no_study(run: Run) -> None:
    Path("mine.json").write_text(json.dumps(replace(SMALLEST, classes=10).to_json()))
    Path("wide.json").write_text(json.dumps(replace(SMALLEST, classes=10, head_dropout=0.5).to_json()))
    words = ["--config", "mine.json", "--config", "wide.json", "--input", "16", "--data", "digits", "--no-test"]
    output = run("retrain", *words, "--export", "wide.json", *ONCE)
    assert (output.status, output.err) == (0, "")
    assert "exported wide, seed 0: as named" in output.out
    assert "test error %" not in output.out


@pytest.mark.usefixtures("exports")
def test_a_published_network_gets_the_classes_of_the_data(
    run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, *_: object) -> None:
        raise TrainingFailed("it is too large for a test")

    monkeypatch.setattr(Training, "step_epoch", fail)
    output = run("retrain", "--named", "threshnet28,ThreshNet28", "--data", tree, *ONCE)
    assert (output.status, output.err) == (
        1,
        "error: ThreshNet28, seed 0: training failed: it is too large for a test\n",
    )


@pytest.mark.usefixtures("files")
def test_the_results_are_printed_as_json(run: Run) -> None:
    output = run("retrain", "small", "--trials", "0", *ONCE, *STORAGE, "--json")
    (network,) = (printed := json.loads(output.out))["networks"]
    assert (network["network"], network["seeds"]) == ("small, trial 0", [0])
    assert network["test_error_percent"]["low"] <= network["test_error_percent"]["mean"]
    assert printed["exported"] == network["fingerprint"]
    assert "small, trial 0, seed 0, epoch   1 of 1" in output.err


@pytest.mark.usefixtures("files")
def test_an_interrupt_prints_how_to_resume(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Screen.training

    def interrupt(self: Screen, text: str, done: int, total: int) -> None:
        if "trial 2, seed 0, epoch 2" in text and done > total // 2:
            self.stopping = True
        training(self, text, done, total)

    words = ["retrain", "small", "--trials", "0,2", "--epochs", "2", "--seeds", "1", "-o", "out", *STORAGE]
    with monkeypatch.context() as patch:
        patch.setattr(Screen, "training", interrupt)
        output = run(*words)
    assert output.status == 130
    assert output.err == "stopped; finished epochs are kept in out; rerun the command to resume\n"
    resumed = run(*words)
    assert (resumed.status, resumed.err) == (0, "")
    assert "1 of 2 trainings so far; Ctrl-C stops" in resumed.out
    assert "small, trial 2, seed 0, resuming after epoch 1" in resumed.out
    assert titles() == ["small, trial 0", "small, trial 2"]


@pytest.mark.usefixtures("files")
def test_failed_trainings_and_measurements_are_failures(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    step_epoch, number = Training.step_epoch, 0

    def fail(self: Training[object], *arguments: object) -> object:  # type: ignore[type-var]
        nonlocal number
        number += 1
        if number == 1:
            raise TrainingFailed("the loss was not finite in epoch 1")
        return step_epoch(self, *arguments)  # type: ignore[arg-type, type-var]

    def unmeasured(*_: object) -> None:
        raise MeasurementError("the probe died")

    words = ["retrain", "small", "--trials", "0,2", *ONCE, *STORAGE]
    with monkeypatch.context() as patch:
        patch.setattr(Training, "step_epoch", fail)
        output = run(*words)
    assert (output.status, output.err) == (1, "error: 1 of 2 trainings failed; see above\n")
    assert "small, trial 0, seed 0: training failed: the loss was not finite in epoch 1" in output.out
    monkeypatch.setattr("studies.retraining.latencies.measure_all", unmeasured)
    output = run(*words)
    assert (output.status, output.err) == (
        1,
        "error: the probe died; the trainings are kept; rerun the command to resume\n",
    )
    assert titles() == ["small, trial 2", "small, trial 0"]


@pytest.mark.usefixtures("files")
def test_other_settings_are_refused_in_one_line(run: Run, error_of: Callable[..., str]) -> None:
    assert run("retrain", "small", "--trials", "0", *ONCE, *STORAGE).status == 0
    words = ["--epochs", "2", "--seeds", "1", "-o", "out", *STORAGE]
    assert error_of("retrain", "small", "--trials", "0", *words) == (
        "out/trainings.jsonl: its trainings have recipe.epochs = 1, now it is 2; choose another output folder"
    )


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "name what to retrain: --front or --trials with a STUDY, --named NAMES or --config FILE"),
        ("small", "name what to retrain: --front or --trials with a STUDY, --named NAMES or --config FILE"),
        ("--front", "--front and --trials need a STUDY"),
        ("--trials 3 --data digits", "--front and --trials need a STUDY"),
        ("--named threshnet28", "--named and --config need --data unless a study defines the images"),
        ("smal --front", "no study is named 'smal'"),
        ("small --trials 1,x", "'1,x': must be numbers of trials, e.g. 3,7"),
        ("small --trials 1,,2", "'1,,2': must be a list separated by commas"),
        ("small --trials 17", "trial 17 of study 'small' does not exist; trained are 0, 1, 2"),
        ("small --named threshnet29", "no network is named 'threshnet29'"),
        ("small --config gone.json", "gone.json: no such file"),
        ("small --front --recipe slow", "no recipe is named 'slow'; the recipes are published, fast"),
        ("small --trials 0 --data gone", "data = 'gone': must be a folder or one of"),
        ("small --trials 0 --device gpu", "device 'gpu': must be cpu, cuda"),
        ("small --trials 0 --export mine.json", "export = 'mine': must be one of the networks, small, trial 0"),
        ("small --trials 0 --all-images --no-test", "networks that are trained on all images and not tested"),
    ],
)
def test_bad_input_is_one_line_and_trains_nothing(error_of: Callable[..., str], words: str, message: str) -> None:
    assert message in error_of("retrain", *words.split(), "-o", "out", *STORAGE)
    assert not Path("out").exists()


def test_the_next_command_verifies_the_model(log: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.retraining.carry_out.write_picture", lambda chart, width, file: None)
    monkeypatch.setattr("studies.retraining.latencies.measure_all", StubMeasurement([]).interleaved)
    launch_study(small_spec(), "journal:study.log", runs=Path("runs"))
    output = run("retrain", "small", "--trials", "0", *ONCE, *STORAGE)
    assert output.out.endswith("Next: threshnet check out/model\n")
    assert run("check", "out/model").status == 0
