"""Device leases across processes and users: a readers-writer lock that allows one measurement or many trainings.

A measurement holds the exclusive lease of its device. All other work on this machine (training steps, exports) holds
the shared lease of the CPU for short periods. This work therefore pauses while the CPU is measured.
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
WAIT_S = 1800.0  # maximum number of seconds that a measurement waits for its device


def lease_file(device: str) -> Path:
    """Return the lock file of a device, in a folder that all users of this machine share."""
    folder = Path(tempfile.gettempdir()) / "threshnet-leases"
    name = device if device.isalnum() else hashlib.sha256(device.encode()).hexdigest()[:16]
    path = folder / f"{name}.lock"
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o777)  # regardless of the umask
    with contextlib.suppress(FileExistsError):  # does not create a file through a symbolic link
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR, 0o666)
        os.fchmod(descriptor, 0o666)
        os.close(descriptor)
    return path


@contextlib.contextmanager
def exclusive(device: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the exclusive lease of a device; raises MeasurementError if the lease is not free within wait_s."""
    try:
        with ReadWriteLock(lease_file(device)).write_lock(timeout=wait_s):
            yield
    except Timeout:
        raise MeasurementError(f"{device}: still in use by another measurement after {wait_s:g} s") from None


@contextlib.contextmanager
def shared(*devices: str) -> Iterator[None]:
    """Hold the shared leases of this machine's CPU and of other devices; waits while one of them is being measured.

    `devices` are names of leases, see Device.lease.
    """
    with contextlib.ExitStack() as held:
        for device in dict.fromkeys((CPU, *devices)):
            held.enter_context(ReadWriteLock(lease_file(device)).read_lock())
        yield
