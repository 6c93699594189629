"""Is a device fit to measure on: what it tells of itself, and whether its runtime survives the reference network."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from search.latency.devices.device import Device
from search.latency.measure import check_runtime, measure_on
from search.latency.protocol import DEFAULT_PROTOCOL, MeasurementError, Protocol
from search.latency.reading import THROTTLED_NOW, Latency, State
from search.latency.reference import REFERENCE
from threshnet import strict
from threshnet.errors import InputError
from threshnet.untrusted import clean

INPUT_SIZE = 32  # pixels; what most studies measure at
ENOUGH_MIB = 500  # free memory below this is worth a hint: Python, onnxruntime and a large network take about as much
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
    """Versions of what a probe needs, None where it is not installed."""

    numpy: str | None
    onnxruntime: str | None


@dataclass(frozen=True)
class About:
    """What a machine tells of itself."""

    python: str  # version
    machine: str  # architecture
    bits: int  # of its Python: 64 or 32
    processor: str  # model name
    processors: int  # how many a probe may use
    versions: Versions
    free_mib: int | None  # memory that is free, None where the machine does not tell
    state: State


@dataclass(frozen=True)
class Check:
    """What is known of a device, and what speaks against it."""

    device: str
    runtime: str  # the one that was tried
    about: About | None  # None where it could not be asked
    runtime_version: str | None  # None where the runtime did not survive its first inference
    latency_ms: float | None  # of the reference network, now
    reference_ms: float | None  # of the reference network, as recorded on the quiet device
    problems: tuple[str, ...]  # why not to measure on it, one line each
    hints: tuple[str, ...]  # what makes its readings worse, one line each
    install: str | None  # the one command that installs what is missing
    afterwards: str | None  # the device's name once that is done

    @property
    def fit(self) -> bool:
        """Whether networks can be measured on it."""
        return not self.problems

    def to_json(self) -> dict[str, object]:
        """Return the check as a dict that json.dumps takes."""
        return {"fit": self.fit, **strict.plain(self)}


def check(device: Device, protocol: Protocol = DEFAULT_PROTOCOL, *, anew: bool = False) -> Check:
    """Ask a device about itself, then measure the reference network on it in a second process.

    `anew` takes the reference's quiet latency again. InputError where the device is not of this machine.
    """
    runtime = device.runtimes[0]
    check_runtime(device, runtime, protocol)
    about: About | None = None
    latency: Latency | None = None
    failure = ""
    try:
        about = _about(device, runtime, protocol)
        latency = measure_on(device, REFERENCE, INPUT_SIZE, runtime, protocol, anew=anew)
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
    """What the machine tells; MeasurementError where it cannot be reached or tells nonsense."""
    with device.probe(runtime, protocol) as talk:
        answer = talk.ask("about", {}, protocol.timeout_s)
    try:
        told = strict.read(answer, About, talk.name, complete=True)
    except InputError as error:
        raise MeasurementError(f"answered nonsense, {clean(str(error))}") from None
    return replace(
        told,
        python=clean(told.python),
        machine=clean(told.machine),
        processor=clean(told.processor),
        versions=Versions(**{name: version and clean(version) for name, version in vars(told.versions).items()}),
        state=replace(told.state, governor=told.state.governor and clean(told.state.governor)),
    )


def _missing(about: About | None, failure: str) -> list[str]:
    """Packages that the far side lacks, as far as that is why it failed."""
    if not about or not failure:
        return []
    return [name for name, version in vars(about.versions).items() if version is None]


def _problems(about: About | None, failure: str, missing: list[str]) -> Iterator[str]:
    if about and about.bits != 64:
        yield f"its Python is a {about.bits}-bit one ({about.machine}), for which there is no onnxruntime"
    if missing:
        yield f"{' and '.join(missing)} not installed"
    elif failure and about and "SIGILL" in failure:
        version = about.versions.onnxruntime
        yield f"onnxruntime {version} has instructions that this processor has not, try another version: {failure}"
    elif failure:
        yield failure


def _throttled(about: About | None, *, now: bool) -> Iterator[str]:
    """What the bits of vcgencmd say: of this moment, or of the time since boot."""
    bits = about.state.throttled if about else None
    for bit, words in THROTTLED.items():
        if (bits or 0) >> bit & 1 and bool(1 << bit & THROTTLED_NOW) == now:
            yield words


def _hints(device: Device, about: About | None, latency: Latency | None) -> Iterator[str]:
    if about:
        yield from _throttled(about, now=False)
        yield from device.hints(about.state)
        if about.free_mib is not None and about.free_mib < ENOUGH_MIB:
            yield f"only {about.free_mib} MiB of memory are free"
    yield from map(clean, latency.warnings if latency else ())
