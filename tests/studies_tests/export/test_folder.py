"""Exports of a trial of a real small study, of named networks and of networks in files, and their cards."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from search_tests.tiny import SIZE, SMALLEST, steady_latency
from studies_tests.small import TREE_NETWORK, write_tree

from search.data import DataSettings, load_test
from search.latency.compare import Comparison, Pair
from search.latency.devices.device import Device
from search.latency.lease import shared
from search.latency.reading import Latency
from search.training.evaluate import error_percent
from search.training.recipes import FAST
from studies.export import folder as export_module
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

pytestmark = pytest.mark.xdist_group("exported")  # the worker that has made the folder

EMPTY = Exported(Path(), {}, 0.0)
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


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[ThreshNet]:
    """The networks to export; a fast stub writes only config.json and the card."""
    models: list[ThreshNet] = []

    def write(
        model: ThreshNet,
        size: int,
        folder: Path,
        config: Mapping[str, Any],
        calibration: object,
        done: object,
        lease: SharedLease,
    ) -> Exported:
        assert lease is shared
        models.append(model)
        folder.mkdir(parents=True)
        (folder / "model.pt2").write_bytes(b"")
        return Exported(folder, {}, 0.0)

    monkeypatch.setattr(export_module, "export_folder", write)
    monkeypatch.setattr(export_module, "score_onnx", lambda path, test, metric: Score(1, 20))
    return models


@pytest.fixture
def network(tmp_path: Path) -> str:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(TREE_NETWORK.to_json()))
    return str(file)


def error_of(call: Callable[[], object]) -> str:
    """Return the one-line error of a call."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def sized(network: str) -> ResolvedNetwork:
    """Read the network of a file, for small images."""
    return replace(read_network(network), input_size=SIZE)


def ignore(file: str) -> None:
    """Ignore that a file was written."""


def equal(one: ThreshNet, other: ThreshNet) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in one.state_dict().items())


def originally_named(model: ThreshNet) -> dict[str, torch.Tensor]:
    """Make a state_dict with the names of another repository."""
    return {f"module.base.{number}.x": value for number, value in enumerate(model.state_dict().values())}


# A trial


def test_a_trial_is_exported_as_a_folder_of_consistent_files(
    study: LoadedStudy, exported: tuple[Path, list[str]]
) -> None:
    folder, reported = exported
    assert sorted(file.name for file in folder.iterdir()) == sorted(reported) == FILES
    (record,) = study.records
    model = load_weights(folder / "model.safetensors")
    assert equal(model, load_weights(study.weights / str(record.weights)))
    test = load_test(study.spec.dataset, SIZE)
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


def test_the_final_training_of_a_trial_uses_every_training_image(study: LoadedStudy) -> None:
    fewer = replace(study, spec=replace(study.spec, data=replace(study.spec.dataset, train=20, validation=10)))
    assignment = trial_assignment(fewer, study.records[0].number, FAST, (0,), None)
    assert assignment.data == replace(study.spec.dataset, validation=10)
    assert assignment.network.spec == study.records[0].network


def test_the_config_records_the_origin_of_the_network(study: LoadedStudy, exported: tuple[Path, list[str]]) -> None:
    config = json.loads((exported[0] / "config.json").read_text())
    (record,) = study.records
    assert NetworkSpec.from_json(config["spec"]) == record.network
    assert config["fingerprint"] == record.fingerprint
    assert config["classes"] == ["bright", "dark"]
    assert config["input_size"] == SIZE
    assert config["validation_error_percent"] == record.error
    model = load_weights(exported[0] / "model.safetensors")
    assert config["test_error_percent"] == error_percent(model, load_test(study.spec.dataset, SIZE))
    (latency,) = config["latency"]
    assert latency["latency_ms"] == record.latency_ms
    assert latency["processor"]
    assert "rounds_ms" not in latency
    assert config["environment"]["versions"]["onnxruntime"] == onnxruntime.__version__


