"""List the studies in a storage, with a summary of each."""

import re
from dataclasses import dataclass

import optuna

from search.progress import tally
from search.records import State
from studies.fronts.front import front_of
from studies.storage import open_storage, shown
from studies.study import LoadedStudy, load_study, read_study
from threshnet.errors import InputError

# Start of the keys under which optuna-dashboard stores notes and artifacts of trials in the attributes of their study.
TRIAL_KEY = re.compile(r"^(dashboard:(?:artifacts:)?)(\d+):")


@dataclass(frozen=True)
class StudySummary:
    """Summary of one study."""

    name: str
    # Number of trials in each state, see search.progress.tally.
    states: dict[State, int]
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
                states=dict(tally(loaded.records)) if loaded else {},
                hypervolume=front_of(loaded).hypervolume if loaded and loaded.trained else None,
                last_activity=f"{max(times):%Y-%m-%d %H:%M}" if times else None,
            )
        )
    return listed


def copy_study(name: str, source: str, target: str) -> None:
    """Copy a study with all its trials to another storage, including the figures and notes of optuna-dashboard.

    Raises InputError if the study is missing, or if the target already has a study with this name.
    """
    load_study(name, source)
    into = open_storage(target, create=True)
    if name in optuna.get_all_study_names(into):
        raise InputError(f"storage {shown(target)!r} already has a study named {name!r}")
    study = optuna.load_study(study_name=name, storage=open_storage(source, create=False))
    copy = optuna.create_study(study_name=name, storage=into, directions=study.directions)
    trials = study.get_trials(deepcopy=False)
    copy.add_trials(trials)
    for key, value in study.user_attrs.items():
        copy.set_user_attr(key, value)
    # optuna.copy_study copies the notes of trials under the ids that the trials have in the old storage.
    pairs = zip(trials, copy.get_trials(deepcopy=False), strict=True)
    ids = {str(one._trial_id): str(other._trial_id) for one, other in pairs}
    for key, value in study._storage.get_study_system_attrs(study._study_id).items():
        own = TRIAL_KEY.sub(lambda match: f"{match[1]}{ids.get(match[2], match[2])}:", key)
        copy._storage.set_study_system_attr(copy._study_id, own, value)


def _readable(study: optuna.Study) -> LoadedStudy | None:
    """Load a study. Returns None if this project did not launch it, so that the other studies can still be listed."""
    try:
        return read_study(study)
    except InputError:
        return None
