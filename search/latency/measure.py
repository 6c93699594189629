"""Measure the latency of one network on a device, or run several networks interleaved on a bench."""

import base64
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from search.latency import lease
from search.latency.baseline import Baseline, recorded_baseline
from search.latency.conversation import Conversation
from search.latency.devices.device import Device
from search.latency.onnx_files import Network
from search.latency.probes.probe import MAX_WARMUP, ratio_interval
from search.latency.protocol import DEFAULT_PROTOCOL, ConnectionLost, MeasurementError, Plan, Protocol
from search.latency.reading import Latency, Rounds, as_rounds, disturbances, reading_warnings
from search.latency.reference import REFERENCE
from search.latency.settled import settled_readings
from threshnet import strict
from threshnet.errors import InputError
from threshnet.shapes import walk
from threshnet.spec import NetworkSpec
from threshnet.untrusted import clean

Answer = TypeVar("Answer")
OUTDATED = 0.95  # a baseline is renewed if the reference network takes less than this share of it
BASELINE_S = 0.5  # an idle baseline is measured for up to this many seconds even if the protocol asks for less
MAX_WIDTH = 0.05  # maximum relative half-width of the interval of an idle baseline
MAX_LOST = 0.05  # maximum share of the runs of an idle baseline that lost the processor to another process
PAUSE_S = 2.0  # seconds to wait before retrying after a lost connection


@dataclass(frozen=True)
class Facts:
    """Facts that a probe reports after loading the networks; control characters are removed."""

    runtime_version: str
    processor: str
    notes: tuple[str, ...]
    pid: int
    processors: int
    priority: int
    host: str = ""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int):
                safe = clean(value) if isinstance(value, str) else tuple(map(clean, value))
                object.__setattr__(self, name, safe)


@dataclass(frozen=True)
class Bench:
    """Networks on a device, ready to be loaded and measured."""

    device: Device
    talk: Conversation
    models: Sequence[object]  # the networks as the probe loads them
    request: dict[str, object]  # the other parts of the request to load them
    timeout_s: float

    def load(self, *, backwards: bool = False) -> Facts:
        """Load or reload the networks, the last one first if `backwards`; reloading moves the networks in memory."""
        request = self.request | {"models": self.models[::-1] if backwards else self.models}
        with contextlib.nullcontext() if self.device.remote_lease else lease.shared(self.device.lease):
            answer = self.talk.ask("load", request, self.timeout_s)
        return parsed(lambda: strict.read(answer, Facts, self.talk.name, complete=True))

    def rounds(self, order: Sequence[int], plan: Plan) -> Rounds:
        """Time networks interleaved and with exclusive use of the device.

        `order` has the places of the networks in the order in which they were loaded. With fewer than MIN_CYCLES
        cycles, the rounds do not determine an interval.
        """
        request = asdict(plan) | {"order": list(order), "lease": self.device.remote_lease}
        runs = plan.round_runs - plan.discard
        with contextlib.ExitStack() as held:
            if not self.device.remote_lease and self.device.lease != lease.CPU:
                held.enter_context(lease.shared())  # the host thread of a GPU also uses the CPU
            held.enter_context(lease.exclusive(self.device.lease))
            silent_s = self.timeout_s + plan.max_s + MAX_WARMUP * plan.warmup_s * len(order)
            answer = self.talk.ask("measure", request, silent_s)
        return parsed(lambda: as_rounds(answer, self.talk.name, len(order), runs, plan.min_cycles))


def check_runtime(device: Device, runtime: str, protocol: Protocol) -> None:
    """Raise InputError if the device does not have the runtime or the runtime does not support the protocol."""
    if runtime not in device.runtimes:
        raise InputError(f"runtime {runtime!r}: must be one of {', '.join(device.runtimes)}")
    device.check(runtime, protocol)


def measure_on(
    device: Device,
    network: Network,
    input_size: int,
    runtime: str = "onnxruntime",
    protocol: Protocol = DEFAULT_PROTOCOL,
    *,
    recalibrate: bool = False,
) -> Latency:
    """Measure a network relative to the reference network. See `measure_all`."""
    (latency,) = measure_all(device, (network,), input_size, runtime, protocol, recalibrate=recalibrate)
    return latency


