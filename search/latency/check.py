"""Check a measurement device: report facts about it and measure the reference network on it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from search.latency.devices.device import Device
from search.latency.measure import check_runtime, measure_on, parsed
from search.latency.protocol import DEFAULT_PROTOCOL, MeasurementError, Protocol
from search.latency.reading import THROTTLED_NOW, Latency, State
from search.latency.reference import REFERENCE
from threshnet import strict
from threshnet.untrusted import clean

INPUT_SIZE = 32  # in pixels; the input size of most studies
ENOUGH_MIB = 500  # about the memory that Python, onnxruntime and a large network need; a hint is shown if less is free
BUSY_LOAD = 0.5  # runnable processes per processor, on average over the last minute; a hint is shown above this
PACKAGES = ("numpy", "onnxruntime")
THROTTLED = {  # bits of `vcgencmd get_throttled` (raspberrypi.com/documentation, "vcgencmd")
    0: "under-voltage now",
    1: "clock capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since boot",
    17: "clock capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}


@dataclass(frozen=True)
class Versions:
    """Versions of the packages that a probe needs; None if not installed."""

    numpy: str | None
    onnxruntime: str | None


@dataclass(frozen=True)
class About:
    """Facts that a machine reports about itself."""

    python: str  # Python version
    machine: str  # architecture
    bits: int  # 64-bit or 32-bit Python
    processor: str  # model name
    processors: int  # number of processors that a probe may use
    versions: Versions
    free_mib: int | None  # free memory; None if not reported
    state: State


@dataclass(frozen=True)
class Check:
    """The result of a device check."""

    device: str
    runtime: str  # the runtime that was tried
    about: About | None  # None if the device could not be reached
    runtime_version: str | None  # None if the runtime failed its first inference
    latency_ms: float | None  # current latency of the reference network
    reference_ms: float | None  # recorded latency of the reference network on the idle device
    problems: tuple[str, ...]  # reasons why networks cannot be measured on the device, one line each
    hints: tuple[str, ...]  # conditions that make readings on the device less reliable, one line each
    install: str | None  # the command that installs the missing packages
    afterwards: str | None  # the name of the device after the installation

    @property
    def fit(self) -> bool:
        """True if networks can be measured on the device."""
        return not self.problems

    def to_json(self) -> dict[str, object]:
        """Return the check as a JSON-serializable dict."""
        return {"fit": self.fit, **strict.plain(self)}


def check(device: Device, protocol: Protocol = DEFAULT_PROTOCOL, *, recalibrate: bool = False) -> Check:
    """Read the facts about a device, then measure the reference network on the device in a second process.

    `recalibrate` re-measures the idle baseline of the reference network. Raises InputError if there is no such device
    on this machine.
    """
    runtime = device.runtimes[0]
    check_runtime(device, runtime, protocol)
    about: About | None = None
    latency: Latency | None = None
    failure = ""
    try:
        about = _about(device, runtime, protocol)
        latency = measure_on(device, REFERENCE, INPUT_SIZE, runtime, protocol, recalibrate=recalibrate)
    except MeasurementError as error:
        failure = str(error)
    missing = _missing(about, failure)
    problems = [*_problems(about, failure, missing), *_throttled(about, now=True)]
    install, afterwards = (device.install(PACKAGES) if missing else None) or (None, None)
    return Check(
        device=device.name,
        runtime=runtime,
        about=about,
        runtime_version=clean(latency.runtime_version) if latency else None,
        latency_ms=latency.slowdown * latency.reference_ms if latency else None,
        reference_ms=latency.reference_ms if latency else None,
        problems=tuple(problems),
        hints=tuple(_hints(device, about, latency)),
        install=install,
        afterwards=afterwards,
    )


def _about(device: Device, runtime: str, protocol: Protocol) -> About:
    """Return the facts about a machine; raises MeasurementError if it is unreachable or its reply is malformed."""
    with device.probe(runtime, protocol) as talk:
        answer = talk.ask("about", {}, protocol.timeout_s)
    about = parsed(lambda: strict.read(answer, About, talk.name, complete=True))
    return replace(
        about,
        python=clean(about.python),
        machine=clean(about.machine),
        processor=clean(about.processor),
        versions=Versions(**{name: version and clean(version) for name, version in vars(about.versions).items()}),
        state=replace(about.state, governor=about.state.governor and clean(about.state.governor)),
    )


def _missing(about: About | None, failure: str) -> list[str]:
    """Return the missing packages if the check failed."""
    if not about or not failure:
        return []
    return [name for name, version in vars(about.versions).items() if version is None]


def _problems(about: About | None, failure: str, missing: list[str]) -> Iterator[str]:
    if about and about.bits != 64:
        yield f"its Python is {about.bits}-bit ({about.machine}), for which there is no onnxruntime"
    if missing:
        yield f"{' and '.join(missing)} not installed"
    elif failure and about and "SIGILL" in failure:
        version = about.versions.onnxruntime
        yield f"onnxruntime {version} uses instructions that this processor lacks, try another version: {failure}"
    elif failure:
        yield failure


def _throttled(about: About | None, *, now: bool) -> Iterator[str]:
    """Yield the meanings of the vcgencmd bits that are set, either `now` or since boot."""
    bits = about.state.throttled if about else None
    for bit, meaning in THROTTLED.items():
        if (bits or 0) >> bit & 1 and bool(1 << bit & THROTTLED_NOW) == now:
            yield meaning


def _hints(device: Device, about: About | None, latency: Latency | None) -> Iterator[str]:
    if about:
        yield from _throttled(about, now=False)
        yield from device.hints(about.state)
        if about.state.load is not None and about.state.load > BUSY_LOAD * about.processors:
            yield (
                f"busy: {about.state.load:.1f} processes on {about.processors} processor(s) in the last minute; "
                "readings are more reliable on an idle machine"
            )
        if about.free_mib is not None and about.free_mib < ENOUGH_MIB:
            yield f"only {about.free_mib} MiB of memory are free"
    yield from map(clean, latency.warnings if latency else ())
