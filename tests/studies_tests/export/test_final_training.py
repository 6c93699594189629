"""Training one network: an epoch at a time, stopped and resumed without a trace, and never mixed up with another."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from search_tests.tiny import SIZE
from studies_tests.small import TREE_NETWORK
from torch import Tensor

from search.data import DataSettings
from search.training.recipes import FAST, recipe_named
from search.training.train import Training
from studies.cli.progress import Screen
from studies.export import final_training as training
from studies.export.card import ExportResult, ModelInfo, seeds_text
from studies.export.final_training import Assignment, data_settings, train_network
from studies.export.folder import ExportedModel
from studies.export.images import ExportImages
from studies.network import named_network, read_network
from threshnet import InputError
from threshnet.checkpoint import load_weights
from threshnet.export.folder import Exported
from threshnet.network import ThreshNet

Train = Callable[..., Iterator[str]]
EPOCHS = 3


@pytest.fixture
def network(tmp_path: Path) -> Path:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(TREE_NETWORK.to_json()))
    return file


@pytest.fixture
def train(network: Path, tree: Path, tmp_path: Path) -> Train:
    """Train the network on the tree, a few things otherwise."""

    def train(
        output: Path,
        *,
        data: Path = tree,
        recipe: str = "fast",
        epochs: int = EPOCHS,
        seed: int = 0,
        seeds: int = 1,
        size: int = SIZE,
    ) -> Iterator[str]:
        screen = Screen(Console(file=io.StringIO()), "test")
        settings = data_settings(str(data))
        given = replace(read_network(str(network), 2), input_size=size)
        chosen = replace(recipe_named(recipe), epochs=epochs)
        asked = Assignment(given, settings, chosen, range(seed, seed + seeds))
        shipped = yield from train_network(asked, output, screen)
        yield shipped.text()

    return train


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Tensor], ModelInfo]]:
    """What would be exported, instead of the export, which takes most of the time."""
    shipped: list[tuple[dict[str, Tensor], ModelInfo]] = []

    def ship(
        model: ThreshNet,
        folder: Path,
        story: ModelInfo,
        evidence: ExportImages,
        done: Callable[[str], None],
        device: None,
    ) -> ExportedModel:
        assert evidence.test is not None
        assert evidence.calibration is not None
        shipped.append((model.state_dict(), story))
        return ExportedModel(story, ExportResult(Exported(folder, {}, 0.0)))

    monkeypatch.setattr(training, "export_model", ship)
    return shipped


def refused(lines: Iterator[str]) -> str:
    """The one line with which a training is refused."""
    with pytest.raises(InputError) as caught:
        list(lines)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"given": "threshnet28"}, "given = 'threshnet28': must be of type ResolvedNetwork"),
        ({"data": "digits"}, "data = 'digits': must be of type DataSettings"),
        ({"recipe": "fast"}, "recipe = 'fast': must be of type Recipe"),
        ({"recipe": replace(FAST, name="mine")}, "recipe = 'mine': must be one of published, fast"),
        ({"seeds": ()}, "seeds = []: must be a list of one or more different whole numbers"),
        ({"seeds": (1, 1)}, "seeds = [1, 1]: must be a list of one or more different whole numbers"),
        ({"seeds": (0, -1)}, "seeds[1] = -1: must be a whole number from 0 to 4,294,967,295"),
        ({"seeds": 3}, "seeds = 3: must be a list"),
        ({"flip": "yes"}, "flip = 'yes': must be true or false"),
        ({"caveat": None}, "caveat = None: must be text"),
    ],
)
def test_a_wrong_assignment_is_refused(changes: dict[str, Any], said: str) -> None:
    values: dict[str, Any] = {"given": named_network("threshnet28"), "data": DataSettings("digits"), "recipe": FAST}
    assert Assignment(**values, seeds=range(3)).seeds == (0, 1, 2)
    with pytest.raises(InputError) as caught:
        Assignment(**values | changes)
    assert str(caught.value) == said


def test_a_training_tells_its_epochs_and_test_error_and_leaves_a_model(train: Train, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "model"
    *epochs, told = train(output)
    assert [line.split("loss")[0].split() for line in epochs] == [["epoch", f"{n}", "of", "3"] for n in (1, 2, 3)]
    last, int8 = told.splitlines()
    assert last.startswith("mine: test error ")
    assert int8.startswith("int8: test error ")
    files = [
        "README.md",
        "config.json",
        "history.json",
        "model.onnx",
        "model.pt2",
        "model.py",
        "model.safetensors",
        "model_int8.onnx",
        "predict.py",
    ]
    assert sorted(file.name for file in output.iterdir()) == files
    config = json.loads((output / "config.json").read_text())
    assert f"test error {config['test_error_percent']:.2f} %" in last
    assert config["classes"] == ["bright", "dark"]
    assert config["recipe"]["epochs"] == EPOCHS
    assert config["trained_on"] == "60 images of the folder tree"
    assert config["validation_error_percent"] is None
    assert load_weights(output / "model.safetensors").spec == TREE_NETWORK
    assert [epoch["number"] for epoch in json.loads((output / "history.json").read_text())] == [1, 2, 3]
    assert "| validation error | unknown |" in (output / "README.md").read_text()


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_training_goes_on_to_identical_weights(
    train: Train, shipped: list[tuple[dict[str, Tensor], ModelInfo]], tmp_path: Path, stop: int
) -> None:
    list(train(tmp_path / "whole"))
    stopped = train(tmp_path / "stopped")
    for _ in range(stop):
        next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert len(shipped) == 1
    going_on, *epochs, _ = train(tmp_path / "stopped")
    assert going_on == f"resuming after epoch {stop}"
    assert len(epochs) == EPOCHS - stop
    (whole, story), (resumed, same_story) = shipped
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    assert story == same_story
    assert not list(tmp_path.rglob("*.partial"))


def test_several_seeds_are_trained_and_the_first_is_exported(
    train: Train, shipped: list[tuple[dict[str, Tensor], ModelInfo]], tmp_path: Path
) -> None:
    list(train(tmp_path / "one", epochs=1))
    stopped = train(tmp_path / "three", epochs=1, seeds=3)
    lines = [next(stopped) for _ in range(3)]
    stopped.close()  # type: ignore[attr-defined]
    assert [line.split(",")[0].split(":")[0] for line in lines] == ["seed 0", "seed 0", "seed 1"]
    again = list(train(tmp_path / "three", epochs=1, seeds=3))
    assert [line for line in again if "resuming" in line] == [f"seed {n}, resuming after epoch 1" for n in (0, 1)]
    (alone, _), (first, story) = shipped
    assert all(torch.equal(value, first[key]) for key, value in alone.items())
    assert list(story.seeds) == [0, 1, 2]
    assert {score.images for score in story.seeds.values()} == {20}
    assert f"over seeds: {seeds_text(story.seeds)}" in again[-1]
    assert [file.name for file in (tmp_path / "three").iterdir()] == ["history.json"]


class Killed(BaseException):
    """What ends a process that nobody can answer."""


def test_killed_at_any_moment_it_trains_nothing_twice(
    train: Train,
    shipped: list[tuple[dict[str, Tensor], ModelInfo]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ended before and after each step that follows the first epoch, and started again."""
    left = [0]
    trained: list[int] = []

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    def steps(owner: object, name: str) -> None:
        original: Callable[..., object] = getattr(owner, name)

        def around(*arguments: object, **options: object) -> object:
            step()
            result = original(*arguments, **options)
            step()
            return result

        monkeypatch.setattr(owner, name, around)

    stand_in: Callable[..., ExportedModel] = vars(training)["export_model"]

    def export(model: ThreshNet, folder: Path, *others: object) -> ExportedModel:
        (folder / "model.safetensors").write_bytes(b"half of it")
        step()
        return stand_in(model, folder, *others)

    epoch = Training.step_epoch

    def counted(self: Training[ThreshNet], *arguments: object) -> object:
        trained.append(self.seed)
        return epoch(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "export_model", export)
    monkeypatch.setattr(Training, "step_epoch", counted)
    for owner, name in ((training, "export_model"), (training, "score_model"), (Path, "write_text"), (Path, "unlink")):
        steps(owner, name)
    for moment in count(1):
        output, left[0] = tmp_path / str(moment), moment
        trained.clear()
        with contextlib.suppress(Killed):
            list(train(output, epochs=1, seeds=2))
        killed, left[0] = left[0] == 0, 0
        if killed:
            with contextlib.suppress(InputError):  # where all was written, it already holds the model
                list(train(output, epochs=1, seeds=2))
        assert trained == [0, 1]
        assert sorted(file.name for file in output.iterdir()) == ["history.json", "model.safetensors"]
        if not killed:
            assert moment > 12
            break


