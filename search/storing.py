"""Write to the storage of a study: several attributes in one transaction, and artifacts."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from optuna import Study, Trial
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb.models import TrialModel, TrialSystemAttributeModel, TrialUserAttributeModel
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from search.latency.reading import Latency
from search.latency.samples import Samples
from search.records import LONG


def set_attributes(trial: Trial, attributes: Mapping[str, Any]) -> None:
    """Set attributes of a running trial in one transaction: system attributes for records.LONG, else user attributes.

    `Trial.set_user_attr` writes each attribute in a transaction of its own, which waits for the disk or the server. A
    storage that is neither a database nor a journal gets one call for each attribute.
    """
    storage, number = trial.storage, trial._trial_id
    long = {key: value for key, value in attributes.items() if key in LONG}
    short = {key: value for key, value in attributes.items() if key not in LONG}
    if isinstance(storage, _CachedStorage):
        _insert(storage._backend, number, long, short)
    elif isinstance(storage, JournalStorage):
        with storage._thread_lock:
            entry = {"worker_id": storage._replay_result.worker_id, "trial_id": number}
            system = {"op_code": JournalOperation.SET_TRIAL_SYSTEM_ATTR, **entry}
            user = {"op_code": JournalOperation.SET_TRIAL_USER_ATTR, **entry}
            entries = [{**system, "system_attr": {key: value}} for key, value in long.items()]
            entries += [{**user, "user_attr": {key: value}} for key, value in short.items()]
            storage._backend.append_logs(entries)
            storage._sync_with_backend()
    else:
        for key, value in long.items():
            storage.set_trial_system_attr(number, key, value)
        for key, value in short.items():
            storage.set_trial_user_attr(number, key, value)
    trial._cached_frozen_trial.system_attrs.update(long)
    trial._cached_frozen_trial.user_attrs.update(short)


def _insert(database: RDBStorage, number: int, long: Mapping[str, Any], short: Mapping[str, Any]) -> None:
    """Insert or replace the system attributes `long` and the user attributes `short` of a trial in a database."""
    with _create_scoped_session(database.scoped_session, ignore_integrity_error=True) as session:
        state = cast("TrialState", TrialModel.find_or_raise_by_id(number, session).state)
        database.check_trial_is_updatable(number, state)
        model: type[TrialSystemAttributeModel | TrialUserAttributeModel]
        for model, attributes in ((TrialSystemAttributeModel, long), (TrialUserAttributeModel, short)):
            mine: Any = session.query(model).filter(model.trial_id == number, model.key.in_(attributes))
            rows = {str(row.key): row for row in mine}
            for key, value in attributes.items():
                row = rows.get(key) or model(trial_id=number, key=key)
                row.value_json = json.dumps(value)
                session.add(row)


def upload(store: FileSystemArtifactStore, owner: Trial | Study, name: str, write: Callable[[Path], object]) -> str:
    """Call `write` to create a file, store the file as an artifact of its owner, and return the artifact id."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        write(file)
        return upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=owner)


def upload_samples(store: FileSystemArtifactStore, owner: Trial | Study, latency: Latency) -> Latency:
    """Store the raw samples of a reading as an artifact, and return the reading with the artifact id."""
    if latency.samples is None:
        return latency
    name = f"latency-{re.sub(r'[^A-Za-z0-9.]+', '-', latency.backend)}.csv"
    artifact = upload(store, owner, name, partial(Path.write_text, data=latency.samples.to_csv()))
    return replace(latency, artifact=artifact)


def samples_of(latency: Latency, weights: Path) -> Samples | None:
    """Return the raw samples of a reading from the artifact in the folder `weights`, or None if it is not there.

    Earlier versions stored the samples with the reading. A copy of a study has no artifacts.
    """
    if latency.samples is not None or latency.artifact is None:
        return latency.samples
    try:
        with FileSystemArtifactStore(weights).open_reader(latency.artifact) as file:
            return Samples.from_csv(file.read().decode(), latency.artifact)
    except (ArtifactNotFound, OSError, ValueError):
        return None
