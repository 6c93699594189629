"""JSON Lines files. A long run appends its results to such a file and can resume from it after a crash."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Read all complete lines of a file. A truncated last line is ignored."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()]


def append(file: Path, line: Mapping[str, Any]) -> None:
    """Append a line and remove a truncated last line. Several processes can append to the same file."""
    with FileLock(f"{file}.lock"), file.open("a+") as lines:
        lines.seek(0)
        content = lines.read()
        lines.truncate(len(content[: content.rfind("\n") + 1].encode()))
        lines.write(json.dumps(line) + "\n")
