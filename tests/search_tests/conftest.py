"""Fixtures of more than one file of this suite."""

from pathlib import Path

import pytest
from search_tests.trees import write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", {"cat": 40, "ant": 60, "bee": 20}, {"ant": 5, "bee": 5, "cat": 5})
