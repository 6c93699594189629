"""Fixtures of more than one file of this suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from search_tests.tiny import StubMeasurement, StubTraining
from sqlalchemy import event
from studies_tests.small import write_tree


@pytest.fixture(autouse=True)
def storages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let SQLite storages not wait for the disk, which would take most of the time, and close them at the end."""
    opened: list[RDBStorage] = []

    class Quick(RDBStorage):
        def __init__(self, url: str) -> None:
            super().__init__(url)
            opened.append(self)
            if url.startswith("sqlite"):
                event.listen(self.engine, "connect", lambda sqlite, _: sqlite.execute("PRAGMA synchronous = OFF"))
                self.engine.dispose()

    monkeypatch.setattr("studies.storage.RDBStorage", Quick)
    yield
    for storage in opened:
        storage.remove_session()
        storage.engine.dispose()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put stand-ins in the place of measuring and training; the list tells what they did."""
    log: list[str] = []
    monkeypatch.setattr("search.objective.measure_on", StubMeasurement(log))
    monkeypatch.setattr("search.objective.train", StubTraining(log))
    return log


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An ImageFolder tree of two classes, dark and bright noise: 30 and 10 images of each."""
    return write_tree(tmp_path / "tree")
