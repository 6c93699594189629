"""Studies, fronts and trained networks as Python objects, on a small study that is measured and trained for real."""

import logging
import queue
import threading
from dataclasses import replace
from html import escape
from logging.handlers import QueueHandler
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from search_tests.tiny import SIZE
from studies_tests.small import small_spec, write_tree

import studies.library
from search.latency.protocol import MeasurementError
from studies.export import trained
from studies.library import Study, compare, launch, load, measure
from studies.screen import Screen
from studies.spec import StudySpec
from threshnet import NAMED, InputError
from threshnet.baselines import LibraryModel
from threshnet.export.onnx_file import export_onnx

Calls = list[tuple[object, ...]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study, with its tree of images."""
    folder = tmp_path_factory.mktemp("library")
    write_tree(folder / "tree")
    return folder


@pytest.fixture(scope="module")
def ended() -> list[int]:
    """The numbers of the trials for which the Optuna callback was called."""
    return []


@pytest.fixture(scope="module")
def study(folder: Path, ended: list[int]) -> Study:
    """Two networks, launched with the images given by the path of their folder."""
    spec = small_spec(trials=2, data=str(folder / "tree"), runtimes=("onnxruntime",))
    return launch(
        spec,
        f"journal:{folder / 'study.log'}",
        runs=folder / "runs",
        progress=False,
        callbacks=[lambda _, trial: ended.append(trial.number)],
    )


def test_launch_returns_the_study_and_load_finds_it(study: Study, folder: Path, ended: list[int]) -> None:
    assert study.outcome is not None
    assert (study.name, study.outcome.ended, study.optuna.study_name) == ("small", "enough", "small")
    assert ended == [record.number for record in study.trials]
    again = load("small", f"journal:{folder / 'study.log'}", runs=str(folder / "runs"))
    assert (again.outcome, again.trials, repr(again)) == (None, study.trials, repr(study))


def test_the_storage_comes_from_the_environment(study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPTUNA_STORAGE", study.storage)
    assert load(study.name).storage == study.storage
    monkeypatch.setenv("OPTUNA_STORAGE", f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(InputError, match=r"empty\.db"):
        load(study.name)


def test_the_front_is_a_sequence_of_networks_fastest_first(study: Study) -> None:
    front = study.front()
    assert [one.trial for one in front] == [record.number for record in front.points.front]
    assert len(front[:1]) == 1
    assert front.knee.record is front.points.picked
    assert study.front(front.backend) is front
    assert (front.hypervolume, front.share_percent) == (front.points.hypervolume, front.points.share_percent)
    assert (front.box, front.linear_share_percent) == (front.points.box, front.points.linear_share_percent)


def test_the_front_as_a_table_and_as_a_figure(study: Study) -> None:
    front = study.front()
    table = front.to_dataframe()
    assert list(table["trial"]) == [one.trial for one in front]
    assert list(table["error_percent"]) == [one.metrics["error_percent"] for one in front]
    assert sum("(knee)" in str(name) for name in table.index) == (front.points.knee is not None)
    assert len(front.figure().data) > 0
    assert len(study.to_dataframe()) == len(study.trials)
    assert isinstance(study.to_dataframe(), pd.DataFrame)


def test_a_pick_has_its_reason_and_its_confidence(study: Study) -> None:
    best = study.front().pick(knee=True)
    assert best.record is study.front().points.picked
    assert best.reason in best.summary()
    assert 0 <= best.confidence <= 1
    assert best.metrics["latency_low_ms"] <= best.metrics["latency_ms"] <= best.metrics["latency_high_ms"]
    assert best.network is best.record.network


def test_a_pick_that_finds_nothing_names_the_nearest(study: Study) -> None:
    fastest = min(one.metrics["latency_ms"] for one in study.front())
    with pytest.raises(InputError, match=f"the fastest takes {fastest:.3f} ms"):
        study.front().pick(max_latency_ms=fastest / 10)


def test_a_network_is_loaded_with_its_weights(study: Study) -> None:
    module = study.front().knee.load()
    assert not module.training
    with torch.inference_mode():
        assert module(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, 2)
    with pytest.raises(InputError, match="trial 99 of study 'small' does not exist"):
        study.network(99)


def test_notebooks_show_a_study_a_front_a_pick_and_a_network(study: Study) -> None:
    best = study.front().pick(knee=True)
    for shown in (study, study.front()):
        assert "<table" in shown._repr_html_()
    assert "<svg" in best._repr_html_()
    assert "<svg" in best.network._repr_html_()
    assert escape(best.reason) in best._repr_html_()


def test_a_study_without_trained_networks_has_a_summary_but_no_front(study: Study) -> None:
    empty = Study(study.loaded.__class__(**{**vars(study.loaded), "records": []}))
    assert "0 trained networks" in empty._repr_html_()
    for read in (empty.front, lambda: empty.progress):
        with pytest.raises(InputError, match="has no trained network yet"):
            read()


def test_reports_are_written_to_the_requested_files(study: Study, tmp_path: Path) -> None:
    lines = study.write(html=tmp_path / "front.html", csv=tmp_path / "trials.csv")
    assert lines == [f"wrote {tmp_path / 'front.html'}", f"wrote {tmp_path / 'trials.csv'}"]
    assert study.to_json()["backend"] == study.front().backend


def test_an_export_and_a_retraining_take_the_values_of_the_call(
    study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: Calls = []
    monkeypatch.setattr(trained, "export_trial", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(trained, "train_and_export", lambda *arguments: calls.append(arguments))
    knee = study.front().knee
    knee.export(tmp_path / "a", progress=False)
    with pytest.raises(InputError, match="seeds = 0: must be a whole number, at least 1"):
        knee.retrain(tmp_path / "b", seeds=0)
    knee.retrain(tmp_path / "b", epochs=2, seeds=3, data="digits", progress=False)
    trained.train(knee.network, tmp_path / "c", data="digits", title="mine", input_size=SIZE, progress=False)
    (loaded, number, first, *_), (retraining, second, *_), (training, third, *_) = calls
    assert (loaded, number, first, second, third) == (
        study.loaded,
        knee.trial,
        *(tmp_path / name for name in "abc"),
    )
    found: Any = retraining
    assert (found.recipe.epochs, list(found.seeds), found.data.name) == (2, [0, 1, 2], "digits")
    found = training
    assert (found.network.title, found.network.input_size, found.recipe.name) == ("mine", SIZE, "fast")


def test_launch_works_in_a_thread_that_cannot_handle_signals(folder: Path, tmp_path: Path) -> None:
    spec = small_spec(folder / "tree", trials=1, runtimes=("onnxruntime",))
    found: list[Study] = []
    thread = threading.Thread(target=lambda: found.append(launch(spec, f"journal:{tmp_path / 'a'}", runs=tmp_path)))
    thread.start()
    thread.join()
    assert [one.loaded.trained for one in found] == [1]


def test_an_interrupt_prints_one_line_without_a_traceback(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logged = QueueHandler(lines)
    monkeypatch.setattr(Screen, "stage", interrupt)
    logging.getLogger("optuna").addHandler(logged)
    try:
        study = launch(small_spec(folder / "tree", trials=1), f"journal:{tmp_path / 'a'}", runs=tmp_path)
    finally:
        logging.getLogger("optuna").removeHandler(logged)
    assert study.outcome is not None
    assert study.outcome.ended == "interrupted"
    assert lines.empty()
    assert capsys.readouterr().out.splitlines()[-1] == "stopped; call launch again to resume"


def test_data_replaces_the_images_of_a_spec(folder: Path, tmp_path: Path) -> None:
    spec = small_spec(trials=1)
    loaded = launch(
        spec, f"journal:{tmp_path / 'a'}", runs=tmp_path, data=folder / "tree", caveat="Noise", progress=False
    )
    assert (loaded.spec.dataset.path, loaded.spec.caveat) == (folder / "tree", "Noise")
    assert (loaded.spec.dataset.train, loaded.spec.flip) == (spec.dataset.train, False)


@pytest.mark.parametrize("data", ["digits", Path("digits")])
def test_a_spec_takes_the_name_of_a_data_set_or_a_folder(data: str | Path, tmp_path: Path) -> None:
    if isinstance(data, str):
        assert StudySpec("mine", trials=1, data=data).dataset.name == "digits"
    else:
        with pytest.raises(InputError, match="data = PosixPath"):
            StudySpec("mine", trials=1, data=data)
        assert StudySpec("mine", trials=1, data=tmp_path).dataset.path == tmp_path


def test_networks_are_measured_and_compared_by_name_or_spec(monkeypatch: pytest.MonkeyPatch, study: Study) -> None:
    calls: Calls = []

    def record(*arguments: object, **limits: object) -> None:
        calls.append(arguments[1:4])
        raise MeasurementError("stub")

    monkeypatch.setattr(studies.library, "measure_on", record)
    monkeypatch.setattr(studies.library, "compare_on", record)
    network = study.front().knee.network
    for call in (lambda: measure(network, input_size=SIZE), lambda: compare(["threshnet28", network])):
        with pytest.raises(MeasurementError):
            call()
    (one, *_), (both, size, runtime) = calls
    assert one is network
    assert isinstance(both, list)
    assert (both[1], size, runtime) == (network, 32, "onnxruntime")


def test_a_text_names_a_network_as_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, study: Study, tmp_path: Path
) -> None:
    calls: Calls = []
    monkeypatch.setattr(studies.library, "measure_on", lambda *arguments: calls.append(arguments[1:3]))
    file = tmp_path / "mine.onnx"
    export_onnx(study.front().knee.load(), SIZE, file)
    for network in (file, str(file), "timm/mobilenetv1_100", "threshnet28"):
        measure(network)
    (first, size), second, (model, _), (named, _) = calls
    assert (first, size) == second == (file, SIZE)  # the file takes images of this size only
    assert isinstance(model, LibraryModel)
    assert named == replace(NAMED["threshnet28"], classes=10)
    with pytest.raises(InputError, match=f"takes images of {SIZE} pixels only"):
        measure(file, input_size=2 * SIZE)
