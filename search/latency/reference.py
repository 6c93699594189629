"""The reference network, to which every latency is a ratio, and its idle baseline: its latency on the idle device."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from threshnet.errors import InputError
from threshnet.named import harmonic_block
from threshnet.spec import NetworkSpec, StemSpec

# Small enough for the caches of a Raspberry Pi (0.23 M parameters), so that its latency follows the clock and not the
# memory traffic of other processes; 59 M MACs at 32x32, typical of a study. Never change it: ratios to different
# reference networks are not comparable.
REFERENCE = NetworkSpec(
    blocks=(harmonic_block(4, 16, 64), harmonic_block(4, 16, 64), harmonic_block(4, 16, 96, pool=True)),
    stem=StemSpec((16, 32), stride=2, pool=False),
)


def state_folder() -> Path:
    """The folder for state that persists between runs (XDG base directories)."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "threshnet"


def idle_latency(conditions: str, take: Callable[[], float], *, recalibrate: bool = False) -> float:
    """The reference's idle baseline in ms under these conditions; measured by `take` and recorded if there is none.

    `conditions` is everything that the latency depends on, as text. The baseline is recorded once, so that all later
    readings are on one scale; `recalibrate` replaces it. Raises InputError if the record is damaged or cannot be
    written.
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
            if conditions in recorded and not recalibrate:  # recorded by another process meanwhile
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