def measure_all(
    device: Device,
    networks: Sequence[Network],
    input_size: int,
    runtime: str,
    protocol: Protocol,
    *,
    recalibrate: bool = False,
    jpeg: bytes = b"",
    from_jpeg: Sequence[int] = (),
) -> tuple[Latency, ...]:
    """Measure networks relative to the reference network, interleaved, each for the time of the protocol.

    The input has the shape (batch, 3, size, size). `recalibrate` re-measures the idle baseline of the reference
    network. The networks with the indices in `from_jpeg` also decode and resize the image in `jpeg`, the content of a
    JPEG file, in every run; this needs batch size 1 and, on the device, Pillow. Raises InputError if the runtime is
    unknown, or if the input is so small that pooling leaves no pixels. Raises MeasurementError if the measurement
    fails. The global random state and the number of threads of torch do not change.
    """
    share = replace(protocol, min_s=protocol.min_s * len(networks), max_s=protocol.max_s * len(networks))
    decode = {"jpeg": base64.b64encode(jpeg).decode(), "from_jpeg": [1 + index for index in from_jpeg]}

    def once(device: Device) -> tuple[Latency, ...]:
        with bench(device, (REFERENCE, *networks), input_size, runtime, protocol, decode if jpeg else {}) as ready:
            facts = ready.load()
            setting = _Setting(ready, facts, input_size, runtime, protocol)
            baseline = setting.baseline(protocol.retakes, (lambda earlier, new: True) if recalibrate else None)
            rounds = ready.rounds(range(1 + len(networks)), share.plan)
            readings = setting.readings(rounds, replace(baseline, disturbed=False))
            doubtful = baseline.disturbed or readings[0].slowdown < OUTDATED
            if doubtful and not any(latency.disturbed for latency in readings):
                with contextlib.suppress(MeasurementError):  # the readings are valid all the same
                    baseline = setting.baseline(0, better)
            return setting.readings(rounds, baseline)

    return retried(device, once)


def retried(device: Device, work: Callable[[Device], Answer]) -> Answer:
    """Return the result of `work` on a device; if the connection is lost, `work` is tried up to device.tries times."""
    for left in reversed(range(device.tries)):
        try:
            return work(device)
        except ConnectionLost:
            if not left:
                raise
            time.sleep(PAUSE_S)
    raise AssertionError("a device is tried at least once")


@contextlib.contextmanager
def bench(
    device: Device,
    networks: Sequence[Network],
    input_size: int,
    runtime: str,
    protocol: Protocol,
    decode: Mapping[str, object] = MappingProxyType({}),
) -> Iterator[Bench]:
    """Start a probe that can load these networks on the device; the probe ends with the block.

    `decode` contains a JPEG file (base64) as "jpeg", and as "from_jpeg" the indices of the networks that decode it.
    """
    check_runtime(device, runtime, protocol)
    for network in networks:
        if isinstance(network, NetworkSpec):
            walk(network, input_size)  # raises InputError if the input is too small
    settings = {name: getattr(protocol, name) for name in ("threads", "batch", "precision", "channels_last")}
    settings |= {"input_size": input_size, "runtime": runtime, **decode}
    with (
        device.probe(runtime, protocol) as talk,
        device.models(talk, networks, input_size, runtime, protocol) as models,
    ):
        yield Bench(device, talk, models, {"settings": settings}, protocol.timeout_s)


def better(earlier: Baseline, new: Baseline) -> bool:
    """Return whether a new idle baseline replaces an earlier one, of which a reading has raised doubts."""
    if new.disturbed or earlier.disturbed:
        return not new.disturbed or (earlier.disturbed and new.ms < earlier.ms)
    return new.ms < OUTDATED * earlier.ms


