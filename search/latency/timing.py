"""How a latency is taken, and the record of one reading: no torch, so that a child process starts at once."""

import contextlib
import dataclasses
import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args, get_origin

import numpy as np

from threshnet.errors import InputError

WARMUP_RUNS = 6  # fewest warm-up runs: two in each third, the least by which steadiness can be judged
WARMUP_PATIENCE = 4.0  # an unsteady warm-up is given up after this many times warmup_s
STEADY_CHANGE = 0.05  # steady: the medians of the middle and the last third of the warm-up differ by at most this share
WIDE_SPREAD = 0.10  # a relative interquartile range above this is worth a warning
CONFIDENCE = 0.95  # of the interval of the median


class MeasurementError(RuntimeError):
    """A latency could not be taken: the probe died, ran out of time or answered nonsense; the message is one line."""


@dataclass(frozen=True)
class Protocol:
    """How a latency is taken: threads, batch, warm-up and when to stop.

    The defaults take about 1.3 s for a network of 1-10 ms (100 runs at 10 ms, 500 at 1 ms), and at least 64 runs up to
    15 ms. Raises InputError for a value out of range.
    """

    threads: int = 1  # of the runtime's own pool, >= 1
    batch: int = 1  # images in one run, >= 1
    warmup_s: float = 0.3  # seconds of untimed runs before the first sample; up to WARMUP_PATIENCE times if unsteady
    min_runs: int = 16  # samples taken even when max_s is over, >= 1
    max_runs: int = 500  # samples after which the measurement ends, >= min_runs
    max_s: float = 1.0  # seconds after which the measurement ends, once min_runs are taken
    timeout_s: float = 180.0  # seconds after which the whole child process, start-up and all, is given up

    def __post_init__(self) -> None:
        for name, least in (("threads", 1), ("batch", 1), ("min_runs", 1), ("max_runs", self.min_runs)):
            if getattr(self, name) < least:
                raise InputError(f"protocol: {name} = {getattr(self, name)!r}, must be at least {least}")
        for name in ("warmup_s", "max_s", "timeout_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"protocol: {name} = {getattr(self, name)!r}, must be a number of seconds, 0 or more")

    def to_json(self) -> dict[str, object]:
        """Return the protocol as a dict that json.dumps takes."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: object, source: str = "protocol") -> Self:
        """Read a protocol back; raises InputError, naming source, for unknown or missing keys and wrong types."""
        return cls(**_checked(document, cls, source))


DEFAULT_PROTOCOL = Protocol()


@dataclass(frozen=True)
class Latency:
    """One reading: the latency of one network, for one whole batch, on one device.

    Raises InputError when the samples are no positive finite times or the statistics are not those of the samples.
    """

    median_ms: float  # of the samples
    iqr_ms: float  # 75th minus 25th percentile of the samples, linearly interpolated
    samples_ms: tuple[float, ...]  # every timed run, in the order taken, each for one whole batch
    device: str  # as named to measure_on: "cpu"
    processor: str  # the device's model name
    runtime: str  # "onnxruntime" or "torch"
    runtime_version: str  # as the runtime states it
    threads: int  # of the runtime's pool
    batch: int  # images in one run
    input_size: int  # height and width of the images, pixels
    precision: str = "fp32"  # of weights and activations
    warnings: tuple[str, ...] = ()  # reasons to distrust the reading, one line each

    def __post_init__(self) -> None:
        _check_times(self.samples_ms)
        for name, given, right in zip(
            ("median_ms", "iqr_ms"), (self.median_ms, self.iqr_ms), _statistics(self.samples_ms), strict=True
        ):
            if not math.isclose(given, right, rel_tol=1e-9, abs_tol=1e-9):
                raise InputError(f"latency: {name} = {given!r}, but that of samples_ms is {right!r}")

    @property
    def relative_iqr(self) -> float:
        """Interquartile range over median, a share."""
        return self.iqr_ms / self.median_ms

    @property
    def low_ms(self) -> float:
        """Lower end of the 95 % interval of the median, see median_interval."""
        return median_interval(self.samples_ms)[0]

    @property
    def high_ms(self) -> float:
        """Upper end of the 95 % interval of the median, see median_interval."""
        return median_interval(self.samples_ms)[1]

    def to_json(self) -> dict[str, object]:
        """Return the reading as a dict that json.dumps takes."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"samples_ms": list(self.samples_ms), "warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, document: object, source: str = "latency") -> Self:
        """Read a reading back; raises InputError, naming source, for unknown or missing keys and wrong types."""
        return cls(**_checked(document, cls, source))


