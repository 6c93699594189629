"""The reference network that every latency is a ratio to, and its latency on the quiet device."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from threshnet.errors import InputError
from threshnet.named import harmonic_block
from threshnet.spec import NetworkSpec, StemSpec

# Small enough for the caches of a Raspberry Pi (0.23 M parameters), so that it feels the clock and not the neighbours'
# memory traffic; 59 M MACs at 32x32, in the middle of what a study tries. Never change it: ratios to another network
# cannot be compared.
REFERENCE = NetworkSpec(
    blocks=(harmonic_block(4, 16, 64), harmonic_block(4, 16, 64), harmonic_block(4, 16, 96, pool=True)),
    stem=StemSpec((16, 32), stride=2, pool=False),
)


def state_folder() -> Path:
    """Where this project remembers things between runs (XDG base directories)."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "threshnet"


def idle_latency(conditions: str, take: Callable[[], float], *, anew: bool = False) -> float:
    """The reference's latency, ms, recorded under these conditions; taken, and recorded, where there is none or `anew`.

    Conditions are all that the latency depends on, as text. It is recorded once, so that all later readings are on one
    scale. InputError where the record is damaged or cannot be written.
    """
    file = state_folder() / "references.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            known = _read(file)
        if conditions in known and not anew:
            return known[conditions]
        milliseconds = take()
        with FileLock(file.with_suffix(".lock")):
            known = _read(file)
            if conditions in known and not anew:  # recorded by another process meanwhile
                return known[conditions]
            known[conditions] = milliseconds
            written = file.with_suffix(".part")
            written.write_text(json.dumps(known, indent=2) + "\n")
            written.replace(file)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be used ({error.strerror})") from None
    return milliseconds


def _read(file: Path) -> dict[str, float]:
    try:
        known = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        known = None
    if not isinstance(known, dict) or not all(isinstance(ms, float) and 0 < ms < math.inf for ms in known.values()):
        raise InputError(f"{file}: not a record of reference latencies; delete it to have them taken again")
    return known
