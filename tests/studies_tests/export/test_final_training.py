"""Training one network: epoch by epoch, resumed to identical weights, and never with another's checkpoint."""

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

from search.data import DataSettings, as_settings, load_search
from search.training.recipes import FAST, recipe_named
from search.training.train import Training
from studies.export import final_training as training
from studies.export.card import ExportResult, ModelInfo, seeds_text
from studies.export.final_training import Assignment, train_network
from studies.export.folder import ExportedModel
from studies.export.images import ExportImages, export_images
from studies.network import named_network, read_network
from studies.screen import Screen
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
    """Train the network on the tree, with the given changes."""

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
        settings = as_settings(str(data))
        resolved = replace(read_network(str(network), 2), input_size=size)
        chosen = replace(recipe_named(recipe), epochs=epochs)
        assignment = Assignment(resolved, settings, chosen, range(seed, seed + seeds))
        exported_model = yield from train_network(assignment, output, screen)
        yield exported_model.text()

    return train


@pytest.fixture
def to_export(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Tensor], ModelInfo]]:
    """The weights and info to export; a stub replaces the slow export."""
    to_export: list[tuple[dict[str, Tensor], ModelInfo]] = []

    def export(
        model: ThreshNet,
        folder: Path,
        info: ModelInfo,
        images: ExportImages,
        done: Callable[[str], None],
        device: None,
    ) -> ExportedModel:
        assert images.test is not None
        assert images.calibration is not None
        to_export.append((model.state_dict(), info))
        return ExportedModel(info, ExportResult(Exported(folder, {}, 0.0)))

    monkeypatch.setattr(training, "export_model", export)
    return to_export


def error_of(lines: Iterator[str]) -> str:
    """Return the one-line error of a training."""
    with pytest.raises(InputError) as caught:
        list(lines)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "threshnet28"}, "network = 'threshnet28': must be of type ResolvedNetwork"),
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
def test_an_invalid_assignment_is_rejected(changes: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"network": named_network("threshnet28"), "data": DataSettings("digits"), "recipe": FAST}
    assert Assignment(**values, seeds=range(3)).seeds == (0, 1, 2)
    with pytest.raises(InputError) as caught:
        Assignment(**values | changes)
    assert str(caught.value) == message


