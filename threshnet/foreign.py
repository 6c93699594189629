"""Files of unknown origin, read within bounds: what they claim takes no memory, and nothing in them is ever run."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

from threshnet.errors import InputError

SHOWN = 200  # characters of foreign text in a message
MAX_JSON_BYTES = 4 * 2**20  # the largest network takes 2 MB, indented


def opened(path: Path, limit: int, what: str = "file", *, follow: bool = True) -> BinaryIO:
    """A plain file of at most `limit` bytes, to be read; without `follow`, no symbolic link is gone through.

    InputError for one that is not there, too large, or no plain file: a device or a pipe may have no end.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    except FileNotFoundError:
        raise InputError(f"{path}: no such {what}") from None
    except OSError as error:
        link = error.errno == errno.ELOOP and not follow
        told = "a symbolic link, which is not followed here" if link else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {told}") from None
    about = os.fstat(number)
    if stat.S_ISREG(about.st_mode) and about.st_size <= limit:
        return os.fdopen(number, "rb")
    os.close(number)
    plain = f"{about.st_size:,} bytes; at most {limit:,} are read" if stat.S_ISREG(about.st_mode) else "no plain file"
    raise InputError(f"{path}: {plain}")


def read_bytes(path: Path, limit: int, what: str = "file", *, follow: bool = True) -> bytes:
    """The content of such a file."""
    with opened(path, limit, what, follow=follow) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # room for `limit` bytes would be taken at once


def printable(text: str) -> str:
    """Foreign text as one line without control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def clean(text: str, longest: int = SHOWN) -> str:
    """The same, of at most `longest` characters and three dots."""
    line = printable(text)
    return line if len(line) <= longest else line[:longest] + "..."


def read_json(path: Path, *, follow: bool = True) -> object:
    """The content of a JSON file of at most MAX_JSON_BYTES; InputError for any other."""
    content = read_bytes(path, MAX_JSON_BYTES, follow=follow)
    try:
        document: object = json.loads(content.decode())
    except RecursionError:
        raise InputError(f"{path}: not a JSON file that can be read (nested too deeply)") from None
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    return document
