"""The probe: statistics in closed form, the timed loop with a fake clock, and the facts about a machine."""

import ast
import fcntl
import gc
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from search_tests.leases import next_line, other
from search_tests.onnx_conv import conv_file

from search.latency.probes import probe
from search.latency.probes.probe import (
    MIN_CYCLES,
    MIN_WARMUP_RUNS,
    Loaded,
    about,
    counted_times,
    host_timer,
    least_disturbed_cycles,
    load_onnxruntime,
    lost_processor,
    machine_state,
    median_interval,
    one_thread_clock,
    others_s,
    precise,
    present,
    processor_name,
    quota_throttled,
    raise_priority,
    ratio_interval,
    round_medians,
    session_options,
    take,
    usable_processors,
    warm_up,
)

PLAN = {"round_runs": 20, "discard": 4, "min_cycles": 6, "min_s": 0.0, "max_s": 0.0, "tolerance": 0.02}
SETTINGS = {"batch": 1, "input_size": 8, "threads": 1}
ROOT = Path(__file__).resolve().parents[4]


class Machine:
    """A machine whose clock advances only with runs, network n taking times[n](log); `log` lists the networks."""

    def __init__(self, *times: Callable[["Machine"], float]) -> None:
        self.now_ms, self.log = 0.0, ""
        self.timers = [self._timer(str(number), time) for number, time in enumerate(times)]

    def _timer(self, name: str, time: Callable[["Machine"], float]) -> Callable[[], float]:
        def timer() -> float:
            milliseconds = time(self)
            self.now_ms += milliseconds
            self.log += name
            return milliseconds

        return timer

    def __call__(self) -> float:
        return self.now_ms / 1e3

    def take(self, **plan: float) -> tuple[list[list[list[float]]], str]:
        wall, cpu, ended = take(self.timers, PLAN | plan, self)
        assert cpu is None
        return wall, ended


def steady(milliseconds: float) -> Callable[[Machine], float]:
    return lambda machine: milliseconds


class Clock:
    """A clock in nanoseconds that only the runs move: run number i takes the i-th of millis, the last one for ever."""

    def __init__(self, *millis: float) -> None:
        self.now, self.runs, self.millis = 0, 0, millis
        self.timer = host_timer(self.run, self)

    def __call__(self) -> int:
        return self.now

    def run(self) -> None:
        self.now += round(self.millis[min(self.runs, len(self.millis) - 1)] * 1e6)
        self.runs += 1


class Shared:
    """A processor that another process shares: every third run takes 5 ms more, in which it has no CPU time."""

    def __init__(self, milliseconds: float) -> None:
        self.milliseconds, self.runs, self.cpu_ns, self.now_s = milliseconds, 0, 0, 0.0

    def timer(self) -> float:
        self.runs += 1
        self.cpu_ns += round(self.milliseconds * 1e6)
        lost = 5.0 if self.runs % 3 == 0 else 0.0
        self.now_s += (self.milliseconds + lost) / 1e3
        return self.milliseconds + lost

    def take(self) -> tuple[list[list[list[float]]], list[list[list[float]]] | None, str]:
        return take([self.timer], PLAN, lambda: self.now_s, lambda: self.cpu_ns)


# The clock


def test_the_cpu_time_of_every_run_is_recorded() -> None:
    wall, cpu, ended = Shared(2.0).take()
    assert cpu is not None
    assert {ms for cycle in cpu[0] for ms in cycle} == {2.0}
    assert {ms for cycle in wall[0] for ms in cycle} == {2.0, 7.0}
    assert ended == "precise"
    assert counted_times(wall, cpu).tolist() == cpu


def test_wall_times_count_where_the_clocks_agree() -> None:
    assert counted_times([[2.0, 2.01, 0.2]], [[1.99, 2.0, 0.19]]).tolist() == [[2.0, 2.01, 0.2]]
    assert lost_processor([2.0, 2.03, 0.2, 0.23], [1.99, 2.0, 0.19, 0.2]).tolist() == [False, True, False, True]
    assert counted_times([1.0, 9.0], None).tolist() == [1.0, 9.0]


