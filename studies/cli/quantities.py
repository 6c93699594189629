"""Quantities with a unit, as they are typed on the command line."""

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
    """The type of an option whose text is read whole or refused in one line."""

    # What a text must be, with examples.
    allowed: ClassVar[str]

    def read(self, typed: str) -> T | None:
        """The quantity that a text tells; None where it tells none that is allowed."""
        raise NotImplementedError

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:  # noqa: ANN401
        """The quantity, from what was typed; click also hands over what is read already."""
        found = self.read(value) if isinstance(value, str) else value
        if found is None:
            self.fail(f"{value!r}: must be {self.allowed}", param, ctx)
        return found


class Milliseconds(Quantity[float]):
    """A latency with its unit, such as 5ms, 0.5ms, 500us or 2s, in milliseconds."""

    name = "latency"
    allowed = "a time above 0 with its unit, such as 5ms, 500us or 2s"

    def read(self, typed: str) -> float | None:
        """Milliseconds."""
        found = re.fullmatch(rf"{NUMBER} ?(us|ms|s)", typed, re.ASCII)
        return _above_0(float(found[1]) * MS_PER[found[2]]) if found else None


class Percent(Quantity[float]):
    """A percentage, 0 to 100, with or without its sign."""

    name = "percent"
    allowed = "a percentage from 0 to 100, such as 8 or 8%"

    def read(self, typed: str) -> float | None:
        """Percent."""
        found = re.fullmatch(rf"{NUMBER} ?%?", typed, re.ASCII)
        return float(found[1]) if found and float(found[1]) <= 100 else None


class Amount(Quantity[float]):
    """A number of things with k, M or G for a thousand, a million or a thousand million, such as 500k or 10.18M."""

    name = "amount"
    allowed = "a number above 0, such as 14371858, 500k, 10.18M or 2.28G"

    def read(self, typed: str) -> float | None:
        """The number."""
        found = re.fullmatch(rf"{NUMBER} ?([kMG]?)", typed, re.ASCII)
        return _above_0(float(Decimal(found[1]) * PREFIXES[found[2]])) if found else None


class Stated(Quantity[tuple[float, float]]):
    """A figure as a table prints it, such as 10.18M or 2.28G: its value, and half a unit of its last digit."""

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
    """The value, where it is above 0 and finite."""
    return value if 0 < value < math.inf else None
