"""Leases between processes, where alone they can be observed."""

import contextlib
import os
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from search_tests.leases import busy, holding, next_line, running

from search.latency.lease import exclusive, holder, lease_file, shared
from search.latency.reports import Measuring, Wait, reporting

GREEDY = """\
print("ready", flush=True)
while True:
    with lease.shared():
        time.sleep(0.02)
"""
MEASURING = """\
print("ready", flush=True)
while True:
    with lease.exclusive("cpu"):
        time.sleep(0.05)
    time.sleep(0.05)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leases of this test alone."""
    monkeypatch.setenv("THRESHNET_LEASES", str(tmp_path / "leases"))
    return tmp_path / "leases"


@pytest.mark.parametrize("how", ["exclusive", "shared"])
def test_a_measurement_waits_for_whoever_has_the_device(how: str) -> None:
    with holding(how, "cpu") as other:
        assert not entered("cpu")
        other.communicate()  # closes its standard input: it lets go
        assert entered("cpu")


def entered(device: str) -> bool:
    """Try to get the exclusive lease of a device until the first report of a wait."""

    def give_up(report: object) -> None:
        raise TimeoutError

    with contextlib.suppress(TimeoutError), reporting(give_up), exclusive(device):
        return True
    return False


def test_leases_do_not_depend_on_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch system gives every job a temporary folder of its own."""
    with holding("exclusive", "cpu"):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "job"))
        assert not entered("cpu")
    monkeypatch.delenv("THRESHNET_LEASES")
    monkeypatch.setattr("search.latency.lease.FOLDER", str(tmp_path / "fixed"))
    assert lease_file("cpu") == tmp_path / "fixed" / "cpu.lock"


def test_training_waits_while_the_cpu_is_measured() -> None:
    entering = "with lease.shared(): print('in', flush=True)"
    with holding("exclusive", "cpu"), running(entering) as training, pytest.raises(subprocess.TimeoutExpired):
        training.wait(timeout=1.5)
    with running(entering) as training:
        assert next_line(training) == "in"


def test_trainings_are_many() -> None:
    with holding("shared"), holding("shared"), shared():
        assert busy(["cpu"]) == ["cpu"]
    assert busy(["cpu"]) == []


def test_one_device_is_not_another() -> None:
    with exclusive("cpu"), exclusive("cuda0"), exclusive("ssh://pi@host/a?b"):
        assert busy(["cuda1", "ssh://pi@host/a"]) == []
        assert busy(["cpu", "cuda0", "ssh://pi@host/a?b"]) == ["cpu", "cuda0", "ssh://pi@host/a?b"]


def test_a_training_elsewhere_loads_the_cpu_too() -> None:
    with shared("cuda0"):
        assert busy(["cpu", "cuda0", "cuda1"]) == ["cpu", "cuda0"]
    assert busy(["cpu", "cuda0"]) == []


def test_a_measurement_is_not_starved_by_trainings_that_never_stop() -> None:
    with running(GREEDY) as one, running(GREEDY) as two:
        assert (next_line(one), next_line(two)) == ("ready", "ready")
        for _ in range(3):
            with exclusive("cpu"):  # one of them holds it at any time
                pass
        assert (one.poll(), two.poll()) == (None, None)


def test_trainings_continue_between_measurements() -> None:
    with running(MEASURING) as other:
        assert next_line(other) == "ready"
        for _ in range(3):
            with shared():
                pass


def test_a_killed_holder_frees_its_device() -> None:
    for how in ("exclusive", "shared"):
        with holding(how, "cpu") as other:
            assert busy(["cpu"]) == ["cpu"]
            os.kill(other.pid, signal.SIGKILL)
            other.wait()
            with exclusive("cpu"):
                pass


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_in_the_block_frees_the_device(error: type[BaseException]) -> None:
    for lease in (exclusive("cpu"), shared("cuda0")):
        with pytest.raises(error), lease:
            raise error
    assert busy(["cpu", "cuda0"]) == []


def test_a_measurement_that_gave_up_is_not_in_the_way() -> None:
    with holding("shared"):
        assert not entered("cpu")
        with shared():
            pass


def test_every_user_of_the_machine_may_use_the_files(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        with exclusive("cpu"), exclusive("ssh://pi"):
            pass
    finally:
        os.umask(before)
    assert lease_file("cpu") == folder / "cpu.lock"
    assert lease_file("ssh://pi").parent == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777
    files = sorted(folder.glob("*.lock"))
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o666}


def test_a_name_of_a_device_stays_in_the_folder(folder: Path) -> None:
    for name in ("../../x", "ssh://pi@host/a", "a/b", "", ".", "cuda:0"):
        file = lease_file(name)
        assert file.parent == folder
        assert file.resolve().parent == folder.resolve()
    assert lease_file("a/b") != lease_file("a/c")


def test_a_planted_link_makes_no_file_elsewhere(tmp_path: Path) -> None:
    folder = lease_file("cpu").parent
    (folder / "cuda0.lock").symlink_to(tmp_path / "planted")
    lease_file("cuda0")
    assert not (tmp_path / "planted").exists()


def waits_of(device: str, other: "subprocess.Popen[str]") -> list[Wait | Measuring | None]:
    """Wait for a device until the second report, then let the other process release it; returns all reports."""
    reports: list[Wait | Measuring | None] = []

    def report(wait: Wait | Measuring | None) -> None:
        reports.append(wait)
        if len(reports) == 2:
            other.communicate()

    with reporting(report), exclusive(device):
        pass
    return reports


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report waits every 50 ms."""
    monkeypatch.setattr("search.latency.lease.REPORT_S", 0.05)