def test_several_threads_have_no_cpu_clock() -> None:
    assert one_thread_clock({"threads": 2}) is None
    assert one_thread_clock({"threads": 1}) is not None


def test_a_clock_that_advances_in_long_steps_is_not_used() -> None:
    assert one_thread_clock({"threads": 1}, lambda: time.monotonic_ns() // 1_000_000 * 1_000_000) is None


def test_the_priority_is_raised_as_far_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    def allow(least: int) -> Callable[[int, int, int], None]:
        def set_priority(which: int, who: int, priority: int) -> None:
            if priority < least:
                raise PermissionError
            given.append(priority)

        return set_priority

    monkeypatch.setattr(os, "getpriority", lambda which, who: 3)
    for least in (-20, -5, 4):
        monkeypatch.setattr(os, "setpriority", allow(least))
        assert raise_priority() == (least if least < 3 else 3)
    assert given == [-20, -5]


# Statistics


@pytest.mark.parametrize(
    ("n", "ranks"),
    # the tabulated ranks of the 95 % interval (binomial, n = 6: 1 and 6; 10: 2 and 9; 20: 6 and 15; 100: 40 and 61)
    [(1, (1, 1)), (5, (1, 5)), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)), (20, (6, 15)), (100, (40, 61))],
)
def test_interval_ranks_are_the_tabulated_ones(n: int, ranks: tuple[float, float]) -> None:
    shuffled = np.random.default_rng(n).permutation(np.arange(1.0, n + 1)).tolist()
    assert median_interval(shuffled) == ranks


@pytest.mark.parametrize("n", [16, 75])
def test_interval_covers_the_median_of_a_skewed_distribution(n: int) -> None:
    draws = np.random.default_rng(0).lognormal(0.0, 1.0, (2000, n))  # median 1
    covered = np.mean([low <= 1.0 <= high for low, high in map(median_interval, draws.tolist())])
    assert 0.94 <= covered <= 0.985  # at least 95 % by construction; ranks are integers, so a little more


def test_the_median_of_a_round_is_robust() -> None:
    rounds = [[[1.0, 2.0, 900.0], [3.0, 3.0, 3.0]], [[4.0, 6.0, 5.0], [7.0, 8.0, 9.0]]]
    assert round_medians(rounds).tolist() == [[2.0, 3.0], [5.0, 8.0]]


MEDIANS = st.tuples(st.integers(1, 3), st.integers(6, 40)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(0.01, 100.0))
)


@given(MEDIANS)
def test_the_least_disturbed_third_of_the_cycles_counts(medians: NDArray[np.float64]) -> None:
    cycles = medians.shape[1]
    kept = least_disturbed_cycles(medians).tolist()
    assert kept == sorted(set(kept))
    assert set(kept) <= set(range(cycles))
    assert len(kept) >= MIN_CYCLES
    assert len(kept) == pytest.approx(max(MIN_CYCLES, cycles / 3), abs=1)
    loudness = np.log(medians).sum(axis=0)
    dropped = np.delete(loudness, kept)
    assert not len(dropped) or loudness[kept].max() <= dropped.min()


@given(st.data(), st.integers(18, 60), st.floats(0.1, 50.0), st.floats(0.1, 50.0))
def test_interference_in_two_thirds_of_the_cycles_changes_the_ratio_not_at_all(
    data: st.DataObject, cycles: int, reference_ms: float, network_ms: float
) -> None:
    clean = np.outer((reference_ms, network_ms), np.ones(cycles))
    spared = max(MIN_CYCLES, round(cycles / 3) + 1)
    order = data.draw(st.permutations(range(cycles)))
    extra = data.draw(arrays(np.float64, clean.shape, elements=st.floats(0.001, 10.0)))
    extra[:, order[:spared]] = 0.0
    for network in (0, 1):
        assert ratio_interval(clean * (1 + extra), network) == ratio_interval(clean, network)