def test_a_training_reports_its_epochs_and_test_error_and_exports_a_model(train: Train, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "model"
    *epochs, summary = train(output)
    assert [line.split("loss")[0].split() for line in epochs] == [["epoch", f"{n}", "of", "3"] for n in (1, 2, 3)]
    last, int8 = summary.splitlines()
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
def test_a_stopped_training_resumes_to_identical_weights(
    train: Train, to_export: list[tuple[dict[str, Tensor], ModelInfo]], tmp_path: Path, stop: int
) -> None:
    list(train(tmp_path / "uninterrupted"))
    stopped = train(tmp_path / "stopped")
    for _ in range(stop):
        next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert len(to_export) == 1
    resuming, *epochs, _ = train(tmp_path / "stopped")
    assert resuming == f"resuming after epoch {stop}"
    assert len(epochs) == EPOCHS - stop
    (uninterrupted, info), (resumed, same_info) = to_export
    assert all(torch.equal(value, resumed[key]) for key, value in uninterrupted.items())
    assert info == same_info
    assert not list(tmp_path.rglob("*.partial"))


def test_several_seeds_are_trained_and_the_first_is_exported(
    train: Train, to_export: list[tuple[dict[str, Tensor], ModelInfo]], tmp_path: Path
) -> None:
    list(train(tmp_path / "one", epochs=1))
    stopped = train(tmp_path / "three", epochs=1, seeds=3)
    lines = [next(stopped) for _ in range(3)]
    stopped.close()  # type: ignore[attr-defined]
    assert [line.split(",")[0].split(":")[0] for line in lines] == ["seed 0", "seed 0", "seed 1"]
    again = list(train(tmp_path / "three", epochs=1, seeds=3))
    assert [line for line in again if "resuming" in line] == [f"seed {n}, resuming after epoch 1" for n in (0, 1)]
    (alone, _), (first, info) = to_export
    assert all(torch.equal(value, first[key]) for key, value in alone.items())
    assert list(info.seeds) == [0, 1, 2]
    assert {score.images for score in info.seeds.values()} == {20}
    assert f"over seeds: {seeds_text(info.seeds)}" in again[-1]
    assert [file.name for file in (tmp_path / "three").iterdir()] == ["history.json"]


class Killed(BaseException):
    """Stands for a signal that kills the process."""


def test_a_training_killed_at_any_moment_trains_nothing_twice(
    train: Train,
    to_export: list[tuple[dict[str, Tensor], ModelInfo]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kill it before and after each step that follows the first epoch, and rerun it."""
    steps_left = [0]
    trained: list[int] = []

    def step() -> None:
        steps_left[0] -= 1
        if steps_left[0] == 0:
            raise Killed

    def count_steps(owner: object, name: str) -> None:
        original: Callable[..., object] = getattr(owner, name)

        def around(*arguments: object, **options: object) -> object:
            step()
            result = original(*arguments, **options)
            step()
            return result

        monkeypatch.setattr(owner, name, around)

    stub: Callable[..., ExportedModel] = vars(training)["export_model"]

    def export(model: ThreshNet, folder: Path, *others: object) -> ExportedModel:
        (folder / "model.safetensors").write_bytes(b"half of it")
        step()
        return stub(model, folder, *others)

    step_epoch = Training.step_epoch

    def counted(self: Training[ThreshNet], *arguments: object) -> object:
        trained.append(self.seed)
        return step_epoch(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "export_model", export)
    monkeypatch.setattr(Training, "step_epoch", counted)
    for owner, name in ((training, "export_model"), (training, "score_model"), (Path, "write_text"), (Path, "unlink")):
        count_steps(owner, name)
    for moment in count(1):
        output, steps_left[0] = tmp_path / str(moment), moment
        trained.clear()
        with contextlib.suppress(Killed):
            list(train(output, epochs=1, seeds=2))
        killed, steps_left[0] = steps_left[0] == 0, 0
        if killed:
            with contextlib.suppress(InputError):  # if all is written, it already contains the model
                list(train(output, epochs=1, seeds=2))
        assert trained == [0, 1]
        assert sorted(file.name for file in output.iterdir()) == ["history.json", "model.safetensors"]
        if not killed:
            assert moment > 12
            break


def test_the_history_of_a_deleted_model_is_removed(
    train: Train, to_export: list[tuple[dict[str, Tensor], ModelInfo]], tmp_path: Path
) -> None:
    (tmp_path / "history.json").write_text("of a model that was deleted")
    next(train(tmp_path))
    assert [file.name for file in tmp_path.glob("*.json") if file.name != "mine.json"] == []


def test_a_folder_that_contains_a_model_is_not_changed(train: Train, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    assert error_of(train(tmp_path)) == f"{tmp_path} already holds a model; choose another output folder"


def test_another_seed_gives_other_weights(
    train: Train, to_export: list[tuple[dict[str, Tensor], ModelInfo]], tmp_path: Path
) -> None:
    list(train(tmp_path / "one", epochs=1))
    list(train(tmp_path / "other", epochs=1, seed=1))
    assert not torch.equal(to_export[0][0]["head_linear.weight"], to_export[1][0]["head_linear.weight"])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"epochs": 9}, "recipe"),
        ({"recipe": "published"}, "recipe"),
        ({"seed": 1}, "seed"),
        ({"size": 20}, "input size"),
    ],
)
def test_a_checkpoint_with_other_settings_is_rejected(
    train: Train, tmp_path: Path, changes: dict[str, int | str], word: str
) -> None:
    next(train(tmp_path / "model"))
    error = error_of(train(tmp_path / "model", **changes))
    file = tmp_path / "model" / "checkpoint-0.pt"
    assert error == f"{file}: belongs to a training with another {word}; delete it to start over"


def test_a_checkpoint_of_another_network_is_rejected(train: Train, network: Path, tmp_path: Path) -> None:
    next(train(tmp_path / "model"))
    network.write_text(json.dumps(replace(TREE_NETWORK, head_dropout=0.5).to_json()))
    assert "belongs to a training with another network" in error_of(train(tmp_path / "model"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_reported(train: Train, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "model" / "checkpoint-0.pt"
    next(train(tmp_path / "model"))
    intact = file.read_bytes()
    file.write_bytes(intact[: len(intact) // 2] if content is None else content)
    error = error_of(train(tmp_path / "model"))
    assert error.startswith(f"{file}: damaged (")
    assert error.endswith("delete it to start over")


def test_a_network_with_other_classes_and_an_input_that_is_too_small_are_rejected(
    train: Train, network: Path, tmp_path: Path
) -> None:
    network.write_text(json.dumps(replace(TREE_NETWORK, classes=10).to_json()))
    assert "has 10 classes" in error_of(train(tmp_path / "model"))
    block = replace(TREE_NETWORK.blocks[0], pool=True)
    network.write_text(json.dumps(replace(TREE_NETWORK, blocks=(block,) * 4).to_json()))
    assert "input size 16 is too small" in error_of(train(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_an_output_that_cannot_be_written_is_reported(train: Train, network: Path) -> None:
    assert f"{network / 'model'}: cannot be written" in error_of(train(network / "model"))


def test_the_remarks_on_the_test_images_are_printed_once() -> None:
    images = load_search(DataSettings("digits", train=40, validation=20), 16)
    test = replace(images.validation, remarks=("1 test image is also among the training images",))
    found = export_images(images, test, "digits").test
    assert found is not None
    assert (found.remarks, len(found)) == ((), len(test))  # the training prints the remarks
