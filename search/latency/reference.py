"""The reference network and its idle baseline; all latencies are measured relative to the reference network."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from threshnet.errors import InputError
from threshnet.named import harmonic_block
from threshnet.spec import NetworkSpec, StemSpec

# The network has 0.23 M parameters and fits into the caches of a Raspberry Pi, so its latency depends on the clock and
# not on the memory traffic of other processes. It has 59 M MACs at 32x32, which is typical of a study. Never change it,
# because ratios to different reference networks are not comparable.
REFERENCE = NetworkSpec(
    blocks=(harmonic_block(4, 16, 64), harmonic_block(4, 16, 64), harmonic_block(4, 16, 96, pool=True)),
    stem=StemSpec((16, 32), stride=2, pool=False),
)


def state_folder() -> Path:
    """Return the folder for state that persists between runs (XDG base directories)."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "threshnet"


def idle_latency(conditions: str, take: Callable[[], float], *, recalibrate: bool = False) -> float:
    """Return the idle baseline in ms; if none is recorded, it is measured by `take` and recorded.

    The idle baseline is the latency of the reference network on the idle device. `conditions` describes everything that
    the latency depends on. The baseline is recorded only once, so that all later readings use the same scale.
    `recalibrate` replaces the recorded baseline. Raises InputError if the record is damaged or cannot be written.
    """
    file = state_folder() / "references.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            recorded = _read(file)
        if conditions in recorded and not recalibrate:
            return recorded[conditions]
        milliseconds = take()
        with FileLock(file.with_suffix(".lock")):
            recorded = _read(file)
            if conditions in recorded and not recalibrate:  # another process has recorded it in the meantime
                return recorded[conditions]
            recorded[conditions] = milliseconds
            part = file.with_suffix(".part")
            part.write_text(json.dumps(recorded, indent=2) + "\n")
            part.replace(file)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be used ({error.strerror})") from None
    return milliseconds


def _read(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(ms, float) and 0 < ms < math.inf for ms in found.values()):
        raise InputError(f"{file}: not a record of reference latencies; delete it to have them re-measured")
    return found
