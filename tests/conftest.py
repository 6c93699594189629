"""Fixtures of every suite."""

import math
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 << 30  # a run needs less than a quarter of it


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep temporary files in memory if there is room for them: studies on a disk wait for it at every step."""
    if config.option.basetemp is None and MEMORY.is_dir():
        state = os.statvfs(MEMORY)
        if state.f_bavail * state.f_frsize >= ENOUGH_BYTES and not state.f_flag & os.ST_NOEXEC:
            config.option.basetemp = Path(tempfile.mkdtemp(prefix="tn-", dir=MEMORY))
            config.add_cleanup(partial(shutil.rmtree, config.option.basetemp, ignore_errors=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail the skipped tests of `make test-services`: everything they need is installed there."""
    report = yield
    if report.skipped and item.config.getoption("-m").startswith("services"):
        report.outcome = "failed"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that use a fixture of their module in one worker process, so that it is made once per run."""
    for item in items:
        assert isinstance(item, pytest.Function)
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        if any(fixture[-1].scope == "module" for fixture in fixtures) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of this run, shared by the worker processes of pytest-xdist."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(autouse=True, scope="session")
def own_state(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep idle baselines and leases in folders of this run, never in the user's.

    Each worker process has its own leases. Tests that need an undisturbed machine are marked `idle`, so the others need
    not wait until a measurement in another worker is over.
    """
    own = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        for variable, parent in (("XDG_STATE_HOME", run_folder), ("THRESHNET_LEASES", own), ("TMPDIR", own)):
            folder = parent / variable.lower()
            folder.mkdir(exist_ok=True)
            patch.setenv(variable, str(folder))
        patch.setattr(tempfile, "tempdir", os.environ["TMPDIR"])
        patch.delenv("OPTUNA_STORAGE", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def undisturbed() -> Iterator[None]:
    """Let readings be undisturbed: the machine is busy with other tests, and what follows has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.latency.measure.disturbances", lambda *arguments: iter(()))
        patch.setattr("search.latency.measure.MAX_LOST", 1.0)
        patch.setattr("search.latency.measure.MAX_WIDTH", math.inf)
        patch.setattr("search.latency.measure.OUTDATED", 0.0)
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Compute in one thread, also in subprocesses: tiny networks gain nothing from more, which wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.setenv(variable, "1")
        yield
    torch.set_num_threads(before)
