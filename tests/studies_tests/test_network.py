"""NETWORK on the command line: names, files, trials of studies, ONNX files and models of libraries."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from search_tests.onnx_conv import conv_file
from search_tests.tiny import NETWORK
from studies_tests.sample import INPUT_SIZE, sample_loaded, store

from studies.fronts.front import front_of
from studies.network import (
    MeasurableNetwork,
    TrialName,
    measurable_network,
    measured_size,
    read_network,
    trial_name,
    trial_network,
)
from studies.study import LoadedStudy, load_study
from threshnet import NAMED, InputError
from threshnet.baselines import LibraryModel
from threshnet.inspect_onnx import image_input


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """A storage with the finished study `mine`, and a trial of it that waits for a network."""
    url = f"journal:{tmp_path / 'studies.log'}"
    loaded = sample_loaded(discovered=4, named=("threshnet28",))
    loaded.study.enqueue_trial({})
    store(loaded, "mine", url)
    return url


@pytest.fixture
def study(storage: str) -> LoadedStudy:
    return load_study("mine", storage)


def error_of(call: Callable[[], object]) -> str:
    """Return the one-line error of a call."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Trials of studies


def test_a_trial_is_a_network_of_its_study(study: LoadedStudy, storage: str) -> None:
    found = read_network("mine:2", classes=3, storage=storage)
    assert found.spec == study.records[2].network
    assert (found.title, found.input_size) == ("mine, trial 2", INPUT_SIZE)
    assert found.origin == "The network of mine, trial 2"


def test_the_knee_is_that_of_the_front(study: LoadedStudy, storage: str) -> None:
    knee = front_of(study).picked
    assert knee.number != 0
    found = read_network("mine:knee", storage=storage)
    assert (found.spec, found.title) == (knee.network, f"mine, trial {knee.number}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yours:1", "no study is named 'yours' in 'journal:"),
        ("yours:knee", "no study is named 'yours' in 'journal:"),
        ("mine:9", "study 'mine' has no trial 9; its trials are 0 to 5"),
        ("mine:5", "trial 5 of study 'mine' has no network yet: it is waiting"),
        ("mine:best", "network 'mine:best': neither a file nor a trial; after the colon must be"),
        ("mine:", "network 'mine:': neither a file nor a trial"),
        ("mine:-1", "network 'mine:-1': neither a file nor a trial"),
        ("mine:1.json", "mine:1.json: no such file"),
        ("mine", "no network is named 'mine'"),
    ],
)
def test_a_missing_trial_is_one_line(storage: str, text: str, message: str) -> None:
    assert error_of(lambda: read_network(text, storage=storage)).startswith(message)


def test_a_trial_of_an_empty_study_is_one_line(tmp_path: Path) -> None:
    url = f"journal:{tmp_path / 'empty.log'}"
    store(sample_loaded(discovered=0, named=()), "new", url)
    assert error_of(lambda: read_network("new:0", storage=url)) == "study 'new' has no trial 0; it has none yet"
    assert "no trained network yet" in error_of(lambda: read_network("new:knee", storage=url))
    missing = f"journal:{tmp_path / 'gone.log'}"
    assert "there is no file" in error_of(lambda: trial_network(TrialName("new", 0), missing))


