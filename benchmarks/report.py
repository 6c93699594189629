"""Code shared by all benchmarks: command-line options, the line of conditions, Markdown tables and output files."""

import argparse
import json
import math
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Document = dict[str, Any]  # the numbers of a page, JSON-ready


def options(name: str, description: str, goal: str) -> argparse.ArgumentParser:
    """Build a parser with the options that every benchmark accepts. `goal` is the condition that --check tests."""
    description, goal = (text.replace("%", "%%") for text in (description, goal))  # argparse formats help with %
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help="shorter measurements: under 10 minutes on 2 cores")
    parser.add_argument("--check", action="store_true", help=f"exit status 1 unless {goal}")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the Markdown to FILE, and JSON next to it")
    parser.add_argument("--render", type=Path, metavar="JSON", help="print the page of an earlier run from its JSON")
    return parser


def conditions(*facts: str, packages: Sequence[str]) -> str:
    """Return the measurement conditions in one line: facts, package versions, Python version and today's date."""
    versions = [f"{package} {installed(package)}" for package in packages if installed(package)]
    return ", ".join([*facts, *versions, f"Python {platform.python_version()}", f"{datetime.now(UTC):%Y-%m-%d}"])


def installed(package: str) -> str | None:
    """Return the installed version of a package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table. The first column is left-aligned, the others are right-aligned."""
    rules = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rules, *rows))


def digits(value: float) -> str:
    """Format a number with three significant digits, roughly the precision of a latency measurement."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if value else "0"


def interval(value: float, low: float, high: float) -> str:
    """Format a number and its interval with three significant digits."""
    return f"{digits(value)} ({digits(low)} to {digits(high)})"


def publish(render: Callable[[Document], str], document: Document, output: Path | None) -> None:
    """Print a benchmark's page. With `output`, write the page to it and the document to a JSON file next to it."""
    markdown = render(document)
    sys.stdout.write(markdown + "\n")
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(markdown + "\n")
        output.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")


def recorded(file: Path) -> Document:
    """Read the document that an earlier run wrote; exits with one line if it cannot be read."""
    try:
        document: Document = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"error: --render {file}: {error}")
    return document
