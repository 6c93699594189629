"""Which processor this machine has."""

import os
import platform
import subprocess
from pathlib import Path


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model name, as Linux or macOS states it, else the machine's architecture."""
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        named = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    elif cpuinfo.is_file():
        lines = [line.partition(":") for line in cpuinfo.read_text(errors="replace").splitlines()]
        stated = {key.strip(): value.strip() for key, _, value in lines}
        named = stated.get("model name") or stated.get("Model") or ""  # "Model": the board, on a Raspberry Pi
    else:
        named = platform.processor()
    return named or platform.machine() or "unknown"


def usable_processors() -> int:
    """How many processors this process may run on, which can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
