"""Read untrusted files within bounds: no claim in a file makes the reader allocate memory, and nothing is executed."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

from threshnet.errors import InputError

MAX_SHOWN = 200  # characters of untrusted text in a message
MAX_JSON_BYTES = 4 * 2**20  # the largest network takes 2 MB, indented


def open_bounded(path: Path, limit: int, kind: str = "file", *, follow: bool = True) -> BinaryIO:
    """Open a regular file of at most `limit` bytes for reading; with `follow` false, symbolic links are refused.

    Raises InputError if the file is missing, too large, or not a regular file: reading a device or a pipe may never
    end. `kind` names the file in the message.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    except FileNotFoundError:
        raise InputError(f"{path}: no such {kind}") from None
    except OSError as error:
        is_link = error.errno == errno.ELOOP and not follow
        problem = "is a symbolic link; links are not followed here" if is_link else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {problem}") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: not a regular file")
    raise InputError(f"{path}: {status.st_size:,} bytes; at most {limit:,} are allowed")


def read_bytes(path: Path, limit: int, kind: str = "file", *, follow: bool = True) -> bytes:
    """Read a file opened with `open_bounded`."""
    with open_bounded(path, limit, kind, follow=follow) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # read(limit) would allocate `limit` bytes


def printable(text: str) -> str:
    """Untrusted text as a single line without control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def clean(text: str, longest: int = MAX_SHOWN) -> str:
    """Untrusted text as in `printable`, cut to `longest` characters and an ellipsis."""
    line = printable(text)
    return line if len(line) <= longest else line[:longest] + "..."


def read_json(path: Path, *, follow: bool = True) -> object:
    """The content of a JSON file of at most MAX_JSON_BYTES; raises InputError if it cannot be read."""
    content = read_bytes(path, MAX_JSON_BYTES, follow=follow)
    try:
        document: object = json.loads(content.decode())
    except RecursionError:
        raise InputError(f"{path}: not a JSON file (nested too deeply)") from None
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    return document