def test_loud_interference_leaves_the_very_cycles_that_it_spared() -> None:
    rng = np.random.default_rng(0)
    noisy = rng.lognormal(0.0, 0.02, (2, 30))
    spared = np.sort(rng.permutation(30)[:10])
    loud = noisy * 3
    loud[:, spared] = noisy[:, spared]
    assert least_disturbed_cycles(loud).tolist() == spared.tolist()
    assert ratio_interval(loud, 1)[0] == np.median(noisy[1, spared] / noisy[0, spared])


@pytest.mark.parametrize("cycles", [6, 18, 30, 60])
@pytest.mark.parametrize("skew", [0.0, 0.5], ids=["noise in each round", "interference in most cycles"])
def test_the_interval_covers_the_true_ratio(cycles: int, skew: float) -> None:
    rng = np.random.default_rng(cycles)
    covered = []
    for _ in range(1000):
        shared = np.exp(skew * rng.exponential(size=cycles))  # a neighbour slows down both networks of a cycle
        medians = np.outer((2.0, 3.0), shared) * rng.lognormal(0.0, 0.03, (2, cycles))
        middle, low, high = ratio_interval(medians, 1)
        assert low <= middle <= high
        covered.append(low <= 1.5 <= high)
    assert np.mean(covered) >= 0.93


def test_of_the_reference_itself_the_interval_is_in_milliseconds() -> None:
    medians = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0] * 6])
    assert ratio_interval(medians, 0) == (3.5, 1.0, 6.0)
    assert ratio_interval(medians, 1) == pytest.approx(((2 / 3 + 2 / 4) / 2, 2 / 6, 2.0))


@pytest.mark.parametrize(
    ("medians", "tolerance", "expected"),
    [
        ([[1.0] * 6], 0.0, True),
        ([[1.0] * 6, [3.0] * 6], 0.0, True),
        ([[1.0, 2.0] * 3, [3.0, 6.0] * 3], 0.0, True),  # the ratio counts, not the latency
        ([[1.0, 2.0] * 3], 0.1, False),  # alone, the latency itself
        ([[1.0] * 6, [1.0] * 5 + [1.01]], 0.02, True),
        ([[1.0] * 6, [1.0] * 5 + [1.03]], 0.02, False),  # above
        ([[1.0] * 6, [1.0] * 5 + [0.97]], 0.02, False),  # below
        ([[1.0] * 6, [1.0] * 6, [1.0] * 5 + [1.03]], 0.02, False),  # any of several
    ],
)
def test_precise_means_every_ratio(medians: list[list[float]], tolerance: float, expected: bool) -> None:
    assert precise(np.array(medians), tolerance) is expected


# The timed loop


def test_rounds_go_there_and_back() -> None:
    machine = Machine(steady(1.0), steady(2.0), steady(3.0))
    rounds, _ = machine.take(round_runs=2, discard=1)
    assert machine.log == "001122221100001122221100001122221100"
    assert rounds == [[[1.0]] * 6, [[2.0]] * 6, [[3.0]] * 6]


def test_the_first_runs_of_a_round_do_not_count() -> None:
    machine = Machine(lambda machine: 50.0 + len(machine.log), steady(7.0))
    rounds, _ = machine.take(round_runs=5, discard=2)
    assert rounds[0][:2] == [[52.0, 53.0, 54.0], [67.0, 68.0, 69.0]]  # runs 0 to 4, then 15 to 19 after network 1's
    assert [len(one) for network in rounds for one in network] == [3] * 12


def test_caches_that_others_filled_do_not_show() -> None:
    """A network's first runs after another's are slow, as its data are no longer in the cache."""

    def cold(milliseconds: float, name: str) -> Callable[[Machine], float]:
        return lambda machine: milliseconds * (1 if machine.log.endswith(name * 3) else 1.5)

    machine = Machine(cold(1.0, "0"), cold(2.0, "1"))
    rounds, ended = machine.take()
    assert ended == "precise"
    assert ratio_interval(round_medians(rounds), 1) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(("min_s", "cycles"), [(0.0, 6), (0.99, 25), (0.1, 6)])
