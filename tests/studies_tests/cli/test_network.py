"""The commands on single networks, given by name, as a file, as a trial of a study or as a model of a library."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from search_tests.onnx_conv import conv_file
from search_tests.tiny import steady_latency
from studies_tests.sample import INPUT_SIZE, sample_loaded, store

from search.latency.reading import Latency
from studies.cli import cli
from studies.fronts.front import front_of
from studies.network import read_network
from studies.study import LoadedStudy, load_study
from threshnet import NAMED, NetworkSpec
from threshnet.baselines import LibraryModel
from threshnet.costs import count
from threshnet.drawing import schedule_svg
from threshnet.errors import InputError

STORAGE = "journal:studies.log"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a storage and an ONNX file."""
    monkeypatch.chdir(tmp_path)
    store(sample_loaded(discovered=4, named=("threshnet28",)), "mine", STORAGE)
    conv_file(Path("conv.onnx"), size=INPUT_SIZE)
    return tmp_path


@pytest.fixture
def study() -> LoadedStudy:
    return load_study("mine", STORAGE)


def run(*arguments: str) -> Result:
    """Run a command on the storage of the study."""
    return CliRunner().invoke(cli, [*arguments, "--storage", STORAGE])


def output_of(*arguments: str) -> str:
    """Run a command that succeeds; returns its standard output."""
    result = run(*arguments)
    assert (result.exit_code, result.exception) == (0, None)
    return result.stdout


def network_of(study: LoadedStudy, number: int) -> NetworkSpec:
    network = study.records[number].network
    assert network is not None
    return network


def test_the_drawing_of_a_network_in_a_file_is_written(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "drawn.svg"
    spec = tmp_path / "mine.json"
    spec.write_text(json.dumps({"title": "Mine", "input_size": 64, "spec": NAMED["threshnet28"].to_json()}))
    output_of("draw", str(spec), "-o", str(file))
    assert file.read_text(encoding="utf-8") == schedule_svg(NAMED["threshnet28"], 64, "Mine")


def test_the_drawing_of_a_trial_is_written(study: LoadedStudy) -> None:
    output_of("draw", "mine:knee", "-o", "knee.svg")
    knee = front_of(study).picked.number
    expected = schedule_svg(network_of(study, knee), INPUT_SIZE, f"mine, trial {knee}")
    assert Path("knee.svg").read_text(encoding="utf-8") == expected


def test_costs_of_a_trial_are_counted_at_the_size_of_its_study(study: LoadedStudy) -> None:
    trial, named = json.loads(output_of("costs", "mine:2", "threshnet28", "--json"))
    assert (trial["network"], trial["params"]) == ("mine, trial 2", study.records[2].costs["params"])
    assert trial["macs"] == study.records[2].costs["macs"]
    assert named["macs"] == count(NAMED["threshnet28"], INPUT_SIZE).macs
    (larger,) = json.loads(output_of("costs", "mine:2", "--input", "64", "--json"))
    assert larger["macs"] == count(network_of(study, 2), 64).macs


def test_costs_of_a_file_are_counted_at_its_input_size(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"title": "Mine", "input_size": 64, "spec": NAMED["threshnet28"].to_json()}))
    (found,) = json.loads(output_of("costs", str(file), "--json"))
    assert found["macs"] == count(NAMED["threshnet28"], 64).macs


@pytest.mark.xdist_group("timed")
def test_a_trial_and_an_onnx_file_are_compared() -> None:
    found = json.loads(output_of("compare", "mine:knee", "conv.onnx", "--json"))
    (pair,) = found["pairs"]
    assert (pair["a"], pair["b"]) == (read_network("mine:knee", storage=STORAGE).title, "conv.onnx")
    assert pair["verdict"] == "SLOWER"  # than one convolution
    assert found["conditions"]["input_size"] == INPUT_SIZE
    assert found["conditions"]["runtime"] == "onnxruntime"


def test_a_library_model_is_measured_untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """`measures_a_library_model` in the contract of devices measures one."""
    given: list[object] = []

    def stub(device: object, network: object, input_size: int, runtime: str, *_: object, **__: object) -> Latency:
        given.append((network, input_size))
        return steady_latency(2.5)

    monkeypatch.setattr("search.latency.measure.measure_on", stub)
    found = json.loads(output_of("measure", "timm/resnet18", "--input", "48", "--json"))
    assert (found["network"], found["latency_ms"]) == ("timm/resnet18", 2.5)
    assert given == [(LibraryModel("timm", "resnet18", 10), 48)]


