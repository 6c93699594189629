"""Reports of what a measurement is waiting for, and how long it will take."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated

from threshnet.strict import Range

MAX_S = 86_400.0  # maximum expected duration of a measurement in seconds


@dataclass(frozen=True)
class Holder:
    """The process that holds the exclusive lease of a device."""

    pid: Annotated[int, Range(1, 2**31 - 1)]
    # Start of the lease, in seconds since the epoch.
    since: Annotated[float, Range(0)]


@dataclass(frozen=True)
class Wait:
    """A wait for the lease of a device."""

    # Name of the lease, see Device.lease, or of the probe that waits on a remote host.
    device: str
    # None if the device is held by trainings, or by a process that left no record.
    holder: Holder | None


@dataclass(frozen=True)
class Measuring:
    """A running measurement, as reported by the probe after the first run of each network, then about every second."""

    # Seconds since the start.
    passed_s: Annotated[float, Range(0, MAX_S)]
    # Expected duration in seconds: the least that the protocol allows, from the latencies of the first runs.
    expected_s: Annotated[float, Range(0, MAX_S)]


Report = Callable[[Wait | Measuring | None], None]
"""Called about every second during a wait or a measurement, with None when it is over."""

_report: ContextVar[Report] = ContextVar("report", default=lambda report: None)


@contextlib.contextmanager
def reporting(report: Report) -> Iterator[None]:
    """Report within the block, in this thread. The report may raise an exception to give up."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def current_report() -> Report:
    """Return the function of the innermost `reporting` block, or one that does nothing."""
    return _report.get()
