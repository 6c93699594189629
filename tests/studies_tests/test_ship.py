"""Exporting: a trial of a true small study, named and described networks, and their cards."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from search_tests.tiny import SIZE, SMALLEST
from studies_tests.small import TREE_NETWORK, small_spec, write_tree

from search.data import load_test
from search.evaluate import error_percent
from studies import launch, load, ship
from studies.card import Story
from studies.networks import read_network
from studies.ship import export_network, export_trial
from studies.study import Loaded
from threshnet import NAMED, InputError, NetworkSpec
from threshnet.checkpoint import load_weights, save_weights
from threshnet.export import Exported
from threshnet.network import ThreshNet, build

CAVEAT = "Noise: bright and dark"
FILES = ["README.md", "config.json", "model.onnx", "model.pt2", "model.safetensors"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A study of one network, truly measured and truly trained."""
    folder = tmp_path_factory.mktemp("study")
    spec = small_spec(write_tree(folder / "tree"), trials=1, caveat=CAVEAT, runtimes=("onnxruntime",))
    launch(spec, f"journal:{folder / 'study.log'}", runs=folder / "runs")
    return load("small", f"journal:{folder / 'study.log'}", runs=folder / "runs")


@pytest.fixture(scope="module")
def exported(study: Loaded, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The exported trial, and what was heard of it."""
    folder, heard = tmp_path_factory.mktemp("model") / "new", []
    export_trial(study, 0, folder, heard.append)
    return folder, heard


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[ThreshNet]:
    """The networks that would be exported; only their config.json and card are written, which takes no time."""
    models: list[ThreshNet] = []

    def write(model: ThreshNet, size: int, folder: Path, config: Mapping[str, Any], done: object) -> Exported:
        models.append(model)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        return Exported(folder, {})

    monkeypatch.setattr(ship, "export_folder", write)
    return models


@pytest.fixture
def network(tmp_path: Path) -> str:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(TREE_NETWORK.to_json()))
    return str(file)


def refused(call: Callable[[], object]) -> str:
    """The one line with which an export is refused."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def quietly(file: str) -> None:
    """Hear of a file."""


def equal(one: ThreshNet, other: ThreshNet) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in one.state_dict().items())


def originally_named(model: ThreshNet) -> dict[str, torch.Tensor]:
    """A state_dict with names as another repository has them."""
    return {f"module.base.{number}.x": value for number, value in enumerate(model.state_dict().values())}


# A trial


def test_a_trial_becomes_a_folder_of_files_that_agree(study: Loaded, exported: tuple[Path, list[str]]) -> None:
    folder, heard = exported
    assert sorted(file.name for file in folder.iterdir()) == sorted(heard) == FILES
    (record,) = study.records
    model = load_weights(folder / "model.safetensors")
    assert equal(model, load_weights(study.weights / str(record.weights)))
    test = load_test(study.spec.data, SIZE)
    expected = model(test.images.float() / 255).detach()
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (onnx,) = session.run(["logits"], {"images": (test.images.float() / 255).numpy()})
    plain = torch.export.load(folder / "model.pt2").module()(test.images.float() / 255).detach()
    assert torch.allclose(torch.from_numpy(onnx), expected, atol=1e-4)
    assert torch.allclose(plain, expected, atol=1e-4)


def test_the_config_says_where_the_network_comes_from(study: Loaded, exported: tuple[Path, list[str]]) -> None:
    config = json.loads((exported[0] / "config.json").read_text())
    (record,) = study.records
    assert NetworkSpec.from_json(config["spec"]) == record.network
    assert config["fingerprint"] == record.fingerprint
    assert config["classes"] == ["bright", "dark"]
    assert config["input_size"] == SIZE
    assert config["validation_error_percent"] == record.error
    model = load_weights(exported[0] / "model.safetensors")
    assert config["test_error_percent"] == error_percent(model, load_test(study.spec.data, SIZE))
    (latency,) = config["latency"]
    assert latency["latency_ms"] == record.latency_ms
    assert latency["processor"]
    assert "rounds_ms" not in latency
    assert config["environment"]["versions"]["onnxruntime"] == onnxruntime.__version__


def test_the_card_tells_errors_latency_and_caveat(study: Loaded, exported: tuple[Path, list[str]]) -> None:
    page = (exported[0] / "README.md").read_text()
    (record,) = study.records
    reading = record.latency["cpu onnxruntime"]
    config = json.loads((exported[0] / "config.json").read_text())
    for part in (
        "# small, trial 0",
        f"> {CAVEAT}.",
        f"| validation error | {record.error:.2f} % (one training, one seed) |",
        f"| test error | {config['test_error_percent']:.2f} % (scored at export) |",
        f"| latency, cpu onnxruntime | {reading.latency_ms:.3f} ms (",
        f" ms ({reading.low_ms:.3f} to {reading.high_ms:.3f}, 95 % interval), ",
        f"n = {reading.runs} runs, batch 1, 1 thread(s), fp32, {reading.processor}",
        f"onnxruntime {onnxruntime.__version__}",
        "logits (n, 2): bright, dark",
        f"{record.costs['params']:,}",
        "recipe fast with batch",
        str(record.fingerprint),
    ):
        assert part in page


@pytest.mark.parametrize("missing", ["test folder", "all images", "one image"])
def test_without_test_images_the_card_says_why(
    study: Loaded, models: list[ThreshNet], tmp_path: Path, missing: str
) -> None:
    tree = write_tree(tmp_path / "tree", train=2, test=2)
    match missing:
        case "test folder":
            (tree / "test").rename(tree / "tests")
        case "all images":
            tree.rename(tmp_path / "moved")
        case "one image":
            (tree / "test" / "dark" / "000.png").write_bytes(b"damaged")
    moved = replace(study, spec=replace(study.spec, data=replace(study.spec.data, path=tree)))
    story = export_trial(moved, 0, tmp_path / "model", quietly).story
    assert len(models) == 1
    assert story.test_error is None
    page = (tmp_path / "model" / "README.md").read_text()
    (row,) = [row for row in page.splitlines() if row.startswith("| test error |")]
    assert row == "| test error | not known |"
    assert str(tree) in story.no_test
    assert json.loads((tmp_path / "model" / "config.json").read_text())["test_error_percent"] is None