class StopError(Exception):
    """Raised by a stub in place of the work."""


def test_a_trial_is_trained_again_on_the_images_of_its_study(
    study: LoadedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def stub(assignment: object, *_: object) -> None:
        given.append(assignment)
        raise StopError

    monkeypatch.setattr("studies.cli.export._trained", stub)
    for options in ([], ["--input", "48", "--seed", "3", "--data", "digits", "--metric", "balanced_error"]):
        assert isinstance(run("train", "mine:2", "-o", "model", *options).exception, StopError)
    plain, changed = given
    assert plain.network.spec == network_of(study, 2)
    assert (plain.network.input_size, changed.network.input_size) == (INPUT_SIZE, 48)
    assert plain.data == study.spec.dataset
    assert (list(plain.seeds), list(changed.seeds)) == ([0], [3])
    assert (plain.metric, changed.metric) == ("error", "balanced_error")


def test_a_network_in_a_file_is_trained_at_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def stub(assignment: Any, *_: object) -> None:  # noqa: ANN401 - an Assignment
        sizes.append(assignment.network.input_size)
        raise StopError

    monkeypatch.setattr("studies.cli.export._trained", stub)
    Path("own.json").write_text(json.dumps({"input_size": 48, "spec": NAMED["threshnet28"].to_json()}))
    for words in (["own.json"], ["own.json", "--input", "40"], ["threshnet28"]):
        assert isinstance(run("train", *words, "--data", "digits", "-o", "model").exception, StopError)
    assert sizes == [48, 40, 32]


@pytest.mark.parametrize("words", [["mine:2"], ["mine", "--trial", "2"], ["mine:knee"], ["mine", "--knee"]])
def test_a_trial_is_exported_by_its_name_or_by_an_option(
    words: list[str], study: LoadedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: list[int] = []

    def stub(loaded: LoadedStudy, number: int, *_: object) -> None:
        numbers.append(number)
        raise StopError

    monkeypatch.setattr("studies.export.folder.export_trial", stub)
    assert isinstance(run("export", *words, "-o", "model").exception, StopError)
    assert numbers == [2 if "2" in words[0] + words[-1] else front_of(study).picked.number]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("draw threshnet28 -o drawn.pdf", "--output drawn.pdf: must end in .svg"),
        ("draw threshnet30 -o drawn.svg", "no network is named 'threshnet30'"),
        ("draw threshnet28 -o drawn.svg --input 3", "input size 3 is too small"),
        ("draw threshnet28 -o conv.onnx/drawn.svg", "cannot be written"),
        ("draw conv.onnx -o drawn.svg", "must be a ThreshNet"),
        ("draw mine:best -o drawn.svg", "network 'mine:best': neither a file nor a trial"),
        ("costs mine:9", "study 'mine' has no trial 9; its trials are 0 to 4"),
        ("costs torchvision/resnet18", "must be a ThreshNet"),
        ("measure yours:1", "no study is named 'yours'"),
        ("measure gone:1.onnx", "gone:1.onnx: no such file"),
        ("measure timm/hf-hub:timm/resnet18", "must be torchvision/NAME or timm/NAME"),
        ("measure torchvision/resnet19", "torchvision has no such classification model; similar names: resnet1"),
        ("measure torchvision/alexnet", "'torchvision/alexnet' cannot process images of 32x32 pixels"),
        ("measure conv.onnx --input 64", "conv.onnx: takes images of 32 pixels only, not --input 64"),
        ("measure conv.onnx --batch 2", "conv.onnx: has the fixed batch size 1, not --batch 2"),
        ("measure conv.onnx --runtime torch", "runtime 'torch': cannot load conv.onnx; choose --runtime onnxruntime"),
        ("compare mine:1", "name at least two networks"),
        ("compare mine:1 mine:9", "has no trial 9"),
        ("train threshnet28 -o model", "network 'threshnet28' needs --data: digits"),
        ("train mine:9 -o model", "has no trial 9"),
        ("train mine:1 --data gone -o model", "gone"),
        ("export mine:9 -o model", "trial 9 of study 'mine' does not exist"),
        ("export mine:1 --knee -o model", "no study is named 'mine:1'"),
    ],
)
def test_bad_arguments_raise_an_input_error(command: str, message: str, folder: Path) -> None:
    before = sorted(folder.iterdir())
    result = run(*command.split())
    assert isinstance(result.exception, InputError | click.ClickException)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert sorted(folder.iterdir()) == before
