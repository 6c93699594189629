"""Idle baselines: the latency of the reference network on an idle device, which is the scale of all readings."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from search.latency.reference import state_folder
from threshnet import strict
from threshnet.errors import InputError, require

EARLIER = "references.json"  # the file of earlier versions: only latencies, by conditions without the host


@dataclass(frozen=True)
class Baseline:
    """The latency of the reference network on an idle device. Raises InputError unless 0 < low_ms <= ms <= high_ms."""

    # The latency and its 95 % interval, in milliseconds.
    ms: float
    low_ms: float
    high_ms: float
    # Host name of the measured machine. It is '' in records of earlier versions, as is the date.
    host: str = ""
    # Time of the measurement (UTC), e.g. "2026-11-28 01:36".
    date: str = ""
    # Mean number of runnable processes in the minute before, and temperature in degrees C; None if not reported.
    load: float | None = None
    temperature_c: float | None = None
    # True if the device was busy or throttled in every attempt. It is renewed after the next undisturbed reading.
    disturbed: bool = False

    def __post_init__(self) -> None:
        ordered = 0 < self.low_ms <= self.ms <= self.high_ms < math.inf
        require(ordered, "ms", self.ms, f"above 0 and between {self.low_ms} and {self.high_ms}")

    @property
    def id(self) -> str:
        """A short hash of the baseline."""
        return hashlib.sha256(json.dumps(strict.plain(self), sort_keys=True).encode()).hexdigest()[:8]

    @property
    def text(self) -> str:
        """The baseline in one line without the host, e.g. "1.230 ms, 2026-11-28 01:36 UTC, load 0.1"."""
        parts = [f"{self.ms:.3f} ms", self.date and f"{self.date} UTC"]
        parts += ["" if self.load is None else f"load {self.load:.1f}"]
        parts += ["" if self.temperature_c is None else f"{self.temperature_c:.0f} degrees C"]
        return ", ".join([*filter(None, parts), *(["device busy"] if self.disturbed else [])])


def recorded_baseline(
    conditions: str,
    host: str,
    take: Callable[[], Baseline],
    replaces: Callable[[Baseline, Baseline], bool] | None = None,
) -> Baseline:
    """Return the idle baseline; if none is recorded, it is measured by `take` and recorded.

    `conditions` describes everything that the latency depends on except the host, as several hosts may share a home
    folder. Given `replaces`, the baseline is measured again, and replaces(earlier, new) decides which one is kept.
    Raises InputError if the record is damaged or cannot be written.
    """
    file, key = state_folder() / "baselines.json", f"{conditions}, host {host}"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            earlier = _read(file).get(key) or _read(file.with_name(EARLIER)).get(conditions)
        if earlier and not replaces:
            return earlier
        taken = take()
        with FileLock(file.with_suffix(".lock")):
            recorded = _read(file)
            latest = recorded.get(key, earlier)
            if latest and (latest != earlier or not replaces or not replaces(latest, taken)):
                return latest  # another process may have recorded it in the meantime
            part = file.with_suffix(".part")
            entries = {name: strict.plain(value) for name, value in (recorded | {key: taken}).items()}
            part.write_text(json.dumps(entries, indent=2) + "\n")
            part.replace(file)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be used ({error.strerror})") from None
    return taken


def _read(file: Path) -> dict[str, Baseline]:
    """Read the recorded baselines; earlier versions recorded only their latencies."""
    try:
        found = json.loads(file.read_text())
        if not isinstance(found, dict):
            raise InputError("not an object")
        return {
            key: Baseline(value, value, value) if isinstance(value, float) else strict.read(value, Baseline, key)
            for key, value in found.items()
        }
    except FileNotFoundError:
        return {}
    except ValueError:
        raise InputError(f"{file}: not a record of reference latencies; delete it to have them re-measured") from None
