"""Fixtures shared by the files of this suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from search_tests.tiny import StubMeasurement, StubTraining
from sqlalchemy import event
from studies_tests.small import write_tree


@pytest.fixture(autouse=True)
def storages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let SQLite storages skip waiting for the disk, which would dominate the run time, and close them at the end."""
    opened: list[RDBStorage] = []

    class UnsyncedStorage(RDBStorage):
        def __init__(self, url: str) -> None:
            super().__init__(url)
            opened.append(self)
            if url.startswith("sqlite"):
                event.listen(self.engine, "connect", lambda sqlite, _: sqlite.execute("PRAGMA synchronous = OFF"))
                self.engine.dispose()

    monkeypatch.setattr("studies.storage.RDBStorage", UnsyncedStorage)
    yield
    for storage in opened:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace measuring and training by stubs; the list contains their calls."""
    log: list[str] = []
    measuring = StubMeasurement(log)
    monkeypatch.setattr("search.objective.measure_on", measuring)
    monkeypatch.setattr("search.final.measure_all", measuring.again)
    monkeypatch.setattr("search.objective.train", StubTraining(log))
    return log


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An ImageFolder tree of dark and bright noise: 30 training and 10 test images of each class."""
    return write_tree(tmp_path / "tree")
