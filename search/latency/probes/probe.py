"""The probe: a program that loads networks, times them in rounds and reports the machine's state.

It needs Python 3.9, numpy, onnxruntime for ONNX files, and Pillow to decode a JPEG. It does not import other modules of
this project, because only this file is copied to the measured machine. It reads one JSON command per line and replies
with one line per command. The replies start with a token that is passed as an argument, so that other output is not
mistaken for a reply. Probes for other runtimes import this module and pass their own loader to `serve`.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import gc
import hashlib
import importlib.metadata
import io
import json
import math
import os
import platform
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

with contextlib.suppress(ImportError):  # if numpy is missing, "about" can still report this
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.95  # confidence level of the interval of a median
STEADY_CHANGE = 0.05  # steady: the medians of the middle and the last third of the warm-up differ by at most this share
MIN_WARMUP_RUNS = 6  # two in each third, the minimum for judging whether the latency is steady
MAX_WARMUP = 4.0  # an unsteady warm-up ends after this many times the planned time
MIN_CYCLES = 6  # the 95 % interval of a median does not exist for fewer cycles
LEASE_POLL_S = 0.1  # seconds between two tries to lock a machine that is in use by another measurement
PROVIDER = "CPUExecutionProvider"  # the execution provider of ONNX Runtime
HUNG_S = 3600  # seconds without a report after which a command is considered hung
REPORT_S = 1.0  # minimum number of seconds between two reports
SLOW_MS = 500.0  # a report may follow each run that takes longer, and each round
PRIORITY = -20  # the highest; lower ones are tried if the system does not allow it
CLOCK_TEST_S, MIN_CLOCK_STEPS = 0.002, 20  # a CPU clock must advance at least this often in this time of work
LOST_SHARE, LOST_MS = 0.01, 0.02  # a run lost the processor if its wall time exceeds its CPU time by more than both
COUNTED_SHARE = 1 / 3  # share of the cycles that are used: the least disturbed, since interference only ever adds time


Timer = Callable[[], float]  # runs a network once and returns the time in milliseconds
Rounds = Sequence[Sequence[Sequence[float]]]  # [network][cycle][run] in milliseconds
Clock = Callable[[], int]  # returns nanoseconds
Report = Callable[[Mapping[str, Any]], None]  # sends {"waiting": ...} or {"progress": ...} to the client


class Loaded:
    """Networks that are ready to run: timers in the order of the request, and facts about runtime and processor.

    `notes` contains reasons why readings may be unreliable, one line each. `state` returns the state of the machine.
    `cpu_clock` returns the CPU time of the runs, None if it may differ from their wall time on an idle machine, e.g.
    for several threads or for a GPU.
    """

    def __init__(
        self,
        timers: Iterable[Timer],
        runtime_version: str,
        processor: str = "",
        notes: Iterable[str] = (),
        state: Callable[[], dict[str, Any]] | None = None,
        cpu_clock: Clock | None = None,
    ) -> None:
        self.timers = list(timers)
        self.runtime_version = runtime_version
        self.processor = processor or processor_name()
        self.notes = list(notes)
        self.state = state or machine_state
        self.cpu_clock = cpu_clock


def median_interval(values: Iterable[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median of n values, whatever their distribution.

    It is [x_(k), x_(n+1-k)] with the largest k for which P(Binomial(n, 1/2) < k) <= 2.5 % (Conover, Practical
    Nonparametric Statistics, 3rd ed., section 3.2). If n < 6, there is no such interval, and the minimum and maximum
    are returned.
    """
    ordered = sorted(values)
    n = len(ordered)
    k, tail, mass = 0, 0, 1  # tail: 2^n P(Binomial < k), mass: 2^n P(Binomial = k), exact integers
    while (tail + mass) / (1 << n) <= (1 - CONFIDENCE) / 2:
        tail += mass
        mass = mass * (n - k) // (k + 1)
        k += 1
    return ordered[max(k, 1) - 1], ordered[n - max(k, 1)]


