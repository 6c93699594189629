"""Taking turns with whoever measures on this machine, so that nothing heavy runs beside a measurement."""

from collections.abc import Callable
from contextlib import AbstractContextManager

SharedLease = Callable[
    [], AbstractContextManager[None]
]  # entered before the machine is loaded for a moment; not nested
