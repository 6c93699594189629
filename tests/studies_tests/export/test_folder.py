"""Exporting: a trial of a true small study, named and described networks, and their cards."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from search_tests.tiny import SIZE, SMALLEST, steady_latency
from studies_tests.small import TREE_NETWORK, small_spec, write_tree

from search.data import DataSettings, load_test
from search.latency.compare import Comparison, Pair
from search.latency.devices.device import Device
from search.latency.lease import shared
from search.latency.reading import Latency
from search.training.evaluate import error_percent
from search.training.recipes import FAST
from studies import launch, load
from studies.export import folder as ship
from studies.export.card import ExportResult, ModelInfo, card, seeds_text
from studies.export.final_training import trial_assignment
from studies.export.folder import export_network, export_trial
from studies.export.latency import Speed, device_for_files
from studies.export.score import Score
from studies.network import read_network
from studies.study import LoadedStudy
from threshnet import NAMED, InputError, NetworkSpec
from threshnet.checkpoint import load_weights, save_weights
from threshnet.export.folder import Exported
from threshnet.network import ThreshNet, build
from threshnet.shared_lease import SharedLease
from threshnet.spec_file import ResolvedNetwork

NOTHING = Exported(Path(), {}, 0.0)
CAVEAT = "Noise: bright and dark"
FILES = [
    "README.md",
    "config.json",
    "model.onnx",
    "model.pt2",
    "model.py",
    "model.safetensors",
    "model_int8.onnx",
    "predict.py",
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> LoadedStudy:
    """A study of one network, truly measured and truly trained."""
    folder = tmp_path_factory.mktemp("study")
    spec = small_spec(write_tree(folder / "tree"), trials=1, caveat=CAVEAT, runtimes=("onnxruntime",))
    launch(spec, f"journal:{folder / 'study.log'}", runs=folder / "runs")
    return load("small", f"journal:{folder / 'study.log'}", runs=folder / "runs")


@pytest.fixture(scope="module")
def exported(study: LoadedStudy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The exported trial, and what was heard of it."""
    folder = tmp_path_factory.mktemp("model") / "new"
    heard: list[str] = []
    export_trial(study, 0, folder, heard.append)
    return folder, heard


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[ThreshNet]:
    """The networks that would be exported; only their config.json and card are written, which takes no time."""
    models: list[ThreshNet] = []

    def write(
        model: ThreshNet,
        size: int,
        folder: Path,
        config: Mapping[str, Any],
        calibration: object,
        done: object,
        turn: SharedLease,
    ) -> Exported:
        assert turn is shared
        models.append(model)
        folder.mkdir(parents=True)
        (folder / "model.pt2").write_bytes(b"")
        return Exported(folder, {}, 0.0)

    monkeypatch.setattr(ship, "export_folder", write)
    monkeypatch.setattr(ship, "score_onnx", lambda path, test: Score(1, 20))
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


def sized(network: str) -> ResolvedNetwork:
    """The network of a file, for small images."""
    return replace(read_network(network), input_size=SIZE)


def quietly(file: str) -> None:
    """Hear of a file."""


def equal(one: ThreshNet, other: ThreshNet) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in one.state_dict().items())


def originally_named(model: ThreshNet) -> dict[str, torch.Tensor]:
    """A state_dict with names as another repository has them."""
    return {f"module.base.{number}.x": value for number, value in enumerate(model.state_dict().values())}


# A trial


