"""Who may use a device now: one measurement alone, or any number of trainings, between processes and users.

A measurement holds its device's lease exclusively; whatever else loads this machine (training steps, exports) holds the
CPU's lease shared, for a moment at a time, and so pauses while the CPU is measured.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import ReadWriteLock, Timeout

from search.latency.protocol import MeasurementError

CPU = "cpu"
PATIENCE_S = 1800.0  # how long a measurement waits for its device


def lease_file(device: str) -> Path:
    """The lock file of a device, in a folder that all users of this machine share."""
    folder = Path(tempfile.gettempdir()) / "threshnet-leases"
    name = device if device.isalnum() else hashlib.sha256(device.encode()).hexdigest()[:16]
    path = folder / f"{name}.lock"
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o777)  # whatever the umask
    with contextlib.suppress(FileExistsError):  # a link is no place to make a file
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR, 0o666)
        os.fchmod(descriptor, 0o666)
        os.close(descriptor)
    return path


@contextlib.contextmanager
def exclusive(device: str, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold a device for a measurement; MeasurementError where others keep it for longer than patience_s."""
    try:
        with ReadWriteLock(lease_file(device)).write_lock(timeout=patience_s):
            yield
    except Timeout:
        raise MeasurementError(f"{device}: still measured by others after {patience_s:g} s") from None


@contextlib.contextmanager
def shared(*devices: str) -> Iterator[None]:
    """Load this machine's CPU, and these devices, for a moment; waits while one of them is measured.

    Devices are called by their leases: Device.lease.
    """
    with contextlib.ExitStack() as held:
        for device in dict.fromkeys((CPU, *devices)):
            held.enter_context(ReadWriteLock(lease_file(device)).read_lock())
        yield
