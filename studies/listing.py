"""Summaries of the studies in a storage."""

from collections import Counter
from dataclasses import dataclass

import optuna

from studies.fronts.front import front_of
from studies.storage import open_storage, shown
from studies.study import LoadedStudy, load, read_study
from threshnet.errors import InputError


@dataclass(frozen=True)
class StudySummary:
    """One study in a list."""

    name: str
    # Number of trials per state, see search.records.State.
    states: dict[str, int]
    # In ms x percent, relative to the study's fixed reference point; None while nothing is trained.
    hypervolume: float | None
    # Local time of the last start or end of a trial.
    last_activity: str | None


def list_studies(url: str) -> list[StudySummary]:
    """Every study of a storage, by name; those not launched by this project have no states and no hypervolume."""
    storage = open_storage(url, create=False)
    listed = []
    for name in sorted(optuna.get_all_study_names(storage)):
        study = optuna.load_study(study_name=name, storage=storage)
        trials = study.get_trials(deepcopy=False)
        times = [time for trial in trials for time in (trial.datetime_start, trial.datetime_complete) if time]
        loaded = _readable(study)
        listed.append(
            StudySummary(
                name=name,
                states=dict(Counter(record.state for record in loaded.records)) if loaded else {},
                hypervolume=front_of(loaded).hypervolume if loaded and loaded.trained else None,
                last_activity=f"{max(times):%Y-%m-%d %H:%M}" if times else None,
            )
        )
    return listed


def copy_study(name: str, source: str, target: str) -> None:
    """Copy a study with all its trials to another storage.

    Raises InputError if it is missing, or if the target already has a study of that name.
    """
    load(name, source)
    into = open_storage(target, create=True)
    if name in optuna.get_all_study_names(into):
        raise InputError(f"storage {shown(target)!r} already has a study named {name!r}")
    optuna.copy_study(from_study_name=name, from_storage=open_storage(source, create=False), to_storage=into)


def _readable(study: optuna.Study) -> LoadedStudy | None:
    """The loaded study; None if this project did not launch it, so that one foreign study does not hide the others."""
    try:
        return read_study(study)
    except InputError:
        return None