@dataclass(frozen=True)
class _Setting:
    """A bench with its networks loaded, and the settings that its readings share."""

    ready: Bench
    facts: Facts
    input_size: int
    runtime: str
    protocol: Protocol

    def baseline(self, retakes: int, replaces: Callable[[Baseline, Baseline], bool] | None) -> Baseline:
        """Return the idle baseline under the conditions of this bench; `replaces` measures it again.

        While the device is busy or throttled, it is measured up to `retakes` more times, after pauses. See
        `recorded_baseline`.
        """
        conditions = {
            "device": self.ready.device.name,
            "processor": self.facts.processor,
            "runtime": f"{self.runtime} {self.facts.runtime_version}",
            "threads": self.protocol.threads,
            "batch": self.protocol.batch,
            "input": self.input_size,
            "precision": self.protocol.precision + (" channels_last" if self.protocol.channels_last else ""),
            "reference": REFERENCE.fingerprint(),
        }
        text = ", ".join(f"{key} {value}" for key, value in conditions.items())
        return recorded_baseline(text, self.facts.host, partial(self._take_baseline, retakes), replaces)

    def _take_baseline(self, retakes: int) -> Baseline:
        before = self.protocol
        longer = replace(
            before,
            min_s=2 * before.min_s,
            max_s=max(2 * before.max_s, BASELINE_S),
            tolerance=before.tolerance / 2,
            retakes=retakes,
        )

        def take(protocol: Protocol) -> list[Latency]:
            rounds = self.ready.rounds((0,), protocol.plan)
            ms, low, high = ratio_interval(rounds.medians, 0)
            latency = self.reading(rounds, 0, Baseline(ms, low, high))
            busy = latency.lost > MAX_LOST * latency.runs or max(high / ms - 1, 1 - low / ms) > MAX_WIDTH
            return [replace(latency, disturbed=latency.disturbed or busy)]

        (latency,) = settled_readings(take, longer)
        return replace(
            latency.used_baseline,
            host=self.facts.host,
            date=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            load=latency.before.load,
            temperature_c=latency.before.temperature_c,
            disturbed=latency.disturbed,
        )

    def _missing(self, rounds: Rounds) -> float:
        """Return how many processors the threads lacked; 0 with CPU times, which do not contain other processes."""
        if rounds.cpu_ms is not None or rounds.others is None:
            return 0.0
        return max(0.0, rounds.others + self.protocol.threads - self.facts.processors)

    def readings(self, rounds: Rounds, baseline: Baseline) -> tuple[Latency, ...]:
        """Create the records of all networks except the reference network, which is the first one."""
        return tuple(self.reading(rounds, network, baseline) for network in range(1, len(rounds.rounds_ms)))

    def reading(self, rounds: Rounds, network: int, baseline: Baseline) -> Latency:
        """Create the record of the reading of one network, an index into the rounds."""
        facts, protocol, samples = self.facts, self.protocol, rounds.samples(network)
        latency = Latency(
            **samples.statistics(baseline.ms),
            samples=samples,
            reference_ms=baseline.ms,
            baseline=baseline,
            ended=rounds.ended,
            switches=rounds.switches,
            priority=facts.priority,
            missing=self._missing(rounds),
            device=self.ready.device.name,
            processor=facts.processor,
            runtime=self.runtime,
            runtime_version=facts.runtime_version,
            threads=protocol.threads,
            batch=protocol.batch,
            input_size=self.input_size,
            precision=protocol.precision,
            channels_last=protocol.channels_last,
            before=rounds.before,
            after=rounds.after,
        )
        crowded = f"{protocol.threads} threads on {facts.processors} processors"
        notes = (*facts.notes, *([crowded] if protocol.threads > facts.processors else []))
        warnings = (*notes, *reading_warnings(latency, protocol.tolerance, rounds.steady))
        disturbed = any(disturbances(latency, protocol.tolerance, rounds.steady))
        if baseline.disturbed:
            warnings = (*warnings, "busy baseline: the device was busy when the idle baseline was measured")
        return replace(latency, warnings=warnings, disturbed=disturbed or baseline.disturbed)


def parsed(read: Callable[[], Answer]) -> Answer:
    """Return the parsed reply of a probe; raises MeasurementError if the reply is malformed."""
    try:
        return read()
    except InputError as error:
        raise MeasurementError(f"malformed reply, {clean(str(error))}") from None