def lost_processor(wall_ms: Any, cpu_ms: Any) -> Any:  # noqa: ANN401 - arrays of any shape
    """Return for each run whether it lost the processor to another process.

    The wall time of such a run contains the time of the other process; its CPU time does not.
    """
    wall, cpu = np.asarray(wall_ms), np.asarray(cpu_ms)
    return wall - cpu > np.maximum(LOST_SHARE * wall, LOST_MS)


def counted_times(wall_ms: Any, cpu_ms: Any) -> Any:  # noqa: ANN401 - arrays of any shape
    """Return the times that count: wall times, but the CPU times of runs that lost the processor.

    On an idle machine, the two agree. With `cpu_ms` None, the wall times are returned.
    """
    wall = np.asarray(wall_ms)
    return wall if cpu_ms is None else np.where(lost_processor(wall, cpu_ms), cpu_ms, wall)


def one_thread_clock(settings: Mapping[str, Any], clock: Clock = time.process_time_ns) -> Clock | None:
    """Return the CPU clock for networks that run in one thread, None for more threads or if the clock is too coarse.

    In some sandboxes and emulators, the CPU time advances in steps that are longer than a run.
    """
    if settings["threads"] != 1:
        return None
    seen, until = set[int](), time.perf_counter() + CLOCK_TEST_S
    while time.perf_counter() < until:
        seen.add(clock())
    return clock if len(seen) >= MIN_CLOCK_STEPS else None


def round_medians(rounds: Any) -> NDArray[np.float64]:  # noqa: ANN401 - Rounds or an array of this shape
    """Return the medians (networks, cycles) in ms of rounds[network][cycle][run]."""
    return np.array([[np.median(one) for one in network] for network in rounds])


