"""Quantities with a unit, as they are typed on the command line."""

import math
import re
from decimal import Decimal
from typing import Any

import click

MS_PER = {"us": 1e-3, "ms": 1.0, "s": 1e3}
PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"


class Milliseconds(click.ParamType[float]):
    """A latency with its unit, such as 5ms, 0.5ms, 500us or 2s, in milliseconds."""

    name = "latency"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Milliseconds, from what was typed."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(rf"{NUMBER} ?(us|ms|s)", value, re.ASCII)
        latency = float(found[1]) * MS_PER[found[2]] if found else 0.0
        if not 0 < latency < math.inf:
            self.fail(f"{value!r}: must be a time above 0 with its unit, such as 5ms, 500us or 2s", param, ctx)
        return latency


class Percent(click.ParamType[float]):
    """A percentage, 0 to 100, with or without its sign."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Percent, from what was typed."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(rf"{NUMBER} ?%?", value, re.ASCII)
        if not found or float(found[1]) > 100:
            self.fail(f"{value!r}: must be a percentage from 0 to 100, such as 8 or 8%", param, ctx)
        return float(found[1])


class Amount(click.ParamType[float]):
    """A number of things with k, M or G for a thousand, a million or a thousand million, such as 500k or 10.18M."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """The number, from what was typed."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(rf"{NUMBER} ?([kMG]?)", value, re.ASCII)
        amount = float(Decimal(found[1]) * PREFIXES[found[2]]) if found else 0.0
        if not 0 < amount < math.inf:
            self.fail(f"{value!r}: must be a number above 0, such as 14371858, 500k, 10.18M or 2.28G", param, ctx)
        return amount


class Stated(click.ParamType[tuple[float, float]]):
    """A figure as a table prints it, such as 10.18M or 2.28G: its value, and half a unit of its last digit."""

    name = "figure"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:  # noqa: ANN401
        """Value and half a unit, from what was typed."""
        if isinstance(value, tuple):
            return value
        figure = Amount().convert(value, param, ctx)
        number = value.rstrip("kMG")
        decimals = len(number.rstrip().partition(".")[2])
        return figure, 0.5 * 10.0**-decimals * PREFIXES[value[len(number) :]]
