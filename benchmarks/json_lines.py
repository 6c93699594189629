"""Files of JSON lines: what a long recording appends to, and goes on with after a crash."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that is being recorded; one cut short by a crash is dropped, from the file too."""
    if not file.exists():
        return []
    whole = file.read_text().rpartition("\n")[0]
    file.write_text(whole + "\n" if whole else "")
    return [json.loads(line) for line in whole.splitlines()]


def append(file: Path, line: Mapping[str, Any]) -> None:
    """Add one line to such a file."""
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")
