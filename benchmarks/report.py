"""What every benchmark shares: its options, its line of conditions, its table in Markdown and its files."""

import argparse
import json
import math
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def options(name: str, about: str, goal: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes; `goal` says what --check asks for."""
    about, goal = (text.replace("%", "%%") for text in (about, goal))  # argparse fills in what stands after a %
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("--quick", action="store_true", help="measure for a shorter time: under 10 minutes on 2 cores")
    parser.add_argument("--check", action="store_true", help=f"exit status 1 unless {goal}")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the Markdown here, and JSON beside it")
    return parser


def conditions(*facts: str, packages: Sequence[str]) -> str:
    """One line on what numbers were taken with: facts, the versions of installed packages, Python, today's date."""
    versions = [f"{package} {installed(package)}" for package in packages if installed(package)]
    return ", ".join([*facts, *versions, f"Python {platform.python_version()}", f"{datetime.now(UTC):%Y-%m-%d}"])


def installed(package: str) -> str | None:
    """The installed version of a package, None where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first column is text and whose others are right-aligned."""
    rules = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rules, *rows))


def digits(value: float) -> str:
    """A number with three significant digits, no more than a latency is known to."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if value else "0"


def interval(value: float, low: float, high: float) -> str:
    """A number with its interval, in as many digits as `digits` gives each."""
    return f"{digits(value)} ({digits(low)} to {digits(high)})"


def publish(markdown: str, document: object, output: Path | None) -> None:
    """Print a benchmark's Markdown; with `output` write it there and its numbers as JSON beside it, folder and all."""
    sys.stdout.write(markdown + "\n")
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(markdown + "\n")
        output.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
