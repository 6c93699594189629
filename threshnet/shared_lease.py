"""The shared lease: held while loading this machine, so that nothing heavy runs during a latency measurement."""

from collections.abc import Callable
from contextlib import AbstractContextManager

# Makes a context manager to hold during each short piece of heavy work; not reentrant.
SharedLease = Callable[[], AbstractContextManager[None]]
