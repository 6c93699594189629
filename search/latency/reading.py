"""The record of a latency reading: its statistics, its conditions and its warnings."""

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from search.latency.baseline import Baseline
from search.latency.probes.probe import counted_times, round_medians
from search.latency.samples import RoundsMs, Samples, check_rounds
from threshnet import strict
from threshnet.errors import InputError, require

# A reading gets a warning if it exceeds one of these thresholds.
WIDE_SPREAD = 0.10  # relative interquartile range
WIDER = 2.5  # half-width of the interval relative to the tolerance
BUSY = 1.10  # latency of the reference network relative to its idle baseline
MISSING = 0.25  # processors that the threads of a network lacked
GPU_OTHERS_PERCENT = 5.0  # multiprocessors of a GPU that other processes keep busy
HOTTER_C = 10.0  # temperature rise in degrees C
SLOWER_CLOCK = 0.95  # clock after the reading relative to the clock before the reading
UNSTEADY = "not steady: the latency was still changing at the end of the warm-up"
OUTDATED = "outdated idle baseline"
THROTTLED_NOW = 0xF  # vcgencmd bits for under-voltage, capped clock, throttling and soft temperature limit
ROUNDS = {field.name for field in fields(Samples)}  # keys of the raw samples in readings of earlier versions


@dataclass(frozen=True)
class State:
    """The state of a machine at one point in time; values that are not reported are None."""

    temperature_c: float | None = None
    clock_mhz: float | None = None
    governor: str | None = None
    throttled: int | None = None  # vcgencmd bits, 0-3: now, 16-19: since boot; GPU reasons are converted to these bits
    quota_throttled: int | None = None  # number of periods in which the CPU quota of a container stopped the process
    load: float | None = None  # mean number of runnable processes over the last minute
    gpu_others_percent: float | None = None  # multiprocessors of the GPU that other processes keep busy


@dataclass(frozen=True)
class Rounds:
    """Samples of several networks that were measured interleaved, as returned by a probe."""

    rounds_ms: tuple[RoundsMs, ...]  # wall times [network][cycle][run], one whole batch per run
    cpu_ms: tuple[RoundsMs, ...] | None  # CPU times of the same runs; None for several threads and for a GPU
    switches: int  # how often the probe lost a processor to another process, in all rounds
    others: float | None  # mean number of processors that other processes used during the rounds; None if not reported
    ended: Literal["precise", "time"]
    steady: bool  # whether the latency was steady at the end of the warm-up
    before: State
    after: State

    def __post_init__(self) -> None:
        check_rounds(self.rounds_ms)
        if self.cpu_ms is not None:
            check_rounds((*self.rounds_ms, *self.cpu_ms))
            if len(self.cpu_ms) != len(self.rounds_ms):
                raise InputError("cpu_ms must have as many networks as rounds_ms")

    @cached_property
    def counted_ms(self) -> NDArray[np.float64]:
        """Return the times (networks, cycles, runs) in ms that count, see `counted_times`."""
        return np.asarray(counted_times(self.rounds_ms, self.cpu_ms))

    @cached_property
    def medians(self) -> NDArray[np.float64]:
        """Return the medians (networks, cycles) in ms of the times that count."""
        return round_medians(self.counted_ms)

    def samples(self, network: int) -> Samples:
        """Return the samples of a network, an index, and of the reference network, which is the first one."""
        cpu = (None, None) if self.cpu_ms is None else (self.cpu_ms[network], self.cpu_ms[0])
        return Samples(self.rounds_ms[network], self.rounds_ms[0], *cpu)


