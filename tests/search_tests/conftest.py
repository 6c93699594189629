"""Fixtures of more than one file of this suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from search_tests.trees import write_tree


@pytest.fixture(autouse=True, scope="session")
def own_far_lease(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Lock a file of this run on the far side, which is this machine, not the one that users wait for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.latency.devices.ssh.REMOTE_LEASE", str(tmp_path_factory.mktemp("far") / "lock"))
        yield


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", {"cat": 40, "ant": 60, "bee": 20}, {"ant": 5, "bee": 5, "cat": 5})
