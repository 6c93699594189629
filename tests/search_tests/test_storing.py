"""Attributes of a trial that are written together: on every storage, and in one transaction."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from search.records import NETWORK, attributes_of
from search.storing import set_attributes

ATTRIBUTES = {"block1.growth": 32, "stem": "32 and 64 channels", "rungs": {"2": 41.5}, "pool": True}


@pytest.fixture(params=["memory", "sqlite", "journal"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage:
    match request.param:
        case "memory":
            return InMemoryStorage()
        case "sqlite":
            return RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
        case _:
            return JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))


def test_attributes_are_stored_and_replaced(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    trial.set_user_attr("rungs", {})
    set_attributes(trial, ATTRIBUTES | {NETWORK: {"blocks": []}})
    set_attributes(trial, {"pool": False, NETWORK: {"blocks": [1]}})
    expected = ATTRIBUTES | {"pool": False}
    assert trial.user_attrs == expected
    stored = study.get_trials(deepcopy=False)[0]
    assert (stored.user_attrs, stored.system_attrs) == (expected, {NETWORK: {"blocks": [1]}})
    assert attributes_of(stored) == expected | {NETWORK: {"blocks": [1]}}
    study.tell(trial, 1.0)
    assert study.trials[0].user_attrs == expected
    with pytest.raises(UpdateFinishedTrialError):
        set_attributes(trial, ATTRIBUTES)


def test_a_database_writes_them_in_one_transaction(tmp_path: Path) -> None:
    storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    trial = optuna.create_study(storage=storage).ask()
    commits: list[object] = []
    sqlalchemy.event.listen(storage.engine, "commit", commits.append)
    set_attributes(trial, ATTRIBUTES)
    assert len(commits) == 1
    for key, value in ATTRIBUTES.items():
        trial.set_user_attr(key, value)
    assert len(commits) == 1 + len(ATTRIBUTES)


def test_a_journal_appends_them_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = JournalFileBackend(str(tmp_path / "study.log"))
    trial = optuna.create_study(storage=JournalStorage(backend)).ask()
    appended: list[int] = []
    original = backend.append_logs

    def append(logs: list[dict[str, Any]]) -> None:
        appended.append(len(logs))
        original(logs)

    monkeypatch.setattr(backend, "append_logs", append)
    set_attributes(trial, ATTRIBUTES)
    assert appended == [len(ATTRIBUTES)]