def summarise(
    samples_ms: Sequence[float],
    protocol: Protocol,
    *,
    device: str,
    processor: str,
    runtime: str,
    runtime_version: str,
    input_size: int,
    precision: str = "fp32",
    warnings: Sequence[str] = (),
) -> Latency:
    """Make the reading of samples in milliseconds, with a warning when they spread wide; InputError if not times."""
    _check_times(samples_ms)
    median_ms, iqr_ms = _statistics(samples_ms)
    wide = f"wide spread: interquartile range {iqr_ms:.3g} ms, above {WIDE_SPREAD:.0%} of the median {median_ms:.3g} ms"
    return Latency(
        median_ms=median_ms,
        iqr_ms=iqr_ms,
        samples_ms=tuple(samples_ms),
        device=device,
        processor=processor,
        runtime=runtime,
        runtime_version=runtime_version,
        threads=protocol.threads,
        batch=protocol.batch,
        input_size=input_size,
        precision=precision,
        warnings=(*warnings, *([wide] if iqr_ms > WIDE_SPREAD * median_ms else [])),
    )


def median_interval(samples_ms: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median of n samples, whatever their distribution.

    It is [x_(k), x_(n+1-k)] with the largest k for which P(Binomial(n, 1/2) < k) <= 2.5 % (Conover, Practical
    Nonparametric Statistics, 3rd ed., section 3.2). With n < 6 there is none: minimum and maximum are returned. It
    covers the noise within one pass only; drift between passes (4-9 %, FIELD.md) is not in it.
    """
    ordered = sorted(samples_ms)
    n = len(ordered)
    allowed = (1 - CONFIDENCE) / 2
    k, tail, mass = 0, 0, 1  # tail: 2^n P(Binomial < k), mass: 2^n P(Binomial = k), exact integers
    while (tail + mass) / (1 << n) <= allowed:
        tail += mass
        mass = mass * (n - k) // (k + 1)
        k += 1
    return ordered[max(k, 1) - 1], ordered[n - max(k, 1)]


def warm_up(run: Callable[[], object], protocol: Protocol, clock: Callable[[], int] = time.perf_counter_ns) -> bool:
    """Run untimed until steady and return whether it got there.

    At least WARMUP_RUNS runs; then it ends as soon as warmup_s has passed and the runs are steady (STEADY_CHANGE), or
    unsteady after WARMUP_PATIENCE x warmup_s. clock counts nanoseconds.
    """
    samples: list[int] = []
    began = clock()
    while True:
        start = clock()
        run()
        end = clock()
        samples.append(end - start)
        if len(samples) < WARMUP_RUNS or end - began < protocol.warmup_s * 1e9:
            continue
        third = len(samples) // 3
        middle, last = np.median(samples[-2 * third : -third]), np.median(samples[-third:])
        if abs(last - middle) <= STEADY_CHANGE * middle:
            return True
        if end - began >= WARMUP_PATIENCE * protocol.warmup_s * 1e9:
            return False


def take(run: Callable[[], object], protocol: Protocol, clock: Callable[[], int] = time.perf_counter_ns) -> list[float]:
    """Time run after run, each alone and with the garbage collector off, and return milliseconds.

    Ends after max_runs, or as soon as max_s has passed and min_runs are taken. clock counts nanoseconds.
    """
    samples_ms: list[float] = []
    with _no_garbage_collection():
        began = clock()
        while True:
            start = clock()
            run()
            end = clock()
            samples_ms.append((end - start) / 1e6)
            taken = len(samples_ms)
            if taken >= protocol.max_runs or (taken >= protocol.min_runs and end - began >= protocol.max_s * 1e9):
                return samples_ms


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _statistics(samples_ms: Sequence[float]) -> tuple[float, float]:
    lower, median, upper = np.percentile(np.asarray(samples_ms, dtype=np.float64), (25, 50, 75))
    return float(median), float(upper - lower)


def _check_times(samples_ms: Sequence[float]) -> None:
    if not samples_ms or not all(math.isfinite(sample) and sample > 0 for sample in samples_ms):
        raise InputError("latency: samples_ms must hold positive finite milliseconds, at least one")


def _checked(document: object, record: type[Protocol] | type[Latency], source: str) -> dict[str, Any]:
    """Return the fields of a record from a JSON object; InputError for unknown or missing keys and wrong types."""
    if not isinstance(document, Mapping):
        raise InputError(f"{source}: {document!r}, must be a JSON object")
    kinds: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(record)}
    for problem, keys in (("unknown", document.keys() - kinds.keys()), ("missing", kinds.keys() - document.keys())):
        if keys:
            raise InputError(
                f"{source}: {problem} keys {', '.join(sorted(map(repr, keys)))}; it has {', '.join(kinds)}"
            )
    return {name: _value(document[name], kind, f"{source}: {name}") for name, kind in kinds.items()}


def _value(value: object, kind: Any, where: str) -> object:  # noqa: ANN401 - a type or a generic alias of one
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_value(item, get_args(kind)[0], f"{where}[{index}]") for index, item in enumerate(value))
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (int, str) and type(value) is kind:
        return value
    raise InputError(f"{where} = {value!r}, must be {getattr(kind, '__name__', kind)}")
