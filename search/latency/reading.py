"""The record of a latency reading: raw rounds, conditions and derived statistics."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from search.latency.probes.probe import MIN_CYCLES, least_disturbed_cycles, ratio_interval, round_medians
from threshnet import strict
from threshnet.errors import InputError

# A reading gets a warning if it exceeds one of these thresholds.
WIDE_SPREAD = 0.10  # relative interquartile range
WIDER = 2.5  # half-width of the interval relative to the tolerance
BUSY = 1.10  # latency of the reference network relative to its idle baseline
HOTTER_C = 10.0  # temperature rise in degrees C
SLOWER_CLOCK = 0.95  # clock after the reading relative to the clock before the reading
UNSTEADY = "not steady: the latency was still changing at the end of the warm-up"
THROTTLED_NOW = 0xF  # vcgencmd bits for under-voltage, capped clock, throttling and soft temperature limit

RoundsMs = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class State:
    """The state of a machine at one point in time; values that are not reported are None."""

    temperature_c: float | None = None
    clock_mhz: float | None = None
    governor: str | None = None
    throttled: int | None = None  # vcgencmd bits, 0-3: now, 16-19: since boot; GPU reasons are converted to these bits
    load: float | None = None  # mean number of runnable processes over the last minute


@dataclass(frozen=True)
class Rounds:
    """Samples of several networks that were measured interleaved, as returned by a probe."""

    rounds_ms: tuple[RoundsMs, ...]  # [network][cycle][run], one whole batch per run
    ended: Literal["precise", "time"]
    steady: bool  # whether the latency was steady at the end of the warm-up
    before: State
    after: State

    def __post_init__(self) -> None:
        cycles = {len(network) for network in self.rounds_ms}
        runs = {len(one) for network in self.rounds_ms for one in network}
        if len(cycles) != 1 or len(runs) != 1 or 0 in cycles | runs:
            raise InputError("rounds_ms must have the same number of rounds and runs for each network")
        if not all(math.isfinite(ms) and ms > 0 for network in self.rounds_ms for one in network for ms in one):
            raise InputError("rounds_ms must be positive finite milliseconds")

    @cached_property
    def counted_medians(self) -> NDArray[np.float64]:
        """Return the medians (networks, cycles) in ms of the least-disturbed cycles, which determine the reading."""
        medians = round_medians(self.rounds_ms)
        return medians[:, least_disturbed_cycles(medians)]


@dataclass(frozen=True)
class Latency:
    """A latency reading of one network on one device; a latency is the time for one whole batch.

    The network runs interleaved with a reference network, and the ratio of the two latencies is measured. The reported
    latency is this ratio times the latency of the reference network on the idle device. The interval and the spread are
    computed from the least-disturbed cycles of this measurement. They do not include the variation between
    measurements, the selection of the cycles, or the uncertainty of the idle baseline. Raises InputError unless the
    samples are positive and finite.
    """

    rounds_ms: RoundsMs  # [cycle][run] of the network, in milliseconds
    reference_rounds_ms: RoundsMs  # [cycle][run] of the reference network in the same cycles
    reference_ms: float  # latency of the reference network on the idle device
    ended: Literal["precise", "time"]  # "precise": the interval was narrow enough; "time": the time limit was reached
    device: str  # name of the device, e.g. "cpu", "cuda" or "ssh://..."
    processor: str  # model name of the processor
    runtime: str  # name of the runtime, e.g. "onnxruntime"
    runtime_version: str  # version reported by the runtime
    threads: int  # number of threads of the runtime
    batch: int  # number of images in one run
    input_size: int  # height and width of the images in pixels
    precision: str = "fp32"  # precision of weights and activations
    channels_last: bool = False  # whether the memory layout is NHWC
    before: State = State()
    after: State = State()
    warnings: tuple[str, ...] = ()  # reasons why the reading may be unreliable, one line each

    def __post_init__(self) -> None:
        Rounds((self.reference_rounds_ms, self.rounds_ms), self.ended, True, self.before, self.after)
        if not (math.isfinite(self.reference_ms) and self.reference_ms > 0):
            raise InputError(f"reference_ms = {self.reference_ms!r}: must be a number above 0")

    @property
    def backend(self) -> str:
        """The device, the runtime, and all settings that differ from batch size 1, fp32 and one thread, as text."""
        return backend(self.device, self.runtime, self.threads, self.batch, self.precision, self.channels_last)

    @cached_property
    def ratio(self) -> tuple[float, float, float]:
        """The ratio to the reference latency: the median of the least-disturbed cycles and its 95 % interval."""
        return ratio_interval(self._medians, 1)

    @property
    def latency_ms(self) -> float:
        """The latency on the idle device in milliseconds: the ratio times reference_ms."""
        return self.ratio[0] * self.reference_ms

    @property
    def low_ms(self) -> float:
        """The lower end of the 95 % interval of the latency."""
        return self.ratio[1] * self.reference_ms

    @property
    def high_ms(self) -> float:
        """The upper end of the 95 % interval of the latency."""
        return self.ratio[2] * self.reference_ms

    @cached_property
    def counted_cycles(self) -> NDArray[np.int64]:
        """The indices of the least-disturbed cycles, which determine the reading."""
        return least_disturbed_cycles(self._medians)

    @cached_property
    def relative_iqr(self) -> float:
        """The interquartile range of the runs in the least-disturbed cycles, relative to their median."""
        runs = np.asarray(self.rounds_ms)[self.counted_cycles]
        low, middle, high = np.percentile(runs, (25, 50, 75))
        return float((high - low) / middle)

    @property
    def slowdown(self) -> float:
        """The latency of the reference network in the least-disturbed cycles, relative to its idle baseline."""
        return ratio_interval(self._medians, 0)[0] / self.reference_ms

    @property
    def runs(self) -> int:
        """The number of timed runs of the network."""
        return sum(map(len, self.rounds_ms))

    @cached_property
    def _medians(self) -> NDArray[np.float64]:
        return round_medians((self.reference_rounds_ms, self.rounds_ms))

    def to_json(self) -> dict[str, object]:
        """Return the reading as a JSON-serializable dict."""
        return strict.plain(self)

    @classmethod
    def from_json(cls, document: object, source: str = "latency") -> Self:
        """Parse a reading; unknown keys, missing keys and wrong types raise an InputError that names `source`."""
        return strict.read(document, cls, source, complete=True)

    def summary(self) -> dict[str, object]:
        """Return the statistics and conditions as JSON-serializable values, without the raw samples."""
        raw = ("rounds_ms", "reference_rounds_ms")
        found = {"latency_ms": self.latency_ms, "low_ms": self.low_ms, "high_ms": self.high_ms, "ratio": self.ratio[0]}
        found |= {"relative_iqr": self.relative_iqr, "slowdown": self.slowdown, "runs": self.runs}
        return found | {key: value for key, value in self.to_json().items() if key not in raw}


def backend(device: str, runtime: str, threads: int, batch: int, precision: str, channels_last: bool) -> str:
    """Return the name of a backend, which is also used as a key, e.g. "cpu onnxruntime" or "cuda torch-graph fp16"."""
    words = [device, runtime, *([precision] if precision != "fp32" else []), *(["NHWC"] if channels_last else [])]
    words += [f"{threads} threads"] if threads > 1 else []
    words += [f"batch {batch}"] if batch > 1 else []
    return " ".join(words)


def reading_warnings(latency: Latency, tolerance: float, steady: bool) -> Iterator[str]:
    """Yield the reasons why a reading may be unreliable, one line each."""
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
    if latency.slowdown < 1 / BUSY:
        yield (
            f"the reference network took only {latency.slowdown:.2f} times its recorded idle baseline, which is too "
            "high; re-measure it with threshnet measure --calibrate"
        )
    yield from changes(latency.before, latency.after)


def changes(before: State, after: State) -> Iterator[str]:
    """Yield the changes of the machine state that may make a reading unreliable, one line each."""
    if after.throttled is not None and before.throttled is not None:
        now = (before.throttled | after.throttled) & THROTTLED_NOW
        if now or before.throttled != after.throttled:
            yield f"throttled: bits {before.throttled:#x} before, {after.throttled:#x} after"
    if before.governor != after.governor:
        yield f"the clock's governor changed from {before.governor} to {after.governor}"
    if before.clock_mhz and after.clock_mhz and after.clock_mhz < SLOWER_CLOCK * before.clock_mhz:
        yield f"the clock fell from {before.clock_mhz:.0f} to {after.clock_mhz:.0f} MHz"
    if before.temperature_c and after.temperature_c and after.temperature_c > before.temperature_c + HOTTER_C:
        yield f"the device warmed from {before.temperature_c:.0f} to {after.temperature_c:.0f} degrees C"


def as_rounds(document: object, source: str, networks: int, runs: int) -> Rounds:
    """Parse the rounds in the reply of a probe; raises InputError if it is malformed or has the wrong shape."""
    rounds = strict.read(document, Rounds, source, complete=True)
    if len(rounds.rounds_ms) != networks:
        raise InputError(f"{source}: rounds of {len(rounds.rounds_ms)} networks, must be of {networks}")
    cycles, taken = len(rounds.rounds_ms[0]), len(rounds.rounds_ms[0][0])
    if cycles < MIN_CYCLES or taken != runs:
        raise InputError(f"{source}: {cycles} cycles of {taken} runs, must be {MIN_CYCLES} or more cycles of {runs}")
    return rounds
