"""Files of JSON lines: what a long recording appends to, and goes on with after a crash."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that is being recorded; one cut short is left out."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()]


def append(file: Path, line: Mapping[str, Any]) -> None:
    """Add one line to such a file, in place of one that a crash cut short; several processes may do so."""
    with FileLock(f"{file}.lock"), file.open("a+") as lines:
        lines.seek(0)
        written = lines.read()
        lines.truncate(len(written[: written.rfind("\n") + 1].encode()))
        lines.write(json.dumps(line) + "\n")
