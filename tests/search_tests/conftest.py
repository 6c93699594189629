"""Fixtures of more than one file of this suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from search_tests.trees import write_tree


@pytest.fixture(autouse=True, scope="session")
def own_remote_lease(run_folder: Path) -> Iterator[None]:
    """Use a remote lock file of this run, not the one that users on this machine wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.latency.devices.ssh.REMOTE_LEASE", str(run_folder / "remote.lock"))
        yield


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", {"cat": 40, "ant": 60, "bee": 20}, {"ant": 5, "bee": 5, "cat": 5})