def test_it_ends_as_soon_as_it_is_precise_but_not_before_min_s_and_six_cycles(min_s: float, cycles: int) -> None:
    machine = Machine(steady(1.0), steady(1.0))  # 40 ms a cycle
    rounds, ended = machine.take(min_s=min_s, max_s=100.0)
    assert (len(rounds[0]), len(rounds[1]), ended) == (cycles, cycles, "precise")


@pytest.mark.parametrize(("max_s", "cycles"), [(0.0, 6), (0.1, 6), (0.99, 25)])
def test_it_ends_when_time_is_up_but_not_before_six_cycles(max_s: float, cycles: int) -> None:
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.1, 0.1, 1000)  # of a cycle; a cycle takes 40 ms all the same
    machine = Machine(
        lambda machine: 1.0 + noise[len(machine.log) // 40], lambda machine: 1.0 - noise[len(machine.log) // 40]
    )
    rounds, ended = machine.take(max_s=max_s)
    assert (len(rounds[0]), len(rounds[1]), ended) == (cycles, cycles, "time")


@pytest.mark.parametrize("cycles", [6, 7, 12, 18, 21, 36])
@pytest.mark.parametrize("drift", [0.01, -0.01])
def test_a_drift_cancels(cycles: int, drift: float) -> None:
    """The machine gets slower, or faster, by 1 % of its first speed with each cycle."""

    def drifting(milliseconds: float) -> Callable[[Machine], float]:
        return lambda machine: milliseconds * (1 + drift * len(machine.log) / 40)

    machine = Machine(drifting(1.0), drifting(3.0))
    rounds, _ = machine.take(min_s=cycles * 0.08 * 1.2, tolerance=100.0)
    medians = round_medians(rounds)[:, :cycles]
    assert medians.shape[1] == cycles
    assert ratio_interval(medians, 1)[0] == pytest.approx(3.0, rel=0.002)


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_off_in_the_loop_and_as_before_after_it(enabled: bool) -> None:
    before, seen = gc.isenabled(), []

    def look() -> float:
        seen.append(gc.isenabled())
        return 1.0

    def fail() -> float:
        raise ZeroDivisionError

    try:
        (gc.enable if enabled else gc.disable)()
        take([look], PLAN)
        after = gc.isenabled()
        with pytest.raises(ZeroDivisionError):
            take([fail], PLAN)
        after_error = gc.isenabled()
    finally:
        (gc.enable if before else gc.disable)()
    assert set(seen) == {False}
    assert (after, after_error) == (enabled, enabled)


def test_the_hosts_timer_tells_milliseconds() -> None:
    clock = Clock(3.0, 0.25)
    assert [clock.timer(), clock.timer(), clock.timer()] == [3.0, 0.25, 0.25]


def test_a_steady_warm_up_lasts_its_time_and_its_least_runs() -> None:
    clock = Clock(10.0)
    assert warm_up(clock.timer, 0.3)
    assert clock.runs == 30
    for warmup_s, slow in ((0.3, Clock(1000.0)), (0.0, Clock(1.0))):
        assert warm_up(slow.timer, warmup_s)
        assert slow.runs == MIN_WARMUP_RUNS


def test_a_warm_up_lasts_until_the_runs_are_steady() -> None:
    clock = Clock(*[20.0] * 13, 10.0)  # at 0.3 s, run 17, the change lies between the middle and the last third
    assert warm_up(clock.timer, 0.3)
    assert 24 <= clock.runs <= 30  # until it lies before the middle of the middle third


def test_a_warm_up_that_never_settles_is_given_up_and_says_so() -> None:
    clock = Clock(*[10 * 1.05**n for n in range(500)])
    assert not warm_up(clock.timer, 0.3)
    assert 1.2e9 <= clock.now <= 1.4e9


# What the machine tells


def sys_tree(root: Path, files: dict[str, str]) -> Path:
    """A made-up /sys."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Make shell scripts the only commands there are."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


CPUFREQ = "devices/system/cpu/cpu0/cpufreq"


GPU = {"gpu_others_percent": None}  # only the probe of a GPU reports it


def test_the_state_is_what_the_files_and_vcgencmd_say(tmp_path: Path, commands: Callable[[str, str], None]) -> None:
    commands("vcgencmd", '[ "$1" = get_throttled ] && echo throttled=0x50005')
    root = sys_tree(
        tmp_path / "sys",
        {
            "class/thermal/thermal_zone0/temp": "0\n",  # an unused sensor
            "class/thermal/thermal_zone1/temp": "48250\n",
            "class/thermal/thermal_zone2/temp": "60000\n",
            f"{CPUFREQ}/scaling_cur_freq": "1500000\n",
            f"{CPUFREQ}/scaling_governor": "ondemand\n",
        },
    )
    state = machine_state(root)
    assert state.pop("load") == pytest.approx(os.getloadavg()[0], abs=0.5)
    assert state.pop("quota_throttled") == quota_throttled()
    expected = {"temperature_c": 48.25, "clock_mhz": 1500.0, "governor": "ondemand", "throttled": 0x50005}
    assert state == expected | GPU


@pytest.mark.usefixtures("commands")
def test_without_files_and_commands_the_state_is_unknown_except_for_the_load(tmp_path: Path) -> None:
    state = machine_state(tmp_path)
    assert state.pop("load") >= 0
    del state["quota_throttled"]
    assert state == dict.fromkeys(("temperature_c", "clock_mhz", "governor", "throttled", "gpu_others_percent"))


def test_nonsense_in_files_and_from_vcgencmd_is_unknown(tmp_path: Path, commands: Callable[[str, str], None]) -> None:
    nonsense = {"class/thermal/thermal_zone0/temp": "hot\n", f"{CPUFREQ}/scaling_cur_freq": "\n"}
    nonsense |= {f"{CPUFREQ}/scaling_governor": " \n"}
    for script in ("echo VCHI initialization failed", "exit 1", "echo throttled="):
        commands("vcgencmd", script)
        state = machine_state(sys_tree(tmp_path, nonsense))
        del state["load"], state["quota_throttled"]
        assert set(state.values()) == {None}


def container(root: Path, **files: str) -> Path:
    """A file system whose process is in the control group /a/b; `files` are the contents of cpu.max and cpu.stat."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("0::/a/b\n")
    for name, content in files.items():
        depth, _, kind = name.partition("_")
        folder = root / "sys/fs/cgroup" / {"top": "", "a": "a", "ab": "a/b"}[depth]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"cpu.{kind}").write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({}, 1024),
        ({"ab_max": "max 100000"}, 1024),
        ({"ab_max": "200000 100000"}, 2),
        ({"ab_max": "150000 100000"}, 2),
        ({"ab_max": "20000 100000"}, 1),
        ({"ab_max": "max 100000", "a_max": "300000 100000"}, 3),
        ({"ab_max": "400000 100000", "top_max": "300000 100000"}, 3),
        ({"ab_max": "nonsense"}, 1024),
        ({"ab_max": "200000 0"}, 1024),
    ],
)
def test_a_quota_limits_the_processors(
    files: dict[str, str], processors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(1024), raising=False)
    assert usable_processors(container(tmp_path, **files)) == processors