@dataclass(frozen=True)
class Latency:
    """A latency reading of one network on one device; a latency is the time for one whole batch.

    The network runs interleaved with a reference network, and the ratio of the two latencies is measured. The reported
    latency is this ratio times the latency of the reference network on the idle device. The interval and the spread are
    computed from the least-disturbed cycles of this measurement. They do not include the variation between
    measurements, the selection of the cycles, or the uncertainty of the idle baseline. Raises InputError unless the
    latencies are positive and finite and the interval contains the latency.
    """

    latency_ms: float  # latency on the idle device in milliseconds: the ratio to the reference times reference_ms
    low_ms: float  # lower end of the 95 % interval of the latency
    high_ms: float  # upper end of the 95 % interval of the latency
    relative_iqr: float  # interquartile range of the runs in the least-disturbed cycles, relative to their median
    slowdown: float  # latency of the reference network in the least-disturbed cycles, relative to reference_ms
    runs: int  # number of timed runs of the network
    rounds: int  # number of rounds, into which the runs are divided equally
    lost: int  # number of runs that lost the processor to another process, so that their CPU time counts
    reference_ms: float  # latency of the reference network on the idle device
    ended: Literal["precise", "time"]  # "precise": the interval was narrow enough; "time": the time limit was reached
    device: str  # name of the device, e.g. "cpu", "cuda" or "ssh://..."
    processor: str  # model name of the processor
    runtime: str  # name of the runtime, e.g. "onnxruntime"
    runtime_version: str  # version reported by the runtime
    threads: int  # number of threads of the runtime
    batch: int  # number of images in one run
    input_size: int  # height and width of the images in pixels
    switches: int = 0  # how often the probe lost a processor to another process, in all rounds of the measurement
    priority: int = 0  # priority of the probe, from -20, the highest, to 19
    missing: float = 0.0  # number of processors that the threads lacked, as other processes used them
    disturbed: bool = False  # whether the device was busy, unsteady or throttled, see `disturbances`
    precision: str = "fp32"  # precision of weights and activations
    channels_last: bool = False  # whether the memory layout is NHWC
    before: State = State()
    after: State = State()
    warnings: tuple[str, ...] = ()  # reasons why the reading may be unreliable, one line each
    baseline: Baseline | None = None  # the idle baseline, its latency is reference_ms; None in earlier versions
    rescaled: bool = False  # whether the reading was taken under another baseline, see `rescaled_reading`
    artifact: str | None = None  # id of the artifact with the raw samples; None if they were not stored
    samples: Samples | None = field(default=None, repr=False, compare=False)  # None if read without the raw samples

    def __post_init__(self) -> None:
        for name in ("reference_ms", "low_ms", "latency_ms", "high_ms"):
            value = getattr(self, name)
            require(math.isfinite(value) and value > 0, name, value, "a number above 0")
        if not self.low_ms <= self.latency_ms <= self.high_ms:
            raise InputError(
                f"latency_ms = {self.latency_ms!r}: must be in the interval from {self.low_ms!r} to {self.high_ms!r}"
            )

    @property
    def backend(self) -> str:
        """The device, the runtime, and all settings that differ from batch size 1, fp32 and one thread, as text."""
        return backend(self.device, self.runtime, self.threads, self.batch, self.precision, self.channels_last)

    @property
    def used_baseline(self) -> Baseline:
        """The idle baseline; in readings of earlier versions, only its latency is known."""
        return self.baseline or Baseline(self.reference_ms, self.reference_ms, self.reference_ms)

    @property
    def ratio(self) -> tuple[float, float, float]:
        """The ratio to the reference latency: the median of the least-disturbed cycles and its 95 % interval."""
        scale = self.reference_ms
        return self.latency_ms / scale, self.low_ms / scale, self.high_ms / scale

    def summary(self) -> dict[str, object]:
        """Return the statistics and conditions as JSON-serializable values, without the raw samples."""
        values = strict.plain(replace(self, samples=None))
        return {"ratio": self.ratio[0]} | {key: values[key] for key in values if key not in ("artifact", "samples")}

    def to_json(self) -> dict[str, object]:
        """Return the summary and the id of the artifact with the raw samples as a JSON-serializable dict."""
        return self.summary() | {"artifact": self.artifact}

    @classmethod
    def from_json(cls, document: object, source: str = "latency") -> Self:
        """Parse a reading; unknown keys, missing keys and wrong types raise an InputError that names `source`.

        Earlier versions stored the raw samples in place of the statistics.
        """
        if not isinstance(document, Mapping):
            return strict.read(document, cls, source)
        later: dict[str, Any] = {"artifact": None, "samples": None, "baseline": None, "rescaled": False}
        later |= {"lost": 0, "switches": 0, "priority": 0, "missing": 0.0, "disturbed": False}
        values = later | {key: document[key] for key in document if key != "ratio"}
        for moment in ("before", "after"):
            if isinstance(values.get(moment), Mapping):
                values[moment] = {"quota_throttled": None, "gpu_others_percent": None, **values[moment]}
        if not ROUNDS & {*values}:
            return strict.read(values, cls, source, complete=True)
        samples = strict.read({key: values.pop(key) for key in ROUNDS & {*values}}, Samples, source)
        earlier = strict.read({**values, **samples.statistics(1.0), "samples": samples}, cls, source, complete=True)
        return replace(earlier, **samples.statistics(earlier.reference_ms))