def test_weights_that_are_gone_are_one_clear_line(study: Loaded, tmp_path: Path) -> None:
    elsewhere = replace(study, weights=tmp_path / "weights")
    said = refused(lambda: export_trial(elsewhere, 0, tmp_path / "model", quietly))
    assert said.startswith(f"the weights of trial 0 are not in {tmp_path / 'weights'}; ")
    assert not (tmp_path / "model").exists()


def test_damaged_weights_are_named(study: Loaded, tmp_path: Path) -> None:
    (tmp_path / str(study.records[0].weights)).write_bytes(b"damaged")
    said = refused(lambda: export_trial(replace(study, weights=tmp_path), 0, tmp_path / "model", quietly))
    assert "damaged or not a safetensors file" in said


def test_a_trial_that_is_not_there_or_not_trained_is_refused(study: Loaded, tmp_path: Path) -> None:
    failed = replace(study.records[0], number=1, state="failed", error=None, latency_ms=None)
    both = replace(study, records=[*study.records, failed])
    assert refused(lambda: export_trial(both, 1, tmp_path / "m", quietly)).endswith("is failed; trained are 0")
    assert refused(lambda: export_trial(both, 7, tmp_path / "m", quietly)).endswith("does not exist; trained are 0")


def test_a_folder_that_cannot_be_written_is_named(study: Loaded, network: str) -> None:
    blocked = Path(network) / "model"
    assert refused(lambda: export_trial(study, 0, blocked, quietly)).startswith(f"{blocked}: cannot be written")


# A named network, or one in a file


def test_an_untrained_network_says_so(models: list[ThreshNet], tmp_path: Path) -> None:
    story = export_network(read_network("ThreshNet28", 10), None, 32, tmp_path / "model", quietly).story
    page = (tmp_path / "model" / "README.md").read_text()
    assert "# ThreshNet28\n\nA reconstruction" in page
    assert "| weights | random: this network is untrained |" in page
    assert "| validation error | not known |" in page
    assert "| test error | not known |" in page
    assert story.trained_on == ""
    assert models[0].spec == NAMED["threshnet28"]


def test_a_named_network_takes_the_weights_of_an_original_repository(models: list[ThreshNet], tmp_path: Path) -> None:
    original = build(replace(NAMED["threshnet28"], classes=3))
    torch.save({"epoch": 7, "state_dict": originally_named(original)}, tmp_path / "original.pth")
    export_network(read_network("threshnet28", 3), tmp_path / "original.pth", 32, tmp_path / "model", quietly)
    (model,) = models
    assert equal(model, original)
    assert "| weights | as in original.pth |" in (tmp_path / "model" / "README.md").read_text()


def test_a_network_in_a_file_takes_weights_of_both_kinds(models: list[ThreshNet], network: str, tmp_path: Path) -> None:
    original = build(TREE_NETWORK)
    torch.save(originally_named(original), tmp_path / "plain.pth")
    save_weights(original, tmp_path / "ours.safetensors")
    for number, file in enumerate(("plain.pth", "ours.safetensors")):
        export_network(read_network(network), tmp_path / file, SIZE, tmp_path / f"model{number}", quietly)
        assert equal(models[number], original)


def test_an_exported_config_is_a_network_too(
    exported: tuple[Path, list[str]], study: Loaded, models: list[ThreshNet], tmp_path: Path
) -> None:
    folder = exported[0]
    export_network(
        read_network(str(folder / "config.json")), folder / "model.safetensors", SIZE, tmp_path / "again", quietly
    )
    assert models[0].spec == study.records[0].network


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or not a state_dict"),
        (b"damaged", "damaged or not a state_dict"),
        ([1, 2], "holds no state_dict"),
        ({"a": 1}, "holds no state_dict"),
        ({"state_dict": 3}, "holds no state_dict"),
        ({"a": torch.zeros(1)}, "state_dict has 1 entries, this network has"),
    ],
)
def test_weights_that_are_none_are_named(network: str, tmp_path: Path, content: object, message: str) -> None:
    file = tmp_path / "w.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    said = refused(lambda: export_network(read_network(network), file, SIZE, tmp_path / "model", quietly))
    assert said.startswith(f"{file}: ")
    assert message in said


def test_missing_weights_and_those_of_another_network_are_named(network: str, tmp_path: Path) -> None:
    given = read_network(network)
    for file in (tmp_path / "gone.pth", tmp_path / "gone.safetensors"):
        with pytest.raises(InputError, match="no such weights file"):
            export_network(given, file, SIZE, tmp_path / "m", quietly)
    save_weights(build(replace(SMALLEST, head_dropout=0.5)), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="holds the weights of another network"):
        export_network(given, tmp_path / "other.safetensors", SIZE, tmp_path / "m", quietly)


def test_an_input_too_small_is_refused(tmp_path: Path) -> None:
    said = refused(lambda: export_network(read_network("threshnet79"), None, 8, tmp_path / "model", quietly))
    assert said.startswith("input size 8 is too small: ")
    assert not (tmp_path / "model").exists()


def test_a_story_without_readings_makes_a_card() -> None:
    assert "latency," not in ship.card(TREE_NETWORK, Story(title="Mine", origin="A test", input_size=SIZE))
