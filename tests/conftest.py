"""Fixtures of every suite."""

import os
import tempfile
from collections.abc import Generator, Iterator

import pytest
import torch


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a skipped test of `make test-services` fail: there, what it needs is installed."""
    report = yield
    if report.skipped and item.config.getoption("-m") == "services":
        report.outcome = "failed"
    return report


@pytest.fixture(autouse=True, scope="session")
def own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remember quiet latencies, keep files and lease devices in folders of this run, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "TMPDIR"):
            patch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
        patch.setattr(tempfile, "tempdir", os.environ["TMPDIR"])
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Compute in one thread, in new processes too: more gain tiny networks nothing and wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.setenv(variable, "1")
        yield
    torch.set_num_threads(before)