def test_a_trial_becomes_a_folder_of_files_that_agree(study: LoadedStudy, exported: tuple[Path, list[str]]) -> None:
    folder, heard = exported
    assert sorted(file.name for file in folder.iterdir()) == sorted(heard) == FILES
    (record,) = study.records
    model = load_weights(folder / "model.safetensors")
    assert equal(model, load_weights(study.weights / str(record.weights)))
    test = load_test(study.spec.data, SIZE)
    expected = model(test.images.float() / 255).detach()
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (onnx,) = session.run(["logits"], {"images": (test.images.float() / 255).numpy()})
    score = onnxruntime.InferenceSession(folder / "model_int8.onnx", providers=["CPUExecutionProvider"])
    (int8,) = score.run(["logits"], {"images": (test.images.float() / 255).numpy()})
    wrong = int((int8.argmax(axis=1) != test.labels.numpy()).sum())
    config = json.loads((folder / "config.json").read_text())
    assert config["test_errors"]["model_int8.onnx"]["wrong"] == wrong
    assert config["int8_test_error_percent"] == 100 * wrong / len(test)
    assert config["int8_calibrated_on"] == "12 validation images of the folder tree, none of the test split"
    plain = torch.export.load(folder / "model.pt2").module()(test.images.float() / 255).detach()
    assert torch.allclose(torch.from_numpy(onnx), expected, atol=1e-4)
    assert torch.allclose(plain, expected, atol=1e-4)


def test_a_trial_is_trained_in_full_on_every_training_image(study: LoadedStudy) -> None:
    fewer = replace(study, spec=replace(study.spec, data=replace(study.spec.data, train=20, validation=10)))
    asked = trial_assignment(fewer, study.records[0].number, FAST, (0,), None)
    assert asked.data == replace(study.spec.data, validation=10)
    assert asked.given.spec == study.records[0].network


def test_the_config_says_where_the_network_comes_from(study: LoadedStudy, exported: tuple[Path, list[str]]) -> None:
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


