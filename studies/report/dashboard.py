"""Figures and notes that a study stores for optuna-dashboard, if that is installed."""

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from optuna import Study, Trial
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from search.records import Record
from studies.figures.dashboard import importance_bars, rung_curves
from studies.fronts.front import ParetoFront, fronts_of
from studies.fronts.wording import latency_text, title
from studies.report.importances import importances
from studies.storage import export_command, place_options, reason, shown
from studies.study import LoadedStudy
from threshnet.errors import InputError

NOTE = "**On the Pareto front**"  # start of each note; other notes were written by users and are never replaced
RUNGS, IMPORTANCES = "errors-at-rungs", "importances"  # ids of the figures in the dashboard
NOTE_KEY = re.compile(r"dashboard:(\d+):note_ver")  # key of a trial's note in the system attributes of a study


def annotate(loaded: LoadedStudy, storage: str) -> None:
    """Store figures of the study and a note for each trial on a front, and empty the notes of trials that left it.

    The notes contain export commands, which name `storage` without password and query.
    Does nothing if optuna-dashboard is not installed or no network is trained. Notes are stored once for each launch,
    not for each trial, because storing one reads all attributes of the study.
    """
    if find_spec("optuna_dashboard") is None or not loaded.trained:
        return
    try:
        _annotate(loaded, place_options(storage, loaded.weights.parents[1]))
    except (SQLAlchemyError, StorageInternalError) as error:
        raise InputError(f"storage {shown(storage)!r} cannot be written: {reason(error)}") from None


def _annotate(loaded: LoadedStudy, options: Sequence[str]) -> None:
    dashboard: Any = import_module("optuna_dashboard")
    fronts = fronts_of(loaded)
    on_front = {record.number for front in fronts for record in front.front}
    figures = {RUNGS: rung_curves(loaded.records, on_front, fronts[0].error_name)}
    found = importances(loaded)
    if "objectives" in found:
        figures[IMPORTANCES] = importance_bars(found)
    for name, figure in figures.items():
        dashboard.save_plotly_graph_object(loaded.study, figure, graph_object_id=name)
    notes = dict.fromkeys(_annotated(loaded.study), "")
    notes |= {number: note(loaded.spec.name, fronts, number, options) for number in on_front}
    for number, text in notes.items():
        trial = Trial(loaded.study, loaded.study.get_trials(deepcopy=False)[number]._trial_id)
        before = dashboard.get_note(trial)
        if text != before and (not before or before.startswith(NOTE)):
            dashboard.save_note(trial, text)


def note(study: str, fronts: Sequence[ParetoFront], number: int, options: Sequence[str]) -> str:
    """Return the note, as Markdown, for a trial that is on at least one front; `options` are those of place_options."""
    places = [line for front in fronts for line in _place(front, number)]
    return "\n".join([f"{NOTE} of {study}", "", *places, "", "```sh", export_command(study, number, options), "```"])


def _place(front: ParetoFront, number: int) -> Iterator[str]:
    """Yield lines about a trial on a front and its neighbors. Yields nothing if the trial is not on this front."""
    numbers = [record.number for record in front.front]
    if number not in numbers:
        return
    at = numbers.index(number)
    record = front.front[at]
    knee = ", the knee" if record is front.knee else ""
    yield f"- {front.backend}: number {at + 1} of {len(numbers)} by latency{knee}"
    yield f"  - {_point(record)}"
    yield f"  - next faster: {_point(front.front[at - 1])}" if at else "  - the fastest"
    more = at + 1 < len(numbers)
    yield f"  - next more accurate: {_point(front.front[at + 1])}" if more else "  - the most accurate"


def _point(record: Record) -> str:
    return f"{title(record)}, {record.error:.2f} %, {latency_text(record, 'ms')}"


def _annotated(study: Study) -> list[int]:
    """Return the numbers of the trials that have a note."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    ids = {int(key[1]) for key in map(NOTE_KEY.fullmatch, attributes) if key}
    return [trial.number for trial in study.get_trials(deepcopy=False) if trial._trial_id in ids]