def test_the_periods_in_which_a_quota_stopped_the_process_are_counted(tmp_path: Path) -> None:
    stat = "usage_usec 100\nnr_periods 9\nnr_throttled {}\nthrottled_usec 5\n"
    assert quota_throttled(container(tmp_path, ab_stat=stat.format(3), a_stat=stat.format(4), top_stat="x\n")) == 7


def test_without_control_groups_no_quota_is_known(tmp_path: Path) -> None:
    assert quota_throttled(tmp_path) is None
    assert others_s(tmp_path) is None


def test_the_cpu_time_of_other_processes_is_that_of_the_machine_without_ours(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    tick = os.sysconf("SC_CLK_TCK")
    idle, waiting = 10**6, 10**5
    words = [7 * tick, tick, tick, idle, waiting, tick, tick, tick, 0, 0]
    (tmp_path / "proc/stat").write_text(f"cpu  {' '.join(map(str, words))}\ncpu0 1 2 3\n")
    assert others_s(tmp_path) == pytest.approx(12 - time.process_time(), abs=0.5)


def test_about_reports_the_facts_of_a_machine() -> None:
    facts = json.loads(json.dumps(about()))
    assert facts["python"] == platform.python_version()
    assert facts["versions"] == {"numpy": np.__version__, "onnxruntime": onnxruntime.__version__}
    assert facts["bits"] in (32, 64)
    assert (facts["processor"], facts["processors"]) == (processor_name(), usable_processors())
    assert facts["state"].keys() == machine_state().keys()
    assert facts.keys() == {"python", "machine", "bits", "processor", "processors", "versions", "free_mib", "state"}


def test_a_runtime_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.metadata.version

    def version(package: str) -> str:
        if package == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(package)
        return known(package)

    monkeypatch.setattr("importlib.metadata.version", version)
    assert about()["versions"] == {"numpy": np.__version__, "onnxruntime": None}


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no /proc/cpuinfo")
def test_the_processor_is_named_by_cpuinfo(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Abacus 9\nprocessor\t: 1\nmodel name\t: Abacus 9\n")
    assert processor_name(info) == "Abacus 9"
    info.write_text("processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n")
    assert processor_name(info) == "Raspberry Pi 4 Model B Rev 1.4"
    info.write_text("processor\t: 0\n")
    assert processor_name(info) == platform.machine()


def test_processors_that_this_process_may_not_use_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert usable_processors() == 2


# Files


def test_a_file_is_present_once_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(1000)
    name = f"{hashlib.sha256(content).hexdigest()}.onnx"
    absent = f"{hashlib.sha256(b'other').hexdigest()}.onnx"
    assert present(str(tmp_path / "nowhere"), [name]) == []
    (tmp_path / name).write_bytes(content[:-1])
    assert present(str(tmp_path), [name, absent]) == []
    (tmp_path / name).write_bytes(content)
    assert present(str(tmp_path), [absent, name]) == [name]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert present("~", [name]) == [name]
    (tmp_path / name).write_bytes(content[:-1] + b"?" + content[-1:])
    (tmp_path / absent).mkdir()
    assert present(str(tmp_path), [name, absent]) == []


def test_one_measurement_at_a_time_holds_the_lock_file(tmp_path: Path) -> None:
    file = tmp_path / "measuring.lock"
    program = "from search.latency.probes.probe import leased\nwith leased(sys.argv[1]): print('held', flush=True)"
    with file.open("w") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        with other(program, str(file)) as waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(timeout=0.7)
            fcntl.flock(mine, fcntl.LOCK_UN)
            assert next_line(waiting) == "held"
        assert waiting.returncode == 0
    with probe.leased(str(file)), file.open("w") as mine, pytest.raises(BlockingIOError):
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with file.open("w") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free after the block


def test_without_a_lock_file_none_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with probe.leased(""):
        assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="lock"), probe.leased(str(tmp_path / "lock")):
        pass
    assert not (tmp_path / "victim").exists()


# ONNX files


def loaded(*paths: Path, **settings: int) -> tuple[Loaded, list[float]]:
    """The files, loaded and run once each; in a thread of its own, which alone then takes denormals for zero."""

    def load() -> tuple[Loaded, list[float]]:
        ready = load_onnxruntime([str(path) for path in paths], SETTINGS | settings)
        return ready, [timer() for timer in ready.timers]

    with ThreadPoolExecutor(1) as apart:
        return apart.submit(load).result()


def refusal(*paths: Path, **settings: int) -> str:
    with pytest.raises(ValueError, match=r"\.onnx") as caught:
        loaded(*paths, **settings)
    return str(caught.value)


def test_loading_apart_leaves_the_denormals_of_the_tests_alone(tmp_path: Path) -> None:
    loaded(conv_file(tmp_path / "a.onnx"))
    assert np.float32(1e-38) / np.float32(10) > 0  # Hypothesis, among others, insists


def test_onnx_files_are_loaded_in_their_order(tmp_path: Path) -> None:
    ready, times = loaded(*(conv_file(tmp_path / name, size=8) for name in ("a.onnx", "b.onnx")))
    assert (len(times), ready.notes) == (2, [])
    assert min(times) > 0
    assert (ready.runtime_version, ready.processor) == (onnxruntime.__version__, processor_name())
    assert ready.state().keys() == machine_state().keys()


def test_a_file_that_takes_something_else_is_refused(tmp_path: Path) -> None:
    fine, wide = conv_file(tmp_path / "fine.onnx"), conv_file(tmp_path / "wide.onnx", size=16)
    assert refusal(fine, wide).endswith("wide.onnx has an input of shape [1, 3, 16, 16], must be [1, 3, 8, 8]")
    assert refusal(fine, batch=2).endswith("fine.onnx has an input of shape [1, 3, 8, 8], must be [2, 3, 8, 8]")
    double = conv_file(tmp_path / "double.onnx", dtype=np.float64)
    assert re.search(r"double\.onnx has the inputs .*tensor\(double\).*, must have one of float32", refusal(double))
    pair = conv_file(tmp_path / "pair.onnx", inputs=2)
    assert re.search(r"pair\.onnx has the inputs .*x0.*x1.*, must have one of float32", refusal(pair))


def test_a_free_batch_is_measured_with_a_note(tmp_path: Path) -> None:
    free = conv_file(tmp_path / "free.onnx", batch="n")
    ready, (milliseconds,) = loaded(free, batch=3)
    assert ready.notes == ["dynamic shape: free.onnx has a dynamic batch size, a static one may be faster"]
    assert milliseconds > 0
    twice, _ = loaded(free, free, batch=3)  # e.g. in memory and from a JPEG
    assert twice.notes == ready.notes


def test_what_is_no_onnx_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a protobuf")
    with pytest.raises(Exception, match=r"broken\.onnx"):
        loaded(tmp_path / "broken.onnx")


def test_untrained_networks_do_not_pay_for_denormals_and_threads_are_fixed() -> None:
    options = session_options(3)
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


# The program


def test_the_probe_runs_on_python_3_9_without_this_project() -> None:
    tree = ast.parse(Path(str(probe.__file__)).read_text(), feature_version=(3, 9))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy", "onnxruntime", "PIL"}


def test_the_probe_and_the_records_load_no_torch() -> None:
    modules = ("probes.probe", "protocol", "reading", "lease", "conversation")
    program = f"import sys, threshnet.strict, {', '.join(f'search.latency.{name}' for name in modules)}\n"
    program += "print(sorted({'torch', 'optuna', 'pandas', 'scipy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def served(*commands: object) -> list[Any]:
    """The replies of the probe, in its own process, to commands."""
    program = [sys.executable, str(probe.__file__), "token"]  # as a file, as on a remote host
    answers = []
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        for command in commands:
            process.stdin.write(f"{json.dumps(command)}\n")
            process.stdin.flush()
            marked = (json.loads(line.removeprefix("token ")) for line in process.stdout if line.startswith("token "))
            answers.append(next(message for message in marked if not message.keys() & {"progress", "waiting"}))
        process.stdin.close()
    return answers


def test_the_program_answers_command_by_command(tmp_path: Path) -> None:
    model = str(conv_file(tmp_path / "conv.onnx"))
    plan = PLAN | {"order": [0], "warmup_s": 0.0, "lease": ""}
    about_machine, none, early, wrong, ready, measured, unknown, malformed = served(
        {"about": {}},
        {"present": {"folder": str(tmp_path), "names": []}},
        {"measure": plan},
        {"load": {"models": [model], "settings": SETTINGS | {"batch": 2}}},
        {"load": {"models": [model], "settings": SETTINGS}},
        {"measure": plan},
        {"shutdown": {}},
        "about",
    )
    assert about_machine["done"]["python"] == platform.python_version()
    assert none == {"done": []}
    assert early == {"failed": "ValueError: cannot measure"}
    assert "must be [2, 3, 8, 8]" in wrong["failed"]
    facts = ready["done"]
    assert facts["pid"] != os.getpid()
    assert facts["priority"] <= os.getpriority(os.PRIO_PROCESS, 0)
    assert (facts["runtime_version"], facts["notes"]) == (onnxruntime.__version__, [])
    answer = measured["done"]
    assert answer.keys() == {"rounds_ms", "cpu_ms", "switches", "others", "ended", "steady", "before", "after"}
    assert np.shape(answer["rounds_ms"]) == np.shape(answer["cpu_ms"])
    assert np.shape(answer["rounds_ms"])[0] == 1
    assert np.shape(answer["rounds_ms"])[2] == 16
    assert unknown == {"failed": "ValueError: cannot shutdown"}
    assert malformed["failed"].startswith("AttributeError")


def test_a_slow_device_says_at_once_how_long_it_takes() -> None:
    """At 2.5 s a run, six cycles of 20 runs of two networks take 10 minutes."""
    machine = Machine(steady(2500.0), steady(2500.0))
    reports: list[Mapping[str, Any]] = []
    plan = PLAN | {"order": [0, 1], "warmup_s": 0.3, "lease": ""}
    answer = probe.measure(Loaded(machine.timers, "1", state=dict), plan, reports.append, machine)
    assert np.shape(answer["rounds_ms"]) == (2, 6, 16)
    messages = [report["progress"] for report in reports]
    assert messages[0] == {"passed_s": 0.0, "expected_s": 30.0 + 600.0}
    assert {message["expected_s"] for message in messages} == {630.0}
    passed = [message["passed_s"] for message in messages]
    assert passed == [2.5 * run for run in range(len(passed))]  # after every run
    assert passed[-1] == 630.0


def test_reports_do_not_interrupt_the_rounds_of_a_fast_network() -> None:
    machine, at = Machine(steady(1.0), steady(2.0)), []
    plan = PLAN | {"order": [0, 1], "warmup_s": 0.0, "lease": "", "min_s": 5.0, "max_s": 5.0}
    probe.measure(Loaded(machine.timers, "1", state=dict), plan, lambda report: at.append(len(machine.log)), machine)
    first, *others = at
    assert first == 2  # after one run of each
    assert len(others) >= 4
    assert {(runs - first - 12) % 20 for runs in others} == {0}  # after the warm-up, only after whole rounds


def test_a_measurement_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    path = conv_file(tmp_path / "conv.onnx")
    settings = {"threads": 1, "batch": 1, "input_size": 8}
    plan = {
        "order": [0],
        "min_cycles": 6,
        "round_runs": 20,
        "discard": 4,
        "warmup_s": 0.0,
        "min_s": 600.0,
        "max_s": 600.0,
    }
    commands = [
        {"load": {"models": [str(path)], "settings": settings}},
        {"measure": plan | {"tolerance": 0, "lease": ""}},
    ]
    program = [sys.executable, "-m", "search.latency.probes.probe", "token"]
    with subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n".join(map(json.dumps, commands)) + "\n")
        process.stdin.close()
        lines = [line for line in process.stdout.read().splitlines() if line.startswith("token")]
    assert '"done"' in lines[0]
    assert "the client is gone" in lines[1]