def test_the_card_tells_errors_latency_and_caveat(study: LoadedStudy, exported: tuple[Path, list[str]]) -> None:
    page = (exported[0] / "README.md").read_text()
    (record,) = study.records
    reading = record.latency["cpu onnxruntime"]
    config = json.loads((exported[0] / "config.json").read_text())
    for part in (
        "# small, trial 0",
        f"> {CAVEAT}.",
        f"| validation error | {record.error:.2f} % (one training, one seed) |",
        *(
            f"| test error, {file} | {config['test_error_percent']:.2f} % ("
            for file in ("model.safetensors", "model.onnx")
        ),
        f"| test error, model_int8.onnx | {config['int8_test_error_percent']:.2f} % (",
        " of 20 images, 95 % interval ",
        f"| latency in the study, cpu onnxruntime | {reading.latency_ms:.3f} ms (",
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
    study: LoadedStudy, models: list[ThreshNet], tmp_path: Path, missing: str
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
    shipped = export_trial(moved, 0, tmp_path / "model", quietly)
    assert len(models) == 1
    assert shipped.test_error is None
    page = (tmp_path / "model" / "README.md").read_text()
    (row,) = [row for row in page.splitlines() if row.startswith("| test error |")]
    assert row == "| test error | unknown |"
    assert str(tree) in shipped.missing
    assert f"no test error: {shipped.missing}" in shipped.text()
    assert json.loads((tmp_path / "model" / "config.json").read_text())["test_error_percent"] is None


def test_weights_that_are_gone_are_one_clear_line(study: LoadedStudy, tmp_path: Path) -> None:
    elsewhere = replace(study, weights=tmp_path / "weights")
    said = refused(lambda: export_trial(elsewhere, 0, tmp_path / "model", quietly))
    assert said.startswith(f"the weights of trial 0 are not in {tmp_path / 'weights'}; ")
    assert not (tmp_path / "model").exists()


def test_damaged_weights_are_named(study: LoadedStudy, tmp_path: Path) -> None:
    (tmp_path / str(study.records[0].weights)).write_bytes(b"damaged")
    said = refused(lambda: export_trial(replace(study, weights=tmp_path), 0, tmp_path / "model", quietly))
    assert "damaged or not a safetensors file" in said


def test_a_trial_that_is_not_there_or_not_trained_is_refused(study: LoadedStudy, tmp_path: Path) -> None:
    failed = replace(study.records[0], number=1, state="failed", error=None, latency_ms=None)
    both = replace(study, records=[*study.records, failed])
    assert refused(lambda: export_trial(both, 1, tmp_path / "m", quietly)).endswith("is failed; trained are 0")
    assert refused(lambda: export_trial(both, 7, tmp_path / "m", quietly)).endswith("does not exist; trained are 0")


def test_a_folder_that_cannot_be_written_is_named(study: LoadedStudy, network: str) -> None:
    blocked = Path(network) / "model"
    assert refused(lambda: export_trial(study, 0, blocked, quietly)).startswith(f"{blocked}: cannot be written")


# A named network, or one in a file


def test_an_untrained_network_says_so(models: list[ThreshNet], tmp_path: Path) -> None:
    story = export_network(read_network("ThreshNet28", 10), None, tmp_path / "model", quietly).info
    page = (tmp_path / "model" / "README.md").read_text()
    assert "# ThreshNet28\n\nA reconstruction" in page
    assert "| weights | random: this network is untrained |" in page
    assert "| validation error | unknown |" in page
    assert "| test error | unknown |" in page
    assert story.trained_on == ""
    assert models[0].spec == NAMED["threshnet28"]


def test_a_named_network_takes_the_weights_of_an_original_repository(models: list[ThreshNet], tmp_path: Path) -> None:
    original = build(replace(NAMED["threshnet28"], classes=3))
    torch.save({"epoch": 7, "state_dict": originally_named(original)}, tmp_path / "original.pth")
    export_network(read_network("threshnet28", 3), tmp_path / "original.pth", tmp_path / "model", quietly)
    (model,) = models
    assert equal(model, original)
    assert "| weights | as in original.pth |" in (tmp_path / "model" / "README.md").read_text()


def test_a_network_in_a_file_takes_weights_of_both_kinds(models: list[ThreshNet], network: str, tmp_path: Path) -> None:
    original = build(TREE_NETWORK)
    torch.save(originally_named(original), tmp_path / "plain.pth")
    save_weights(original, tmp_path / "ours.safetensors")
    for number, file in enumerate(("plain.pth", "ours.safetensors")):
        export_network(sized(network), tmp_path / file, tmp_path / f"model{number}", quietly)
        assert equal(models[number], original)


def test_an_exported_config_is_a_network_too(
    exported: tuple[Path, list[str]], study: LoadedStudy, models: list[ThreshNet], tmp_path: Path
) -> None:
    folder = exported[0]
    export_network(read_network(str(folder)), folder / "model.safetensors", tmp_path / "again", quietly)
    assert models[0].spec == study.records[0].network


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or not a state_dict"),
        (b"damaged", "damaged or not a state_dict"),
        ([1, 2], "not a state_dict"),
        ({"a": 1}, "not a state_dict"),
        ({"state_dict": 3}, "not a state_dict"),
        ({"a": torch.zeros(1)}, "state_dict has 1 entries, this network has"),
    ],
)
def test_weights_that_are_none_are_named(network: str, tmp_path: Path, content: object, message: str) -> None:
    file = tmp_path / "w.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    said = refused(lambda: export_network(sized(network), file, tmp_path / "model", quietly))
    assert said.startswith(f"{file}: ")
    assert message in said


def test_missing_weights_and_those_of_another_network_are_named(network: str, tmp_path: Path) -> None:
    given = sized(network)
    for file in (tmp_path / "gone.pth", tmp_path / "gone.safetensors"):
        with pytest.raises(InputError, match="no such weights file"):
            export_network(given, file, tmp_path / "m", quietly)
    save_weights(build(replace(SMALLEST, head_dropout=0.5)), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="contains the weights of another network"):
        export_network(given, tmp_path / "other.safetensors", tmp_path / "m", quietly)


def test_an_input_too_small_is_refused(tmp_path: Path) -> None:
    said = refused(
        lambda: export_network(replace(read_network("threshnet79"), input_size=8), None, tmp_path / "model", quietly)
    )
    assert said.startswith("input size 8 is too small: ")
    assert not (tmp_path / "model").exists()


