"""Device leases across processes and users: a readers-writer lock that allows one measurement or many trainings.

A measurement holds the exclusive lease of its device. All other work on this machine (training steps, exports) holds
the shared lease of the CPU for short periods. This work therefore pauses while the CPU is measured. The process that
measures is recorded next to the lock, so that processes that wait for the device can name it.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from filelock import ReadWriteLock, Timeout

from search.latency.reports import Holder, Wait, current_report
from threshnet import strict
from threshnet.errors import InputError

CPU = "cpu"
FOLDER = "/tmp/threshnet-leases"  # not the temporary folder of a job, since all processes must share it
FOLDER_VARIABLE = "THRESHNET_LEASES"  # environment variable that replaces FOLDER
REPORT_S = 1.0  # seconds between two reports of a wait; other work releases the shared lease sooner
MAX_RECORD = 1000  # maximum size of the record of a holder in bytes


def lease_file(device: str) -> Path:
    """Return the lock file of a device, in a folder that all users of this machine share.

    Raises InputError if the folder is not an absolute path or cannot be created.
    """
    folder = Path(os.environ.get(FOLDER_VARIABLE) or FOLDER).expanduser()
    if not folder.is_absolute():
        raise InputError(f"{FOLDER_VARIABLE} = {str(folder)!r}: must be an absolute path")
    name = device if device.isalnum() else hashlib.sha256(device.encode()).hexdigest()[:16]
    path = folder / f"{name}.lock"
    try:
        folder.mkdir(parents=True)
        folder.chmod(0o777)  # regardless of the umask
    except FileExistsError:
        pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be created ({error.strerror}); {FOLDER_VARIABLE} replaces it") from None
    with contextlib.suppress(FileExistsError):  # does not create a file through a symbolic link
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR, 0o666)
        os.fchmod(descriptor, 0o666)
        os.close(descriptor)
    return path


@contextlib.contextmanager
def exclusive(device: str) -> Iterator[None]:
    """Hold the exclusive lease of a device; waits, however long, while another process holds it."""
    with _held(device, "write"), _recorded(device):
        yield


@contextlib.contextmanager
def shared(*devices: str) -> Iterator[None]:
    """Hold the shared leases of this machine's CPU and of other devices; waits while one of them is being measured.

    `devices` are names of leases, see Device.lease.
    """
    with contextlib.ExitStack() as held:
        for device in dict.fromkeys((CPU, *devices)):
            held.enter_context(_held(device, "read"))
        yield


@contextlib.contextmanager
def _held(device: str, mode: Literal["read", "write"]) -> Iterator[None]:
    """Hold a lease and report the wait for it."""
    lock, report = ReadWriteLock(lease_file(device)), current_report()
    acquire = lock.acquire_write if mode == "write" else lock.acquire_read
    waited = False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(acquire(timeout=REPORT_S))
                break
            except Timeout:
                report(Wait(device, holder(device)))
                waited = True
        if waited:
            report(None)
        yield


def holder(device: str) -> Holder | None:
    """Return the process that was last recorded as the holder of a device, or None if it is unknown or has ended."""
    try:
        # Anyone may have created the file: do not follow a link, and do not wait for the writer of a pipe.
        descriptor = os.open(_record_file(device), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            text = os.read(descriptor, MAX_RECORD)
        finally:
            os.close(descriptor)
        found = strict.read(json.loads(text), Holder, device, complete=True)
    except (OSError, ValueError, RecursionError):
        return None
    return found if alive(found.pid) else None


@contextlib.contextmanager
def _recorded(device: str) -> Iterator[None]:
    """Record this process as the holder of a device; without a record if it cannot be written."""
    file = _record_file(device)
    with contextlib.suppress(OSError):
        descriptor, part = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(descriptor, "w") as content:
                os.fchmod(descriptor, 0o644)
                json.dump(asdict(Holder(os.getpid(), time.time())), content)
            Path(part).replace(file)
        finally:
            Path(part).unlink(missing_ok=True)
    try:
        yield
    finally:
        found = holder(device)
        if found and found.pid == os.getpid():  # false in a forked child, which does not hold the lease
            with contextlib.suppress(OSError):
                file.unlink()


def _record_file(device: str) -> Path:
    return lease_file(device).with_suffix(".holder")


def alive(pid: int) -> bool:
    """Return whether a process of this machine is running, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
