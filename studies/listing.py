"""List the studies in a storage, with a summary of each."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from search import records
from search.box import Box, Objective, stored_objective
from search.records import State
from search.volume import box_of, class_images_of, feasible_hypervolume
from studies.storage import open_storage, open_study, shown
from threshnet.errors import InputError

# Start of the keys under which optuna-dashboard stores notes and artifacts of trials in the attributes of their study.
TRIAL_KEY = re.compile(r"^(dashboard:(?:artifacts:)?)(\d+):")


@dataclass(frozen=True)
class StudySummary:
    """Summary of one study."""

    name: str
    # Number of trials in each state, see search.records.tally.
    states: dict[State, int]
    # In ln(ms) x percent, or in ms x percent if the box of the study is linear. None if no network is trained yet.
    hypervolume: float | None
    # In percent of the box. None if no network is trained yet.
    hypervolume_percent: float | None
    # Local time at which a trial last started or ended.
    last_activity: str | None


def list_studies(url: str) -> list[StudySummary]:
    """Summarise all studies in a storage, sorted by name. Studies of other projects have no states or hypervolume."""
    storage = open_storage(url, create=False)
    names = sorted(optuna.get_all_study_names(storage))
    return [summary(optuna.load_study(study_name=name, storage=storage)) for name in names]


def summary(study: optuna.Study) -> StudySummary:
    """Summarise a study."""
    trials = study.get_trials(deepcopy=False)
    times = [time for trial in trials for time in (trial.datetime_start, trial.datetime_complete) if time]
    read = _records(study)
    box = _box(read, study.user_attrs) if any(record.trained for record in read) else None
    volume = None if box is None else feasible_hypervolume(read, box)
    return StudySummary(
        name=study.study_name,
        states=dict(records.tally(read)),
        hypervolume=volume,
        hypervolume_percent=None if box is None or volume is None else box.percent(volume),
        last_activity=f"{max(times):%Y-%m-%d %H:%M}" if times else None,
    )


def _records(study: optuna.Study) -> list[records.Record]:
    """Return the records of a study, none if it cannot be read, so that the other studies can still be listed."""
    try:
        return records.records(study) if records.SPEC in study.user_attrs else []
    except InputError:
        return []


def _box(read: Sequence[records.Record], attrs: Mapping[str, Any]) -> Box:
    """Return the box of a study as in its front. The spec is not parsed, since that would import torch."""
    spec, classes = attrs[records.SPEC], len(attrs[records.CLASSES])
    table = stored_objective(spec.get("objective", {}), classes)
    objective = Objective(axis=table.pop("box"), **table)
    return box_of(read, objective, class_images_of(attrs, classes), spec.get("limits", {}).get("latency_ms"))


def copy_study(name: str, source: str, target: str) -> None:
    """Copy a study with all its trials to another storage, including the figures and notes of optuna-dashboard.

    Raises InputError if the study is missing, or if the target already has a study with this name.
    """
    study = open_study(source, name)
    if records.SPEC not in study.user_attrs:
        raise InputError(f"study {name!r} was not made by threshnet launch")
    into = open_storage(target, create=True)
    if name in optuna.get_all_study_names(into):
        raise InputError(f"storage {shown(target)!r} already has a study named {name!r}")
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
