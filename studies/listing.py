"""List the studies in a storage, with a summary of each."""

from collections import Counter
from dataclasses import dataclass

import optuna

from studies.fronts.front import front_of
from studies.storage import open_storage, shown
from studies.study import LoadedStudy, load_study, read_study
from threshnet.errors import InputError


@dataclass(frozen=True)
class StudySummary:
    """Summary of one study."""

    name: str
    # Number of trials in each state, see search.records.State.
    states: dict[str, int]
    # In ms x percent, relative to the study's fixed reference point. None if no network is trained yet.
    hypervolume: float | None
    # Local time at which a trial last started or ended.
    last_activity: str | None


def list_studies(url: str) -> list[StudySummary]:
    """Summarise all studies in a storage, sorted by name. Studies of other projects have no states or hypervolume."""
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

    Raises InputError if the study is missing, or if the target already has a study with this name.
    """
    load_study(name, source)
    into = open_storage(target, create=True)
    if name in optuna.get_all_study_names(into):
        raise InputError(f"storage {shown(target)!r} already has a study named {name!r}")
    optuna.copy_study(from_study_name=name, from_storage=open_storage(source, create=False), to_storage=into)


def _readable(study: optuna.Study) -> LoadedStudy | None:
    """Load a study. Returns None if this project did not launch it, so that the other studies can still be listed."""
    try:
        return read_study(study)
    except InputError:
        return None
