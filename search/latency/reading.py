"""The record of one latency reading: raw rounds, conditions, and what follows from them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from search.latency.probes.probe import MIN_CYCLES, least_disturbed_cycles, ratio_interval, round_medians
from threshnet import strict
from threshnet.errors import InputError

WIDE_SPREAD = 0.10  # a relative interquartile range above this is worth a warning
WIDER = 2.5  # so is an interval this many times as wide as asked for
BUSY = 1.10  # so is a reference network that took this many times its quiet latency
UNSTEADY = "not steady: the latency still moved at the end of the warm-up"
HOTTER_C = 10.0  # and a machine that warmed by this many degrees
SLOWER_CLOCK = 0.95  # and a clock that fell below this share
THROTTLED_NOW = 0xF  # of vcgencmd's bits: under-voltage, capped, throttled, soft temperature limit

RoundsMs = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class State:
    """How the machine fared at one moment; None where it does not tell."""

    temperature_c: float | None = None
    clock_mhz: float | None = None
    governor: str | None = None
    throttled: int | None = None  # vcgencmd's bits, 0-3: now, 16-19: since boot; a GPU's reasons as such
    load: float | None = None  # runnable processes, mean of the last minute


@dataclass(frozen=True)
class Rounds:
    """What a probe sends back: samples of several networks, taken in turns."""

    rounds_ms: tuple[RoundsMs, ...]  # [network][cycle][run], each run for one whole batch
    ended: Literal["precise", "time"]
    steady: bool  # whether the warm-up got there
    before: State
    after: State

    def __post_init__(self) -> None:
        cycles = {len(network) for network in self.rounds_ms}
        runs = {len(one) for network in self.rounds_ms for one in network}
        if len(cycles) != 1 or len(runs) != 1 or 0 in cycles | runs:
            raise InputError("rounds_ms must hold as many rounds of as many runs for each network")
        if not all(math.isfinite(ms) and ms > 0 for network in self.rounds_ms for one in network for ms in one):
            raise InputError("rounds_ms must hold positive finite milliseconds")


@dataclass(frozen=True)
class Latency:
    """One reading: the latency of one network, for one whole batch, on one device.

    It is measured as the ratio to a reference network, in turns with which it ran, and stated as that ratio times the
    reference's latency on the quiet device. Interval and spread are those of the quiet cycles of this pass: they know
    nothing of other passes, of how the cycles were chosen, or of how well the reference's quiet latency is known.
    Raises InputError when the samples are no positive finite times.
    """

    rounds_ms: RoundsMs  # [cycle][run] of the network, milliseconds
    reference_rounds_ms: RoundsMs  # [cycle][run] of the reference network, the same cycles
    reference_ms: float  # the reference's latency on the quiet device
    ended: Literal["precise", "time"]  # the interval was narrow enough, or time was up
    device: str  # as the user names it: "cpu", "cuda", "ssh://..."
    processor: str  # the device's model name
    runtime: str  # a name of search.latency.measure
    runtime_version: str  # as the runtime states it
    threads: int  # of the runtime's pool
    batch: int  # images in one run
    input_size: int  # height and width of the images, pixels
    precision: str = "fp32"  # of weights and activations
    channels_last: bool = False  # memory layout
    before: State = State()
    after: State = State()
    warnings: tuple[str, ...] = ()  # reasons to distrust the reading, one line each

    def __post_init__(self) -> None:
        Rounds((self.reference_rounds_ms, self.rounds_ms), self.ended, True, self.before, self.after)
        if not (math.isfinite(self.reference_ms) and self.reference_ms > 0):
            raise InputError(f"reference_ms = {self.reference_ms!r}: must be a number above 0")

    @property
    def backend(self) -> str:
        """Device and runtime in words, with whatever differs from batch 1 in fp32 by one thread."""
        return backend(self.device, self.runtime, self.threads, self.batch, self.precision, self.channels_last)

    @cached_property
    def ratio(self) -> tuple[float, float, float]:
        """Latency over the reference's: the median of the quiet cycles and the ends of its 95 % interval."""
        return ratio_interval(self._medians, 1)

    @property
    def latency_ms(self) -> float:
        """The latency on the quiet device, milliseconds: ratio times reference_ms."""
        return self.ratio[0] * self.reference_ms

    @property
    def low_ms(self) -> float:
        """Lower end of its 95 % interval."""
        return self.ratio[1] * self.reference_ms

    @property
    def high_ms(self) -> float:
        """Upper end of its 95 % interval."""
        return self.ratio[2] * self.reference_ms

    @cached_property
    def relative_iqr(self) -> float:
        """Interquartile range of the quiet cycles' runs over their median, a share."""
        runs = np.asarray(self.rounds_ms)[least_disturbed_cycles(self._medians)]
        low, middle, high = np.percentile(runs, (25, 50, 75))
        return float((high - low) / middle)

    @property
    def slowdown(self) -> float:
        """How many times its quiet latency the reference took, in the quiet cycles."""
        return ratio_interval(self._medians, 0)[0] / self.reference_ms

    @property
    def runs(self) -> int:
        """How many runs of the network were timed."""
        return sum(map(len, self.rounds_ms))

    @cached_property
    def _medians(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return round_medians((self.reference_rounds_ms, self.rounds_ms))

    def to_json(self) -> dict[str, object]:
        """Return the reading as a dict that json.dumps takes."""
        return strict.plain(self)

    @classmethod
    def from_json(cls, document: object, source: str = "latency") -> Self:
        """Read a reading back; raises InputError, naming source, for unknown or missing keys and wrong types."""
        return strict.read(document, cls, source, complete=True)

    def summary(self) -> dict[str, object]:
        """What there is to tell without the raw samples, JSON-ready."""
        raw = ("rounds_ms", "reference_rounds_ms")
        told = {"latency_ms": self.latency_ms, "low_ms": self.low_ms, "high_ms": self.high_ms, "ratio": self.ratio[0]}
        told |= {"relative_iqr": self.relative_iqr, "slowdown": self.slowdown, "runs": self.runs}
        return told | {key: value for key, value in self.to_json().items() if key not in raw}


def backend(device: str, runtime: str, threads: int, batch: int, precision: str, channels_last: bool) -> str:
    """How a device and runtime are called in print and as a key: "cpu onnxruntime", "cuda torch-graph fp16"."""
    words = [device, runtime, *([precision] if precision != "fp32" else []), *(["NHWC"] if channels_last else [])]
    words += [f"{threads} threads"] if threads > 1 else []
    words += [f"batch {batch}"] if batch > 1 else []
    return " ".join(words)


def reading_warnings(latency: Latency, tolerance: float, steady: bool) -> Iterator[str]:
    """Reasons to distrust a reading, one line each."""
    middle, low, high = latency.ratio
    if not steady:
        yield UNSTEADY
    if latency.relative_iqr > WIDE_SPREAD:
        yield f"wide spread: interquartile range {latency.relative_iqr:.0%} of the median"
    wide = max(high / middle - 1, 1 - low / middle)
    if latency.ended == "time" and wide > WIDER * tolerance:
        yield f"wide interval: within {wide:.1%} when time was up, {tolerance:.1%} was asked for"
    if latency.slowdown > BUSY:
        yield f"busy device: the reference network took {latency.slowdown:.2f} times its quiet latency"
    if latency.slowdown < 1 / BUSY:
        yield (
            f"the reference network took only {latency.slowdown:.2f} times its recorded quiet latency, which is too "
            "long; take it anew with threshnet measure --calibrate"
        )
    yield from changes(latency.before, latency.after)


def changes(before: State, after: State) -> Iterator[str]:
    """What the machine's state tells against a reading."""
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
    """A probe's answer, checked; InputError where it is none, or of another number of networks, cycles or runs."""
    rounds = strict.read(document, Rounds, source, complete=True)
    if len(rounds.rounds_ms) != networks:
        raise InputError(f"{source}: rounds of {len(rounds.rounds_ms)} networks, {networks} were asked for")
    cycles, taken = len(rounds.rounds_ms[0]), len(rounds.rounds_ms[0][0])
    if cycles < MIN_CYCLES or taken != runs:
        raise InputError(f"{source}: {cycles} cycles of {taken} runs, {MIN_CYCLES} or more of {runs} were asked for")
    return rounds