@pytest.mark.usefixtures("often")
def test_a_wait_names_the_process_that_measures() -> None:
    began = time.time()
    with holding("exclusive", "cpu") as other:
        first, *_, last = waits_of("cpu", other)
        assert isinstance(first, Wait)
        assert first.device == "cpu"
        assert first.holder is not None
        assert first.holder.pid == other.pid
        assert began <= first.holder.since <= time.time()
        assert last is None
    assert holder("cpu") is None


@pytest.mark.usefixtures("often")
def test_a_wait_for_trainings_names_nobody() -> None:
    with holding("shared") as other:
        assert set(waits_of("cpu", other)) == {Wait("cpu", None), None}


@pytest.mark.usefixtures("often")
def test_trainings_report_their_wait() -> None:
    reports: list[Wait | Measuring | None] = []

    def give_up(wait: Wait | Measuring | None) -> None:
        reports.append(wait)
        raise KeyboardInterrupt

    with holding("exclusive", "cpu") as other, reporting(give_up), pytest.raises(KeyboardInterrupt), shared():
        pass
    (wait,) = reports
    assert isinstance(wait, Wait)
    assert wait.holder is not None
    assert wait.holder.pid == other.pid


def test_a_short_wait_is_not_reported() -> None:
    reports: list[Wait | Measuring | None] = []
    with holding("exclusive", "cpu") as other, reporting(reports.append):
        other.communicate()
        with exclusive("cpu"):
            pass
    assert reports == []


def test_a_killed_holder_is_not_named() -> None:
    with holding("exclusive", "cpu") as other:
        assert holder("cpu") is not None
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert holder("cpu") is None
        with exclusive("cpu"):
            found = holder("cpu")
            assert found is not None
            assert found.pid == os.getpid()


def test_a_forked_child_does_not_remove_the_record() -> None:
    program = (
        "import os\n"
        "with lease.exclusive('cpu'):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        sys.exit()\n"
        "    os.waitpid(child, 0)\n"
        "    print(lease.holder('cpu').pid == os.getpid(), flush=True)\n"
    )
    with running(program) as other:
        assert next_line(other) == "True"


@pytest.mark.parametrize("text", ["", "nonsense", "[" * 1000, "{}", '{"pid": -1, "since": 1.0}', '{"pid": 1e9}', "5"])
def test_a_malformed_record_names_nobody(folder: Path, text: str) -> None:
    lease_file("cpu")
    (folder / "cpu.holder").write_text(text)
    assert holder("cpu") is None


def test_a_planted_pipe_or_link_is_not_read(folder: Path, tmp_path: Path) -> None:
    lease_file("cpu")
    os.mkfifo(folder / "cpu.holder")
    assert holder("cpu") is None
    (folder / "cpu.holder").unlink()
    own = tmp_path / "own"
    own.write_text(f'{{"pid": {os.getpid()}, "since": 1.0}}')
    (folder / "cpu.holder").symlink_to(own)
    assert holder("cpu") is None
    with exclusive("cpu"):
        assert holder("cpu") is not None
    assert own.exists()


def test_every_user_may_read_the_record(folder: Path) -> None:
    with exclusive("cpu"):
        assert stat.S_IMODE((folder / "cpu.holder").stat().st_mode) == 0o644
    assert sorted(file.name for file in folder.iterdir()) == ["cpu.lock"]


def test_a_device_can_be_measured_without_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> tuple[int, str]:
        raise OSError("No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with exclusive("cpu"):
        assert holder("cpu") is None
        assert busy(["cpu"]) == ["cpu"]
