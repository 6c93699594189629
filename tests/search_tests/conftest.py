"""Fixtures of more than one file of this suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from search_tests.trees import write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", {"cat": 40, "ant": 60, "bee": 20}, {"ant": 5, "bee": 5, "cat": 5})


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run torch in one thread: tiny networks gain nothing by more, and on a busy machine wait for them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
