"""Figures and notes for optuna-dashboard: what is stored, when it is replaced, and that a copy has it."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Trial
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from studies_tests.sample import sample_loaded, store, with_stopped

from search.records import records
from studies.fronts.front import front_of
from studies.listing import copy_study
from studies.report.dashboard import IMPORTANCES, NOTE, RUNGS, annotate
from studies.storage import open_storage
from studies.study import LoadedStudy, load_study

STORAGE = "sqlite:///threshnet.db"


@pytest.fixture
def loaded() -> LoadedStudy:
    return with_stopped(sample_loaded())


def notes(study: optuna.Study) -> dict[int, str]:
    """Return all notes of trials."""
    found = {trial.number: get_note(Trial(study, trial._trial_id)) for trial in study.get_trials(deepcopy=False)}
    return {number: text for number, text in found.items() if text}


def figures(study: optuna.Study) -> dict[str, Any]:
    """Return all figures by their ids."""
    stored = get_plotly_graph_objects(study._storage.get_study_system_attrs(study._study_id))
    return {name: json.loads(text) for name, text in stored.items()}


def test_each_network_of_the_front_has_a_note_that_names_its_neighbors(loaded: LoadedStudy) -> None:
    annotate(loaded, STORAGE)
    front = front_of(loaded).front
    found = notes(loaded.study)
    assert found.keys() == {record.number for record in front}
    first, second, last = found[front[0].number], found[front[1].number], found[front[-1].number]
    assert first.startswith(f"{NOTE} of sample\n\n- cpu onnxruntime: number 1 of {len(front)} by latency")
    assert f"  - trial {front[0].number}, {front[0].error:.2f} %, " in first
    assert f"  - the fastest\n  - next more accurate: trial {front[1].number}, " in first
    assert f"  - next faster: trial {front[0].number}, " in second
    assert "  - the most accurate\n" in last
    export = f"threshnet export sample --trial {front[0].number} -o sample-trial{front[0].number}"
    assert first.endswith(f"```sh\n{export}\n```")


def test_notes_follow_the_front_but_notes_of_users_stay(loaded: LoadedStudy) -> None:
    front = front_of(loaded).front
    fastest, other = front[0].number, front[1].number
    save_note(Trial(loaded.study, loaded.study.trials[other]._trial_id), "mine")
    annotate(loaded, STORAGE)
    before = loaded.study._storage.get_study_system_attrs(loaded.study._study_id)
    annotate(loaded, STORAGE)
    assert loaded.study._storage.get_study_system_attrs(loaded.study._study_id) == before  # nothing is written twice
    assert notes(loaded.study)[other] == "mine"
    assert fastest in notes(loaded.study)
    slower = [replace(one, latency_ms=1e6) if one.number == fastest else one for one in loaded.records]
    annotate(replace(loaded, records=slower), STORAGE)
    assert fastest not in notes(loaded.study)
    assert notes(loaded.study)[other] == "mine"


def test_the_errors_at_rungs_are_attached_as_one_curve_per_network(loaded: LoadedStudy) -> None:
    annotate(loaded, STORAGE)
    found = figures(loaded.study)
    assert found.keys() == {RUNGS}  # too few networks for importances
    curves = {trace["name"]: trace for trace in found[RUNGS]["data"]}
    resumed = loaded.records[-1]  # the last of four stopped networks was resumed
    assert curves["stopped early"]["x"].count(2) == 3
    finished = [*curves["trained to the end"]["x"], *curves["on the front"]["x"]]
    assert finished == [*resumed.rungs, None]
    assert f"trial {resumed.number}" in [*curves["trained to the end"]["text"], *curves["on the front"]["text"]]


def test_importances_are_attached_if_there_are_enough_networks(
    loaded: LoadedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = [["block1.growth", 0.75], ["blocks", 0.25]]
    found = {"networks": 30, "objectives": [{"name": name, "shares": shares} for name in ("error (%)", "latency (ms)")]}
    monkeypatch.setattr("studies.report.dashboard.importances", lambda loaded: found)
    annotate(loaded, STORAGE)
    error, latency = figures(loaded.study)[IMPORTANCES]["data"]
    assert (error["name"], latency["name"]) == ("error (%)", "latency (ms)")
    assert (error["y"], error["x"]) == (["block1.growth", "blocks"], [75.0, 25.0])


def test_without_optuna_dashboard_or_a_trained_network_nothing_is_stored(
    loaded: LoadedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate(replace(loaded, records=[]), STORAGE)
    monkeypatch.setattr("studies.report.dashboard.find_spec", lambda name: None if "dash" in name else find_spec(name))
    annotate(loaded, STORAGE)
    assert (figures(loaded.study), notes(loaded.study)) == ({}, {})


def test_a_copy_has_figures_and_the_notes_of_the_same_trials(loaded: LoadedStudy, tmp_path: Path) -> None:
    source, target = (f"sqlite:///{tmp_path / name}.db" for name in ("source", "target"))
    store(loaded, "sample", source)
    original = load_study("sample", source)
    annotate(original, source)
    optuna.create_study(storage=open_storage(target, create=True)).ask()  # its trial gets the first id
    copy_study("sample", source, target)
    copied = load_study("sample", target)
    assert notes(copied.study) == notes(original.study) != {}
    assert figures(copied.study) == figures(original.study)
    assert records(copied.study) == original.records