def test_the_card_reports_errors_latency_and_caveat(study: LoadedStudy, exported: tuple[Path, list[str]]) -> None:
    page = (exported[0] / "README.md").read_text()
    (record,) = study.records
    reading = record.latency["cpu onnxruntime"]
    config = json.loads((exported[0] / "config.json").read_text())
    for part in (
        "# small, trial 0",
        f"> {study.spec.caveat}.",
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
def test_a_missing_test_error_is_reported_with_the_reason(
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
    moved = replace(study, spec=replace(study.spec, data=replace(study.spec.dataset, path=tree)))
    exported_model = export_trial(moved, 0, tmp_path / "model", ignore)
    assert len(models) == 1
    assert exported_model.test_error is None
    page = (tmp_path / "model" / "README.md").read_text()
    (row,) = [row for row in page.splitlines() if row.startswith("| test error |")]
    assert row == "| test error | unknown |"
    assert str(tree) in exported_model.missing
    assert f"no test error: {exported_model.missing}" in exported_model.text()
    assert json.loads((tmp_path / "model" / "config.json").read_text())["test_error_percent"] is None


def test_missing_weights_of_a_trial_are_reported_in_one_line(study: LoadedStudy, tmp_path: Path) -> None:
    elsewhere = replace(study, weights=tmp_path / "weights")
    error = error_of(lambda: export_trial(elsewhere, 0, tmp_path / "model", ignore))
    assert error.startswith(f"the weights of trial 0 are not in {tmp_path / 'weights'}; ")
    assert not (tmp_path / "model").exists()


def test_damaged_weights_are_reported(study: LoadedStudy, tmp_path: Path) -> None:
    (tmp_path / str(study.records[0].weights)).write_bytes(b"damaged")
    error = error_of(lambda: export_trial(replace(study, weights=tmp_path), 0, tmp_path / "model", ignore))
    assert "damaged or not a safetensors file" in error


def test_an_unknown_or_untrained_trial_is_rejected(study: LoadedStudy, tmp_path: Path) -> None:
    failed = replace(study.records[0], number=1, state="failed", error=None, latency_ms=None)
    both = replace(study, records=[*study.records, failed])
    assert error_of(lambda: export_trial(both, 1, tmp_path / "m", ignore)).endswith("is failed; trained are 0")
    assert error_of(lambda: export_trial(both, 7, tmp_path / "m", ignore)).endswith("does not exist; trained are 0")


def test_a_folder_that_cannot_be_written_is_reported(study: LoadedStudy, network: str) -> None:
    blocked = Path(network) / "model"
    assert error_of(lambda: export_trial(study, 0, blocked, ignore)).startswith(f"{blocked}: cannot be written")


# A named network, or one in a file


def test_the_card_of_an_untrained_network_says_so(models: list[ThreshNet], tmp_path: Path) -> None:
    info = export_network(read_network("ThreshNet28", 10), None, tmp_path / "model", ignore).info
    page = (tmp_path / "model" / "README.md").read_text()
    assert "# ThreshNet28\n\nA reconstruction" in page
    assert "| weights | random: this network is untrained |" in page
    assert "| validation error | unknown |" in page
    assert "| test error | unknown |" in page
    assert info.trained_on == ""
    assert models[0].spec == NAMED["threshnet28"]


def test_a_named_network_loads_the_weights_of_the_original_repository(models: list[ThreshNet], tmp_path: Path) -> None:
    original = build(replace(NAMED["threshnet28"], classes=3))
    torch.save({"epoch": 7, "state_dict": originally_named(original)}, tmp_path / "original.pth")
    export_network(read_network("threshnet28", 3), tmp_path / "original.pth", tmp_path / "model", ignore)
    (model,) = models
    assert equal(model, original)
    assert "| weights | as in original.pth |" in (tmp_path / "model" / "README.md").read_text()


def test_a_network_in_a_file_loads_weights_of_both_formats(
    models: list[ThreshNet], network: str, tmp_path: Path
) -> None:
    original = build(TREE_NETWORK)
    torch.save(originally_named(original), tmp_path / "plain.pth")
    save_weights(original, tmp_path / "ours.safetensors")
    for number, file in enumerate(("plain.pth", "ours.safetensors")):
        export_network(sized(network), tmp_path / file, tmp_path / f"model{number}", ignore)
        assert equal(models[number], original)


def test_an_exported_network_can_be_exported_again(
    exported: tuple[Path, list[str]], study: LoadedStudy, models: list[ThreshNet], tmp_path: Path
) -> None:
    folder = exported[0]
    export_network(read_network(str(folder)), folder / "model.safetensors", tmp_path / "again", ignore)
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
def test_invalid_weights_are_reported(network: str, tmp_path: Path, content: object, message: str) -> None:
    file = tmp_path / "w.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    error = error_of(lambda: export_network(sized(network), file, tmp_path / "model", ignore))
    assert error.startswith(f"{file}: ")
    assert message in error


def test_missing_weights_and_those_of_another_network_are_reported(network: str, tmp_path: Path) -> None:
    resolved = sized(network)
    for file in (tmp_path / "gone.pth", tmp_path / "gone.safetensors"):
        with pytest.raises(InputError, match="no such weights file"):
            export_network(resolved, file, tmp_path / "m", ignore)
    save_weights(build(replace(SMALLEST, head_dropout=0.5)), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="contains the weights of another network"):
        export_network(resolved, tmp_path / "other.safetensors", tmp_path / "m", ignore)


def test_an_input_that_is_too_small_is_rejected(tmp_path: Path) -> None:
    error = error_of(
        lambda: export_network(replace(read_network("threshnet79"), input_size=8), None, tmp_path / "model", ignore)
    )
    assert error.startswith("input size 8 is too small: ")
    assert not (tmp_path / "model").exists()


def test_a_card_without_readings_has_no_latency_rows(tmp_path: Path) -> None:
    page = card(TREE_NETWORK, ModelInfo(title="Mine", origin="A test", input_size=SIZE), ExportResult(EMPTY))
    assert "| latency" not in page
    assert "| int8" not in page


def test_weights_are_scored_and_calibrated_on_the_given_images(
    models: list[ThreshNet], network: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(build(TREE_NETWORK), tmp_path / "w.safetensors")
    settings = DataSettings("folder", tree)
    exported_model = export_network(
        sized(network), tmp_path / "w.safetensors", tmp_path / "m", ignore, settings=settings
    )
    assert exported_model.info.classes == ("bright", "dark")
    assert exported_model.result.calibrated_on == "12 validation images of the folder tree, none of the test split"
    assert exported_model.result.scores["model.safetensors"].images == 20
    other = replace(sized(network), spec=replace(TREE_NETWORK, classes=3))
    save_weights(build(other.spec), tmp_path / "w.safetensors")
    error = error_of(
        lambda: export_network(other, tmp_path / "w.safetensors", tmp_path / "n", ignore, settings=settings)
    )
    assert error.endswith("has 3 classes, the folder tree has 2")


def test_the_card_reports_latency_in_the_study_and_measured_latency(tmp_path: Path) -> None:
    def comparison(ratio: float) -> Comparison:
        pair = Pair(0, 1, ratio, ratio - 0.01, ratio + 0.01)
        return Comparison((pair,), (1.0, 2.0), 10, "abacus", "onnxruntime", "1", ())

    study_latency = steady_latency(2.0, runtime="onnxruntime")
    info = ModelInfo(title="Mine", origin="A test", input_size=SIZE, latency=(study_latency,))
    readings = {"model.onnx": steady_latency(3.0), "model_int8.onnx": steady_latency(1.0)}
    rows = {}
    for ratio, word in ((0.5, "FASTER"), (1.5, "SLOWER")):
        result = ExportResult(EMPTY, speed=Speed(readings, comparison(ratio)))
        page = card(TREE_NETWORK, info, result)
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


def test_files_are_measured_on_the_chosen_device(
    models: list[ThreshNet], network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    def measure(device: Device, file: Path, size: int, runtime: str) -> Latency:
        calls.append((device.name, file.name, size, runtime))
        return steady_latency(4.0)

    monkeypatch.setattr("studies.export.latency.measure_on", measure)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.onnx").write_bytes(b"")
    monkeypatch.setattr(Path, "mkdir", lambda *arguments, **options: None)
    exported_model = export_network(sized(network), None, tmp_path / "m", ignore, device_for_files("cpu"))
    assert calls == [("cpu", "model.onnx", SIZE, "onnxruntime")]
    assert "model.onnx on cpu: 4.000 ms (4.000 to 4.000)" in exported_model.text()
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["measured"]["model.onnx"]["latency_ms"] == 4.0


# Scores


def test_mean_and_standard_deviation_over_seeds_are_reported() -> None:
    text = seeds_text({0: Score(10, 100), 1: Score(12, 100), 2: Score(14, 100)})
    assert text.startswith("mean 12.00 %, standard deviation 2.00, n = 3 (seed 0: 10.00, seed 1: 12.00, seed 2: 14.00)")
