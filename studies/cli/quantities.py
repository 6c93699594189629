"""Quantities with a unit, parsed from the command line."""

import math
import re
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

import click

T = TypeVar("T")

MS_PER = {"us": 1e-3, "ms": 1.0, "s": 1e3}
PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"


class Quantity(click.ParamType[T]):
    """The type of an option with a unit; a text that does not parse as a whole is refused in one line."""

    # The allowed texts, with examples.
    allowed: ClassVar[str]

    def read(self, typed: str) -> T | None:
        """Parse the quantity; None if the text is not allowed."""
        raise NotImplementedError

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:  # noqa: ANN401
        """The quantity, from the typed text or a parsed value."""
        found = self.read(value) if isinstance(value, str) else value
        if found is None:
            self.fail(f"{value!r}: must be {self.allowed}", param, ctx)
        return found


class Milliseconds(Quantity[float]):
    """A latency with its unit, e.g. 5ms, 0.5ms, 500us or 2s, in milliseconds."""

    name = "latency"
    allowed = "a time above 0 with its unit, e.g. 5ms, 500us or 2s"

    def read(self, typed: str) -> float | None:
        """Milliseconds."""
        found = re.fullmatch(rf"{NUMBER} ?(us|ms|s)", typed, re.ASCII)
        return _above_0(float(found[1]) * MS_PER[found[2]]) if found else None


class Percent(Quantity[float]):
    """A percentage, 0 to 100, with or without its sign."""

    name = "percent"
    allowed = "a percentage from 0 to 100, e.g. 8 or 8%"

    def read(self, typed: str) -> float | None:
        """Percent."""
        found = re.fullmatch(rf"{NUMBER} ?%?", typed, re.ASCII)
        return float(found[1]) if found and float(found[1]) <= 100 else None


class Amount(Quantity[float]):
    """A count with an optional k (10^3), M (10^6) or G (10^9), e.g. 500k or 10.18M."""

    name = "amount"
    allowed = "a number above 0, e.g. 14371858, 500k, 10.18M or 2.28G"

    def read(self, typed: str) -> float | None:
        """The number."""
        found = re.fullmatch(rf"{NUMBER} ?([kMG]?)", typed, re.ASCII)
        return _above_0(float(Decimal(found[1]) * PREFIXES[found[2]])) if found else None


class PublishedFigure(Quantity[tuple[float, float]]):
    """A figure from a published table, e.g. 10.18M: its value, and half a unit of its last digit."""

    name = "figure"
    allowed = Amount.allowed

    def read(self, typed: str) -> tuple[float, float] | None:
        """Value and half a unit."""
        figure = Amount().read(typed)
        if figure is None:
            return None
        number = typed.rstrip("kMG")
        decimals = len(number.rstrip().partition(".")[2])
        return figure, 0.5 * 10.0**-decimals * PREFIXES[typed[len(number) :]]


def _above_0(value: float) -> float | None:
    """The value if it is above 0 and finite, else None."""
    return value if 0 < value < math.inf else None