def test_a_file_whose_name_has_a_colon_is_a_file(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine:2", "mine:2.json"):
        Path(name).write_text(json.dumps(NETWORK.to_json()))
        assert trial_name(name) is None
        assert read_network(name, storage=storage).spec == NETWORK


# Networks that can only be measured


def test_a_trial_of_a_library_model_can_only_be_measured(study: LoadedStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LibraryModel("torchvision", "resnet18", 10)
    trials = [replace(record, network=None, model=model) for record in study.records]
    monkeypatch.setattr("studies.study.load_study", lambda *_: replace(study, records=trials))
    assert measurable_network("mine:1") == MeasurableNetwork("mine, trial 1", model, INPUT_SIZE)
    error = error_of(lambda: read_network("mine:1"))
    assert error == "mine, trial 1 is torchvision/resnet18: must be a ThreshNet, not a model of torchvision or timm"


def test_names_keep_no_size_and_other_networks_do(study: LoadedStudy, storage: str) -> None:
    named = replace(NAMED["hardnet68"], classes=10)
    assert measurable_network("HarDNet68") == MeasurableNetwork("HarDNet68", named)
    trial = study.records[1].network
    assert trial is not None
    assert measurable_network("mine:1", storage) == MeasurableNetwork("mine, trial 1", trial, INPUT_SIZE)
    resnet = LibraryModel("torchvision", "resnet18", 10)
    assert measurable_network("torchvision/resnet18") == MeasurableNetwork("torchvision/resnet18", resnet)


@pytest.mark.parametrize("text", ["torchvision/resnet18", "timm/resnet18", "model.onnx"])
def test_only_measuring_takes_models_and_onnx_files(text: str) -> None:
    assert error_of(lambda: read_network(text)).endswith(
        "must be a ThreshNet, not an ONNX file or a model of torchvision or timm"
    )


@pytest.mark.parametrize(("batch", "fixed"), [(1, 1), (4, 4), ("n", None)])
def test_the_input_of_an_onnx_file_is_read(tmp_path: Path, batch: int | str, fixed: int | None) -> None:
    file = conv_file(tmp_path / "model.onnx", batch=batch, size=24)
    found = measurable_network(str(file))
    assert (found.title, found.network, found.input_size) == (str(file), file, 24)
    assert found.onnx is not None
    assert (found.onnx.name, found.onnx.batch, found.onnx.size) == ("x0", fixed, 24)


def shaped(path: Path, *shape: int | str) -> Path:
    """Write an ONNX file whose float input has this shape."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["y"])], "same", [images], [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: None, "no such file"),
        (lambda file: file.write_bytes(b"not a protobuf"), "damaged or not an ONNX file"),
        (lambda file: file.write_bytes(b""), "has 0 inputs, must have one, for images"),
        (lambda file: conv_file(file, inputs=2), "has 2 inputs (x0, x1), must have one, for images"),
        (lambda file: conv_file(file, dtype=np.uint8), "its input 'x0' is of type uint8, must be float"),
        (lambda file: conv_file(file, dtype=np.float64), "its input 'x0' is of type double, must be float"),
        (lambda file: shaped(file, 1, 3, 32, 64), "its input 'images' has shape (1, 3, 32, 64), must be (batch, 3,"),
        (lambda file: shaped(file, 1, 1, 32, 32), "has shape (1, 1, 32, 32), must be (batch, 3, size, size)"),
        (lambda file: shaped(file, "n", 32, 32, 3), "has shape (?, 32, 32, 3), must be (batch, 3, size, size)"),
        (lambda file: shaped(file, "n", 3), "has shape (?, 3), must be (batch, 3, size, size)"),
    ],
)
def test_an_onnx_file_of_another_kind_is_one_line(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    file = tmp_path / "model.onnx"
    write(file)
    error = error_of(lambda: measurable_network(str(file)))
    assert error.startswith(f"{file}: ")
    assert message in error


def test_missing_weights_of_an_onnx_file_are_named(tmp_path: Path) -> None:
    file = conv_file(tmp_path / "model.onnx")
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="model.data", size_threshold=0)
    assert image_input(file).size == 8
    (tmp_path / "model.data").unlink()
    assert error_of(lambda: image_input(file)) == f"{file}: its weights are in 'model.data', which is missing"


def test_networks_without_a_size_follow_the_others(tmp_path: Path) -> None:
    named, model = measurable_network("threshnet28"), measurable_network("torchvision/resnet18")
    wide = measurable_network(str(conv_file(tmp_path / "wide.onnx", size=48)))
    small = measurable_network(str(conv_file(tmp_path / "small.onnx", size=24)))
    free = measurable_network(str(shaped(tmp_path / "free.onnx", "n", 3, "h", "w")))
    assert measured_size([named, model], None, 1) == 32
    assert measured_size([named, model], 64, 1) == 64
    assert measured_size([named, wide, model, free], None, 1) == 48
    assert measured_size([free, named], 40, 7) == 40
    error = error_of(lambda: measured_size([wide, small, named], None, 1))
    assert error == "the networks are for images of 24, 48 pixels; choose --input"
    error = error_of(lambda: measured_size([named, wide], 32, 1))
    assert error == f"{wide.title}: takes images of 48 pixels only, not --input 32"
    error = error_of(lambda: measured_size([wide], None, 2))
    assert error == f"{wide.title}: has the fixed batch size 1, not --batch 2"