def test_a_story_without_readings_makes_a_card(tmp_path: Path) -> None:
    page = card(TREE_NETWORK, ModelInfo(title="Mine", origin="A test", input_size=SIZE), ExportResult(NOTHING))
    assert "| latency" not in page
    assert "| int8" not in page


def test_weights_are_scored_and_calibrated_on_images_that_are_named(
    models: list[ThreshNet], network: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(build(TREE_NETWORK), tmp_path / "w.safetensors")
    settings = DataSettings("folder", tree)
    shipped = export_network(sized(network), tmp_path / "w.safetensors", tmp_path / "m", quietly, settings=settings)
    assert shipped.info.classes == ("bright", "dark")
    assert shipped.result.calibrated_on == "12 validation images of the folder tree, none of the test split"
    assert shipped.result.scores["model.safetensors"].images == 20
    other = replace(sized(network), spec=replace(TREE_NETWORK, classes=3))
    save_weights(build(other.spec), tmp_path / "w.safetensors")
    said = refused(
        lambda: export_network(other, tmp_path / "w.safetensors", tmp_path / "n", quietly, settings=settings)
    )
    assert said.endswith("has 3 classes, " + str(tree) + " has 2")


def test_the_card_tells_promised_and_measured_latency(tmp_path: Path) -> None:
    def comparison(ratio: float) -> Comparison:
        pair = Pair(0, 1, ratio, ratio - 0.01, ratio + 0.01)
        return Comparison((pair,), (1.0, 2.0), 6, "abacus", "onnxruntime", "1", ())

    study_latency = steady_latency(2.0, runtime="onnxruntime")
    story = ModelInfo(title="Mine", origin="A test", input_size=SIZE, latency=(study_latency,))
    readings = {"model.onnx": steady_latency(3.0), "model_int8.onnx": steady_latency(1.0)}
    rows = {}
    for ratio, word in ((0.5, "FASTER"), (1.5, "SLOWER")):
        found = ExportResult(NOTHING, speed=Speed(readings, comparison(ratio)))
        page = card(TREE_NETWORK, story, found)
        assert f"| int8 against fp32 | {word}: {ratio:.2f} times the latency of fp32 (" in page
        rows = dict(line.strip("| ").split(" | ", 1) for line in page.splitlines() if line.startswith("| latency"))
    assert list(rows) == [
        "latency in the study, cpu onnxruntime",
        "latency measured, model.onnx, cpu onnxruntime",
        "latency measured, model_int8.onnx, cpu onnxruntime",
    ]
    reading = "2.000 ms (2.000 to 2.000, 95 % interval), n = 96 runs"
    assert rows["latency in the study, cpu onnxruntime"].startswith(reading)
    assert rows["latency measured, model.onnx, cpu onnxruntime"].endswith("; 1.50 times the latency in the study")
    assert ", int8, abacus" in rows["latency measured, model_int8.onnx, cpu onnxruntime"]


def test_files_are_measured_where_the_user_says(
    models: list[ThreshNet], network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def measure(device: Device, file: Path, size: int, runtime: str) -> Latency:
        asked.append((device.name, file.name, size, runtime))
        return steady_latency(4.0)

    monkeypatch.setattr("studies.export.latency.measure_on", measure)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.onnx").write_bytes(b"")
    monkeypatch.setattr(Path, "mkdir", lambda *arguments, **options: None)
    shipped = export_network(sized(network), None, tmp_path / "m", quietly, device_for_files("cpu"))
    assert asked == [("cpu", "model.onnx", SIZE, "onnxruntime")]
    assert "model.onnx on cpu: 4.000 ms (4.000 to 4.000)" in shipped.text()
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["measured"]["model.onnx"]["latency_ms"] == 4.0


# Scores


def test_mean_and_spread_over_seeds_are_told() -> None:
    told = seeds_text({0: Score(10, 100), 1: Score(12, 100), 2: Score(14, 100)})
    assert told.startswith("mean 12.00 %, standard deviation 2.00, n = 3 (seed 0: 10.00, seed 1: 12.00, seed 2: 14.00)")
