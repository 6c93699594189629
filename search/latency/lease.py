"""Leases of devices, across processes and users: a readers-writer lock for one measurement or many trainings.

A measurement holds the lease of its device exclusively. All other work on this machine (training steps, exports) holds
the CPU's lease shared, a short while at a time, and so pauses while the CPU is measured.
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
WAIT_S = 1800.0  # seconds that a measurement waits for its device


def lease_file(device: str) -> Path:
    """The lock file of a device, in a folder shared by all users of this machine."""
    folder = Path(tempfile.gettempdir()) / "threshnet-leases"
    name = device if device.isalnum() else hashlib.sha256(device.encode()).hexdigest()[:16]
    path = folder / f"{name}.lock"
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o777)  # whatever the umask
    with contextlib.suppress(FileExistsError):  # no file is created through a symbolic link
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR, 0o666)
        os.fchmod(descriptor, 0o666)
        os.close(descriptor)
    return path


@contextlib.contextmanager
def exclusive(device: str, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the exclusive lease of a device; raises MeasurementError if others hold it for longer than wait_s."""
    try:
        with ReadWriteLock(lease_file(device)).write_lock(timeout=wait_s):
            yield
    except Timeout:
        raise MeasurementError(f"{device}: still in use by another measurement after {wait_s:g} s") from None


@contextlib.contextmanager
def shared(*devices: str) -> Iterator[None]:
    """Hold the shared leases of this machine's CPU and of these devices; waits while one of them is measured.

    `devices` are names of leases, see Device.lease.
    """
    with contextlib.ExitStack() as held:
        for device in dict.fromkeys((CPU, *devices)):
            held.enter_context(ReadWriteLock(lease_file(device)).read_lock())
        yield
