"""JSON Lines files that a long run appends to, and resumes from after a crash."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock


def read_lines(file: Path) -> list[dict[str, Any]]:
    """All complete lines of a file; a truncated last line is ignored."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().rpartition("\n")[0].splitlines()]


def append(file: Path, line: Mapping[str, Any]) -> None:
    """Append a line, replacing a truncated last line; safe with several processes."""
    with FileLock(f"{file}.lock"), file.open("a+") as lines:
        lines.seek(0)
        content = lines.read()
        lines.truncate(len(content[: content.rfind("\n") + 1].encode()))
        lines.write(json.dumps(line) + "\n")