def test_a_history_that_was_left_behind_is_of_no_other_model(
    train: Train, shipped: list[tuple[dict[str, Tensor], ModelInfo]], tmp_path: Path
) -> None:
    (tmp_path / "history.json").write_text("of a model that was deleted")
    next(train(tmp_path))
    assert [file.name for file in tmp_path.glob("*.json") if file.name != "mine.json"] == []


def test_a_folder_that_holds_a_model_is_left_alone(train: Train, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    assert refused(train(tmp_path)) == f"{tmp_path} already holds a model; choose another output folder"


def test_another_seed_gives_other_weights(
    train: Train, shipped: list[tuple[dict[str, Tensor], ModelInfo]], tmp_path: Path
) -> None:
    list(train(tmp_path / "one", epochs=1))
    list(train(tmp_path / "other", epochs=1, seed=1))
    assert not torch.equal(shipped[0][0]["head_linear.weight"], shipped[1][0]["head_linear.weight"])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"epochs": 9}, "recipe"),
        ({"recipe": "published"}, "recipe"),
        ({"seed": 1}, "seed"),
        ({"size": 20}, "input size"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    train: Train, tmp_path: Path, changes: dict[str, int | str], word: str
) -> None:
    next(train(tmp_path / "model"))
    said = refused(train(tmp_path / "model", **changes))
    file = tmp_path / "model" / "checkpoint-0.pt"
    assert said == f"{file}: belongs to a training with another {word}; delete it to start over"


def test_a_checkpoint_of_another_network_is_refused(train: Train, network: Path, tmp_path: Path) -> None:
    next(train(tmp_path / "model"))
    network.write_text(json.dumps(replace(TREE_NETWORK, head_dropout=0.5).to_json()))
    assert "belongs to a training with another network" in refused(train(tmp_path / "model"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_named(train: Train, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "model" / "checkpoint-0.pt"
    next(train(tmp_path / "model"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    said = refused(train(tmp_path / "model"))
    assert said.startswith(f"{file}: damaged (")
    assert said.endswith("delete it to start over")


def test_a_network_of_other_classes_and_an_input_too_small_are_refused(
    train: Train, network: Path, tmp_path: Path
) -> None:
    network.write_text(json.dumps(replace(TREE_NETWORK, classes=10).to_json()))
    assert "has 10 classes" in refused(train(tmp_path / "model"))
    block = replace(TREE_NETWORK.blocks[0], pool=True)
    network.write_text(json.dumps(replace(TREE_NETWORK, blocks=(block,) * 4).to_json()))
    assert "input size 16 is too small" in refused(train(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_an_output_that_cannot_be_made_is_named(train: Train, network: Path) -> None:
    assert f"{network / 'model'}: cannot be written" in refused(train(network / "model"))
