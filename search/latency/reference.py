"""The reference network: all latencies are measured relative to it."""

import os
from pathlib import Path

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
