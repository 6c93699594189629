"""The exception for invalid input that a user can fix, and its usual message."""

import reprlib
from typing import Any

MAX_SHOWN = 120  # characters of a value in a message


class InputError(ValueError):
    """An invalid value in user input: an argument, a file, a key or an image.

    The message is one line that names the value, where it came from and what is allowed; the command line prints it
    and exits with status 2.
    """


def require(ok: bool, key: str, value: object, allowed: str) -> None:
    """Raise InputError unless a value is `ok`; the message names key, value and what is allowed."""
    if not ok:
        raise InputError(f"{key} = {shown(value)}: must be {allowed}")


def shown(value: object) -> str:
    """Format a value for a message: one line, abbreviated, tuples as lists."""
    try:
        text = " ".join(_SHORT.repr(value).split())
    except Exception:  # the repr of any object may fail, that of a huge integer does
        return f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


class _Short(reprlib.Repr):
    """Abbreviated representations of values of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxtuple, self.maxlist, self.maxstring, self.maxother = 3, 12, 12, 80, 80

    def repr_tuple(self, x: tuple[Any, ...], level: int) -> str:
        return self.repr_list(list(x), level)


_SHORT = _Short()