def rescaled_reading(document: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    """Express a reading under another idle baseline of the same device; both are JSON values.

    The ratio to the reference network stays, and the latency is that ratio times the latency of the `baseline`.
    """
    factor = baseline["ms"] / document["reference_ms"]
    scaled = {key: document[key] * factor for key in ("latency_ms", "low_ms", "high_ms")}
    changed = {"reference_ms": baseline["ms"], "slowdown": document["slowdown"] / factor, "baseline": dict(baseline)}
    changed["warnings"] = [text for text in document["warnings"] if not text.startswith(OUTDATED)]
    return {**document, **scaled, **changed, "rescaled": True}


def backend(device: str, runtime: str, threads: int, batch: int, precision: str, channels_last: bool) -> str:
    """Return the name of a backend, which is also used as a key, e.g. "cpu onnxruntime" or "cuda torch-graph fp16"."""
    words = [device, runtime, *([precision] if precision != "fp32" else []), *(["NHWC"] if channels_last else [])]
    words += [f"{threads} threads"] if threads > 1 else []
    words += [f"batch {batch}"] if batch > 1 else []
    return " ".join(words)


def disturbances(latency: Latency, tolerance: float, steady: bool) -> Iterator[str]:
    """Yield the signs that other work or the state of the machine disturbed a reading, one line each.

    Another reading may be better.
    """
    middle, low, high = latency.ratio
    if not steady:
        yield UNSTEADY
    if latency.relative_iqr > WIDE_SPREAD:
        yield f"wide spread: interquartile range {latency.relative_iqr:.0%} of the median"
    wide = max(high / middle - 1, 1 - low / middle)
    if latency.ended == "time" and wide > WIDER * tolerance:
        yield f"wide interval: {wide:.1%} at the time limit, the tolerance is {tolerance:.1%}"
    if latency.slowdown > BUSY:
        yield f"busy device: the reference network took {latency.slowdown:.2f} times its idle baseline"
    if latency.missing > MISSING:
        yield f"busy device: other processes used {latency.missing:.1f} of the processors that its threads need"
    yield from changes(latency.before, latency.after)


def reading_warnings(latency: Latency, tolerance: float, steady: bool) -> Iterator[str]:
    """Yield the reasons why a reading may be unreliable, one line each."""
    yield from disturbances(latency, tolerance, steady)
    if latency.slowdown < 1 / BUSY:
        yield (
            f"{OUTDATED}: the reference network took only {latency.slowdown:.2f} times as long; on the "
            f"idle device, re-measure it with {calibration(latency)}"
        )


def calibration(latency: Latency) -> str:
    """Return the command that re-measures the idle baseline under the conditions of a reading."""
    words = ["threshnet", "measure", "threshnet28", "--device", latency.device, "--runtime", latency.runtime]
    words += ["--input", str(latency.input_size)]
    words += ["--threads", str(latency.threads)] if latency.threads > 1 else []
    words += ["--batch", str(latency.batch)] if latency.batch > 1 else []
    words += ["--precision", latency.precision] if latency.precision != "fp32" else []
    words += ["--channels-last"] if latency.channels_last else []
    return shlex.join([*words, "--calibrate"])


def changes(before: State, after: State) -> Iterator[str]:
    """Yield the changes of the machine state that may make a reading unreliable, one line each."""
    if after.throttled is not None and before.throttled is not None:
        now = (before.throttled | after.throttled) & THROTTLED_NOW
        if now or before.throttled != after.throttled:
            yield f"throttled: bits {before.throttled:#x} before, {after.throttled:#x} after"
    stops = (after.quota_throttled or 0) - (before.quota_throttled or 0)
    if stops > 0:
        yield f"throttled by the CPU quota of the container: in {stops} period(s)"
    percent = max(before.gpu_others_percent or 0.0, after.gpu_others_percent or 0.0)
    if percent > GPU_OTHERS_PERCENT:
        yield f"busy GPU: other processes used {percent:.0f} % of its multiprocessors"
    if before.governor != after.governor:
        yield f"the clock's governor changed from {before.governor} to {after.governor}"
    if before.clock_mhz and after.clock_mhz and after.clock_mhz < SLOWER_CLOCK * before.clock_mhz:
        yield f"the clock fell from {before.clock_mhz:.0f} to {after.clock_mhz:.0f} MHz"
    if before.temperature_c and after.temperature_c and after.temperature_c > before.temperature_c + HOTTER_C:
        yield f"the device warmed from {before.temperature_c:.0f} to {after.temperature_c:.0f} degrees C"


def as_rounds(document: object, source: str, networks: int, runs: int, min_cycles: int) -> Rounds:
    """Parse the rounds in the reply of a probe; raises InputError if it is malformed or has the wrong shape."""
    rounds = strict.read(document, Rounds, source, complete=True)
    if len(rounds.rounds_ms) != networks:
        raise InputError(f"{source}: rounds of {len(rounds.rounds_ms)} networks, must be of {networks}")
    cycles, taken = len(rounds.rounds_ms[0]), len(rounds.rounds_ms[0][0])
    if cycles < min_cycles or taken != runs:
        raise InputError(f"{source}: {cycles} cycles of {taken} runs, must be {min_cycles} or more cycles of {runs}")
    return rounds
