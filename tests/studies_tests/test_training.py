"""Training one network: an epoch at a time, stopped and resumed without a trace, and never mixed up with another."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from search_tests.tiny import SIZE
from studies_tests.small import TREE_NETWORK
from torch import Tensor

from studies import training
from studies.card import Story
from studies.progress import Screen
from studies.training import train_network
from threshnet import InputError
from threshnet.checkpoint import load_weights
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
        output: Path, *, data: Path = tree, recipe: str = "fast", epochs: int = EPOCHS, seed: int = 0, size: int = SIZE
    ) -> Iterator[str]:
        screen = Screen(Console(file=io.StringIO()), "test")
        return train_network(str(network), str(data), recipe, epochs, seed, size, output, screen)

    return train


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Tensor], Story]]:
    """What would be exported, instead of the export, which takes most of the time."""
    shipped: list[tuple[dict[str, Tensor], Story]] = []

    def ship(model: ThreshNet, folder: Path, story: Story, done: Callable[[str], None]) -> None:
        shipped.append((model.state_dict(), story))

    monkeypatch.setattr(training, "export_model", ship)
    return shipped


def refused(lines: Iterator[str]) -> str:
    """The one line with which a training is refused."""
    with pytest.raises(InputError) as caught:
        list(lines)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_training_tells_its_epochs_and_test_error_and_leaves_a_model(train: Train, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "model"
    *epochs, last = train(output)
    assert [line.split("loss")[0].split() for line in epochs] == [["epoch", f"{n}", "of", "3"] for n in (1, 2, 3)]
    assert last.startswith("mine: test error ")
    assert last.endswith(f" % after 3 epochs of 60 images; files in {output}")
    files = [
        "README.md",
        "config.json",
        "history.json",
        "model.onnx",
        "model.pt2",
        "model.safetensors",
    ]
    assert sorted(file.name for file in output.iterdir()) == files
    config = json.loads((output / "config.json").read_text())
    assert f"test error {config['test_error_percent']:.2f} %" in last
    assert config["classes"] == ["bright", "dark"]
    assert config["recipe"]["epochs"] == EPOCHS
    assert config["trained_on"] == "60 images of folder"
    assert config["validation_error_percent"] is None
    assert load_weights(output / "model.safetensors").spec == TREE_NETWORK
    assert [epoch["number"] for epoch in json.loads((output / "history.json").read_text())] == [1, 2, 3]
    assert "| validation error | not known |" in (output / "README.md").read_text()


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_training_goes_on_to_identical_weights(
    train: Train, shipped: list[tuple[dict[str, Tensor], Story]], tmp_path: Path, stop: int
) -> None:
    list(train(tmp_path / "whole"))
    stopped = train(tmp_path / "stopped")
    for _ in range(stop):
        next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    assert len(shipped) == 1
    going_on, *epochs, _ = train(tmp_path / "stopped")
    assert going_on == f"going on after epoch {stop}"
    assert len(epochs) == EPOCHS - stop
    (whole, story), (resumed, same_story) = shipped
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    assert story == same_story
    assert story.test_error is not None
    assert not list(tmp_path.rglob("*.partial"))


def test_another_seed_gives_other_weights(
    train: Train, shipped: list[tuple[dict[str, Tensor], Story]], tmp_path: Path
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
    file = tmp_path / "model" / "checkpoint.pt"
    assert said == f"{file}: belongs to a training with another {word}; delete it to start anew"


def test_a_checkpoint_of_another_network_is_refused(train: Train, network: Path, tmp_path: Path) -> None:
    next(train(tmp_path / "model"))
    network.write_text(json.dumps(replace(TREE_NETWORK, head_dropout=0.5).to_json()))
    assert "belongs to a training with another network" in refused(train(tmp_path / "model"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_named(train: Train, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "model" / "checkpoint.pt"
    next(train(tmp_path / "model"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    said = refused(train(tmp_path / "model"))
    assert said.startswith(f"{file}: damaged (")
    assert said.endswith("delete it to start anew")


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
