"""What `threshnet recover` prints: the networks found and the template that they are from."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from studies.options import plain_table
from studies.recover import Found, Recovered
from threshnet.named import ABOUT
from threshnet.spec import NetworkSpec

# What a unit of a column is in print, and its name.
UNITS = {
    "params": (1e6, "M"),
    "flops": (1e9, "G"),
    "madd": (1e9, "G"),
    "memory_bytes": (2**20, " MB"),
    "convs": (1, ""),
}
DISTANCE = (
    "Distance: the largest relative difference over the figures given, 0 where a cost rounds to its figure. "
    "Ranks order equal distances by the difference itself."
)


def blocks_told(spec: NetworkSpec) -> str:
    """A network's blocks as the published tables write them: kind x layers (growth) -> transition, * = pooled after."""
    return ", ".join(
        f"{'dense' if block.unit == 'bottleneck' else 'harmonic'} x{block.depth} ({block.growth}) -> "
        f"{block.transition}{'*' if block.pool else ''}"
        for block in spec.blocks
    )


def recovered_table(found: Recovered, input_size: int, classes: int) -> Table:
    """The networks listed, named ones on top."""
    asked = ", ".join(
        f"{_option(figure.column)} {_printed(figure.column, figure.value, 7)}" for figure in found.figures
    )
    table = plain_table(f"{found.matches:,} networks within {100 * found.within:g} % of {asked}")
    for name in ("rank", "distance %", "params M", "FLOPs G", "MAdd G", "memory MB", "convs"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("network")
    for one in found.listed:
        costs = one.costs
        name = f"* {ABOUT[one.named].title}: " if one.named else ""
        table.add_row(
            str(one.rank),
            f"{100 * one.distance:.4f}",
            f"{costs.params / 1e6:.6f}",
            f"{costs.flops / 1e9:.6f}",
            f"{costs.madd / 1e9:.6f}",
            f"{costs.memory_mib:.4f}",
            str(one.convs),
            f"{name}{_around(one)}{blocks_told(one.spec)}",
            style="bold" if one.named else "",
        )
    table.caption = f"* a named network; at {input_size}x{input_size} with {classes} classes. {DISTANCE}"
    return table


def template_lines(found: Recovered) -> Sequence[str]:
    """The templates in words, a line each: what was looked through, all of it."""
    return [line for template in found.templates for line in template.told if line]


def narrowing(found: Recovered) -> Iterator[str]:
    """Where not all networks found are listed: which figures that were not given would leave fewer, in one line.

    Their least and greatest among the networks are so far apart that no value, stated to four digits, is near both.
    """
    given = {figure.column for figure in found.figures}
    near = (1 + found.within) / (1 - found.within) if found.within < 1 else math.inf
    apart = {column: high / low for column, (low, high) in found.spans.items() if column not in given}
    told = [
        f"--{_option(column)} ({_printed(column, low, 4)} to {_printed(column, high, 4)})"
        for column in sorted(apart, key=lambda column: -apart[column])
        for low, high in [found.spans[column]]
        if apart[column] > near
    ]
    if told and found.matches > len(found.listed):
        yield (
            f"The fewer figures, the more networks. To narrow these {found.matches:,}, "
            f"which differ in them, give {' or '.join(told)}."
        )


def recovered_json(found: Recovered, input_size: int, classes: int) -> dict[str, Any]:
    """The same as JSON-ready values."""
    return {
        "input_size": input_size,
        "classes": classes,
        "figures": {figure.column: figure.value for figure in found.figures},
        "within": found.within,
        "templates": {template.name: template.size for template in found.templates},
        "about_templates": template_lines(found),
        "matches": found.matches,
        "spans": found.spans,
        "networks": [
            {
                "rank": one.rank,
                "distance": one.distance,
                "difference": one.difference,
                "named": one.named,
                "template": one.template,
                "params": one.costs.params,
                "flops": one.costs.flops,
                "madd": one.costs.madd,
                "memory_bytes": one.costs.memory_bytes,
                "convs": one.convs,
                "blocks": blocks_told(one.spec),
                "spec": one.spec.to_json(),
            }
            for one in found.listed
        ],
    }


def _option(column: str) -> str:
    """A column as its option calls it."""
    return column.removesuffix("_bytes")


def _printed(column: str, value: float, digits: int) -> str:
    """A figure with its unit."""
    per, unit = UNITS[column]
    return f"{value / per:.{digits}g}{unit}"


def _around(one: Found) -> str:
    """Stem and dropouts, where they are not ThreshNet's."""
    spec = one.spec
    stem = f"stem {spec.stem.widths[0]}-{spec.stem.widths[1]}; " if spec.stem.widths != (32, 64) else ""
    dropouts = (spec.block_dropout, spec.head_dropout)
    return stem + (f"dropout {dropouts[0]:g} and {dropouts[1]:g}; " if any(dropouts) else "")