def least_disturbed_cycles(medians: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the least-disturbed third of the cycles, at least MIN_CYCLES.

    `medians` (networks, cycles) is in ms. The disturbance of a cycle is the sum of the log times of all its networks.
    On a machine that drifts, the first or last cycles are selected. The number of selected cycles is even, so that as
    many cycles run forwards as backwards.
    """
    disturbance = np.log(medians).sum(axis=0)
    counted = max(MIN_CYCLES, 2 * round(len(disturbance) * COUNTED_SHARE / 2))
    return np.sort(np.argsort(disturbance, kind="stable")[:counted])


def ratio_interval(medians: NDArray[np.float64], network: int) -> tuple[float, float, float]:
    """Return (median, low, high) of the latency ratio of a network to network 0 over the least-disturbed cycles.

    For network 0 itself, the result is (median, low, high) of its latency in ms.
    """
    counted = medians[:, least_disturbed_cycles(medians)]
    values = counted[network] / counted[0] if network else counted[0]
    low, high = median_interval(values.tolist())
    return float(np.median(values)), low, high


def precise(medians: NDArray[np.float64], tolerance: float) -> bool:
    """Return whether all ratios to network 0 (the latency of a single network) are known to within `tolerance`."""
    for network in range(1, len(medians)) if len(medians) > 1 else (0,):
        middle, low, high = ratio_interval(medians, network)
        if max(high / middle - 1, 1 - low / middle) > tolerance:
            return False
    return True


def host_timer(run: Callable[[], object], clock: Callable[[], int] = time.perf_counter_ns) -> Timer:
    """Create a timer for one call of `run`, in milliseconds; `clock` returns nanoseconds."""

    def timer() -> float:
        start = clock()
        run()
        return (clock() - start) / 1e6

    return timer


def warm_up(timer: Timer, warmup_s: float) -> bool:
    """Run a network until its latency is steady; returns False if it is unsteady after MAX_WARMUP * warmup_s.

    The warm-up takes at least MIN_WARMUP_RUNS runs and at least warmup_s seconds. STEADY_CHANGE defines steady.
    """
    samples: list[float] = []
    passed = 0.0
    while True:
        samples.append(timer())
        passed += samples[-1] / 1e3
        if len(samples) < MIN_WARMUP_RUNS or passed < warmup_s:
            continue
        third = len(samples) // 3
        middle, last = np.median(samples[-2 * third : -third]), np.median(samples[-third:])
        if abs(last - middle) <= STEADY_CHANGE * middle:
            return True
        if passed >= MAX_WARMUP * warmup_s:
            return False


def take(
    timers: Sequence[Timer],
    plan: Mapping[str, Any],
    clock: Callable[[], float] = time.monotonic,
    cpu_clock: Clock | None = None,
) -> tuple[list[list[list[float]]], list[list[list[float]]] | None, str]:
    """Time the networks in rounds and return (wall times, CPU times, "precise" or "time").

    The times are [network][cycle][run] in ms. Without `cpu_clock`, the CPU times are None.

    A cycle consists of one round of each network. A round consists of round_runs consecutive runs, and its first
    `discard` runs are discarded. Every second cycle runs in reverse order, so that drift cancels out. Timing ends once
    the ratios are known to within the tolerance or after max_s, but not before min_cycles cycles and min_s.
    """
    wall: list[list[list[float]]] = [[] for _ in timers]
    cpu: list[list[list[float]]] = [[] for _ in timers]
    medians: list[list[float]] = [[] for _ in timers]
    order, began = list(range(len(timers))), clock()
    with no_garbage_collection():
        while True:
            for network in order:
                runs = [timed(timers[network], cpu_clock) for _ in range(plan["round_runs"])][plan["discard"] :]
                wall[network].append([round(ms, 6) for ms, _ in runs])
                cpu[network].append([round(ms, 6) for _, ms in runs])
                medians[network].append(float(np.median(counted_times(wall[network][-1], cpu[network][-1]))))
                clock()  # reports the progress
            order.reverse()
            cycles, passed = len(wall[0]), clock() - began
            if cycles >= plan["min_cycles"] and passed >= plan["min_s"]:
                ended = "precise" if precise(np.array(medians), plan["tolerance"]) else "time"
                if ended == "precise" or passed >= plan["max_s"]:
                    return wall, cpu if cpu_clock else None, ended


def timed(timer: Timer, cpu_clock: Clock | None) -> tuple[float, float]:
    """Run a network once and return its wall time and its CPU time in ms; they are equal without `cpu_clock`."""
    if cpu_clock is None:
        milliseconds = timer()
        return milliseconds, milliseconds
    start = cpu_clock()
    milliseconds = timer()
    return milliseconds, (cpu_clock() - start) / 1e6


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector of Python within the block."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Progress:
    """A clock that reports at most every REPORT_S how long a measurement has taken, and how long it will take."""

    def __init__(self, clock: Callable[[], float], expected_s: float, report: Report) -> None:
        self.clock, self.expected_s, self.report = clock, expected_s, report
        self.began: float = clock()
        self.reported = -REPORT_S  # seconds from the start to the last report
        self()

    def __call__(self) -> float:
        """Return the time in seconds."""
        now: float = self.clock()
        passed = now - self.began
        if passed - self.reported >= REPORT_S:
            self.reported = passed
            self.report({"progress": {"passed_s": round(passed, 3), "expected_s": round(self.expected_s, 3)}})
        return now

    def after(self, timer: Timer) -> Timer:
        """Return the timer; after slow runs, it reports."""

        def watched() -> float:
            milliseconds = timer()
            if milliseconds >= SLOW_MS:
                self()
            return milliseconds

        return watched


def expected_seconds(run_s: Iterable[float], plan: Mapping[str, Any]) -> float:
    """Return the least duration of a measurement if a run of each network takes `run_s` seconds."""
    run_s = list(run_s)
    warm_up_s = sum(max(plan["warmup_s"], MIN_WARMUP_RUNS * seconds) for seconds in run_s)
    return float(warm_up_s + max(plan["min_s"], plan["min_cycles"] * plan["round_runs"] * sum(run_s)))


def measure(
    loaded: Loaded,
    plan: Mapping[str, Any],
    report: Report = lambda message: None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Measure the networks in plan["order"] and return the reply to the command.

    After the first run of each network, `report` is called with the expected duration, then with the progress.
    """
    timers = [loaded.timers[network] for network in plan["order"]]
    with leased(plan["lease"], report):
        progress = Progress(clock, expected_seconds([timer() / 1e3 for timer in timers], plan), report)
        timers = [progress.after(timer) for timer in timers]
        warm = [warm_up(timer, plan["warmup_s"]) for timer in timers]
        before = loaded.state()  # after the warm-up, since the clock of an idle processor is low
        switches, others, began = involuntary_switches(), others_s(), time.monotonic()
        rounds, cpu, ended = take(timers, plan, progress, loaded.cpu_clock)
        switches, passed, others_after = involuntary_switches() - switches, time.monotonic() - began, others_s()
        after = loaded.state()
    others = None if others is None or others_after is None else max(0.0, (others_after - others) / max(passed, 1e-9))
    return {
        "rounds_ms": rounds,
        "cpu_ms": cpu,
        "switches": switches,
        "others": None if others is None else round(others, 3),
        "ended": ended,
        "steady": all(warm),
        "before": before,
        "after": after,
    }


def involuntary_switches() -> int:
    """Return how often this process lost a processor to another process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def raise_priority() -> int:
    """Give this process, and the threads it starts, the highest priority that the system allows, and return it.

    Only root and users with a suitable limit (`ulimit -e`) may raise it.
    """
    current = os.getpriority(os.PRIO_PROCESS, 0)
    for priority in range(PRIORITY, current):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, priority)
            return priority
    return current


@contextlib.contextmanager
def leased(path: str, report: Report = lambda message: None) -> Iterator[None]:
    """Hold the lock file at `path` ('' for none), so that only one measurement runs on this machine at a time.

    While another measurement holds it, `report` is called about every REPORT_S seconds.
    """
    if not path:
        yield
        return
    descriptor = lock_file(path)
    try:
        reported = -math.inf
        while not locked(descriptor):
            if time.monotonic() - reported >= REPORT_S:
                reported = time.monotonic()
                report({"waiting": path})
            if select.select([0], [], [], LEASE_POLL_S)[0]:  # no command is expected, so standard input has ended
                raise EOFError("the client is gone")
        yield
    finally:
        os.close(descriptor)


def watching() -> float:
    """Return the monotonic time in seconds; raises EOFError if standard input has ended because the client is gone."""
    if select.select([0], [], [], 0)[0]:
        raise EOFError("the client is gone")
    return time.monotonic()


def locked(descriptor: int) -> bool:
    """Lock an open file; returns False if another process holds the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_file(path: str) -> int:
    """Open the lock file, create it if missing, and return its descriptor.

    The file may belong to another user, so it is opened read-only. It is first opened without O_CREAT, because Linux
    refuses O_CREAT for files of other users in /tmp (fs.protected_regular).
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    with contextlib.suppress(FileExistsError):  # another process has created it in the meantime
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL)
        os.fchmod(descriptor, 0o644)  # regardless of the umask
        return descriptor
    return os.open(path, flags)


def processor_name(cpuinfo: str | Path = "/proc/cpuinfo") -> str:
    """Return the model name of the processor as reported by Linux or macOS, or the architecture if not reported."""
    named = ""
    if platform.system() == "Darwin":
        named = output_of("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")
    elif Path(cpuinfo).is_file():
        lines = [line.partition(":") for line in Path(cpuinfo).read_text(errors="replace").splitlines()]
        stated = {key.strip(): value.strip() for key, _, value in lines}
        named = stated.get("model name") or stated.get("Model") or ""  # "Model" is the board of a Raspberry Pi
    return named or platform.machine() or "unknown"


def usable_processors(root: str | Path = "/") -> int:
    """Return the number of processors available to this process, at least 1.

    A container may have fewer than the machine, by its affinity or by its CPU quota, which is rounded up.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in control_groups(root):
        quota, _, period = (text_in(folder / "cpu.max") or "").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            processors = min(processors, max(1, math.ceil(int(quota) / int(period))))
    return processors


def control_groups(root: str | Path = "/") -> list[Path]:
    """Return the folders of the control group (version 2) of this process and of its parents, as far as it sees them.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    top = Path(root) / "sys/fs/cgroup"
    lines = (text_in(Path(root) / "proc/self/cgroup") or "").splitlines()
    own = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    parts = [part for part in own.split("/") if part not in ("", "..")]
    return [top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def quota_throttled(root: str | Path = "/") -> int | None:
    """Return in how many periods a CPU quota has stopped this process so far, None without a quota."""
    found = None
    for folder in control_groups(root):
        for line in (text_in(folder / "cpu.stat") or "").splitlines():
            key, _, value = line.partition(" ")
            if key == "nr_throttled" and value.isdigit():
                found = (found or 0) + int(value)
    return found


def others_s(root: str | Path = "/") -> float | None:
    """Return the CPU time in seconds that all other processes have used since the start of the machine.

    None if the system does not report it.
    """
    words = (text_in(Path(root) / "proc/stat") or "").split("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def machine_state(root: str | Path = "/sys") -> dict[str, Any]:
    """Return temperature, clock, governor, throttling and the load of the last minute; None if not reported."""
    cpu = Path(root) / "devices/system/cpu/cpu0/cpufreq"
    heat = [number_in(zone) for zone in sorted(Path(root).glob("class/thermal/thermal_zone*/temp"))]
    hertz = max((number_in(one) or 0.0 for one in cpu.parent.parent.glob("cpu*/cpufreq/scaling_cur_freq")), default=0.0)
    throttled = output_of("vcgencmd", "get_throttled").partition("=")[2]
    return {
        "temperature_c": next((degrees / 1000 for degrees in heat if degrees), None),
        "clock_mhz": hertz / 1000 if hertz else None,
        "governor": text_in(cpu / "scaling_governor"),
        "throttled": int(throttled, 16) if throttled.startswith("0x") else None,
        "quota_throttled": quota_throttled(),
        "load": round(os.getloadavg()[0], 2),
        "gpu_others_percent": None,
    }


def text_in(path: Path) -> str | None:
    """Return the text of a small file, or None if it cannot be read."""
    try:
        return Path(path).read_text(errors="replace").strip() or None
    except OSError:
        return None


def number_in(path: Path) -> float | None:
    """Return the number in a small file, or None if it does not contain a number."""
    try:
        return float(text_in(path) or "")
    except ValueError:
        return None


def output_of(*command: str) -> str:
    """Run a command and return its standard output, or '' if it cannot be run."""
    if not shutil.which(command[0]):
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def session_options(threads: int) -> Any:  # noqa: ANN401 - an onnxruntime.SessionOptions
    """Return the session options for all measurements: sequential, all optimizations, default spinning.

    Denormals are flushed to zero, so that weights do not affect the latency. With torch's default initialization, a
    ReLU layer scales activations by 1 / sqrt(6). In an untrained chain of about 97 layers, activations fall below
    1.2e-38. Some CPUs are many times slower for such numbers (the AMD EPYC that was tried is not).
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.log_severity_level = 3  # only errors, since the last line of stderr is reported as the reason of a failure
    return options


def load_onnxruntime(paths: Sequence[str], settings: Mapping[str, Any]) -> Loaded:
    """Load ONNX files with one float32 input (batch, 3, size, size); raises ValueError for other inputs.

    The networks whose indices are in settings["from_jpeg"] decode a JPEG in every run, see `from_jpeg`.
    """
    import onnxruntime

    shape = (settings["batch"], 3, settings["input_size"], settings["input_size"])
    runs, notes = [], []
    for number, path in enumerate(paths):
        session = onnxruntime.InferenceSession(path, session_options(settings["threads"]), [PROVIDER])
        name, dynamic = input_of(path, session, shape)
        if dynamic:
            notes.append(f"dynamic shape: {Path(path).name} has a dynamic batch size, a static one may be faster")
        feed = {name: np.random.default_rng(0).random(shape, dtype=np.float32)}
        if number in settings.get("from_jpeg", ()):
            runs.append(from_jpeg(settings, functools.partial(run_session, session, name)))
        else:
            runs.append(functools.partial(session.run, None, feed))
    clock = one_thread_clock(settings)
    return Loaded(map(host_timer, runs), onnxruntime.__version__, notes=dict.fromkeys(notes), cpu_clock=clock)


def run_session(session: Any, name: str, images: NDArray[np.float32]) -> Any:  # noqa: ANN401 - arrays of onnxruntime
    """Run an ONNX session on images (batch, 3, size, size) of its input `name`."""
    return session.run(None, {name: images})


def from_jpeg(settings: Mapping[str, Any], infer: Callable[[NDArray[np.float32]], object]) -> Callable[[], object]:
    """Return a function that decodes and resizes the JPEG (base64) of the settings and runs a network on the image.

    The image is prepared as in predict.py of an exported folder: centre crop, bilinear resize, division by 255.
    """
    from PIL import Image, ImageOps

    content, size = base64.b64decode(settings["jpeg"]), settings["input_size"]

    def run() -> object:
        with Image.open(io.BytesIO(content)) as image:
            fitted = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
        return infer(np.stack([np.asarray(fitted).transpose(2, 0, 1)]).astype(np.float32) / np.float32(255))

    return run


def input_of(path: str, session: Any, shape: tuple[int, ...]) -> tuple[str, bool]:  # noqa: ANN401
    """Return (name, True if dynamic) of the input of an ONNX session; raises ValueError for other shapes."""
    inputs = [(node.name, node.type, node.shape) for node in session.get_inputs()]
    if len(inputs) != 1 or inputs[0][1] != "tensor(float)":
        raise ValueError(f"{path} has the inputs {inputs}, must have one of float32")
    name, _, sizes = inputs[0]
    if len(sizes) != 4 or any(isinstance(size, int) and size != n for size, n in zip(sizes, shape)):
        raise ValueError(f"{path} has an input of shape {sizes}, must be {list(shape)}")
    return name, not all(isinstance(size, int) for size in sizes)


def about() -> dict[str, Any]:
    """Return facts about this machine without importing a runtime, which might crash the process."""
    versions: dict[str, str | None] = {}
    for package in ("numpy", "onnxruntime"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    memory = [line.split()[1] for line in (text_in(Path("/proc/meminfo")) or "").splitlines() if "MemAvailable" in line]
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "processor": processor_name(),
        "processors": usable_processors(),
        "versions": versions,
        "free_mib": int(memory[0]) // 1024 if memory else None,
        "state": machine_state(),
    }


def present(folder: str, names: Sequence[str]) -> list[str]:
    """Return the complete files among `names` in a folder; a name is HASH.SUFFIX with the SHA-256 of the content."""
    files = [Path(folder).expanduser() / name for name in names]
    return [f.name for f in files if f.is_file() and hashlib.sha256(f.read_bytes()).hexdigest() == f.stem]


def serve(
    load: Callable[[Sequence[Any], Mapping[str, Any]], Loaded], about: Callable[[], dict[str, Any]] = about
) -> None:
    """Reply to commands until standard input ends; `load(models, settings)` loads the networks.

    If a command hangs, even in native code, the process ends HUNG_S seconds after its last report, which releases its
    leases.

    A command is a JSON object with one entry: {"about": {}}, {"present": {"folder", "names"}}, {"load": {"models",
    "settings"}} or {"measure": plan}. A reply is a line "TOKEN {...}" with {"done": ...} or {"failed": reason}. Before
    it, "measure" sends lines with {"waiting": lock file} or {"progress": {"passed_s", "expected_s"}}.
    """
    token, loaded, priority = sys.argv[1], None, raise_priority()

    def send(message: Mapping[str, Any]) -> None:
        signal.alarm(HUNG_S)
        sys.stdout.write(f"\n{token} {json.dumps(message)}\n")
        sys.stdout.flush()

    for line in sys.stdin:
        signal.alarm(HUNG_S)
        try:
            ((command, body),) = json.loads(line).items()
            if command == "about":
                done: object = about()
            elif command == "present":
                done = present(body["folder"], body["names"])
            elif command == "load":
                loaded = load(body["models"], body["settings"])
                for timer in loaded.timers:
                    timer()
                facts = {name: getattr(loaded, name) for name in ("runtime_version", "processor", "notes")}
                done = {**facts, "host": platform.node(), "pid": os.getpid(), "priority": priority}
                done["processors"] = usable_processors()
            elif command == "measure" and loaded:
                done = measure(loaded, body, send, watching)
            else:
                raise ValueError(f"cannot {command}")
            answer = {"done": done}
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": " ".join(f"{type(error).__name__}: {error}".split())}
        send(answer)
        signal.alarm(0)


if __name__ == "__main__":
    serve(load_onnxruntime)
