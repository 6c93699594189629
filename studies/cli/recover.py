"""The command that finds networks with given costs: recover."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from studies.cli.options import OUT, as_json_option, input_option
from studies.cli.plain_table import PlainTable
from studies.cli.quantities import Percent, PublishedFigure
from threshnet.errors import InputError
from threshnet.named import ABOUT
from threshnet.spec import NetworkSpec
from threshnet.units import unit_named

if TYPE_CHECKING:
    from threshnet.recover.recover import Match, Recovery

# Divisor and unit of a printed figure, by column.
UNITS = {
    "params": (1e6, "M"),
    "flops": (1e9, "G"),
    "madd": (1e9, "G"),
    "memory_bytes": (2**20, " MB"),
    "convs": (1, ""),
}


DISTANCE = (
    "Distance: the largest relative difference over the given figures, 0 if a cost rounds to its figure. "
    "Ties are ranked by the difference itself."
)


def blocks_text(spec: NetworkSpec) -> str:
    """A network's blocks in the notation of the published tables: kind x layers (growth) -> transition, * = pooled."""
    return ", ".join(
        f"{unit_named(block.unit).block_name} x{block.depth} ({block.growth}) -> "
        f"{block.transition}{'*' if block.pool else ''}"
        for block in spec.blocks
    )


def recovered_table(found: "Recovery", input_size: int, classes: int) -> Table:
    """The networks listed, named ones on top."""
    figures = ", ".join(
        f"{_option(figure.column)} {_printed(figure.column, figure.value, 7)}" for figure in found.figures
    )
    table = PlainTable(f"{found.matches:,} networks within {100 * found.within:g} % of {figures}", optional=("MAdd G",))
    for name in ("rank", "distance %", "params M", "FLOPs G", "MAdd G", "memory MB", "convs"):
        table.add_column(name, justify="right")
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
            f"{name}{_around(one)}{blocks_text(one.spec)}",
            style="bold" if one.named else "",
        )
    table.caption = f"* a named network; at {input_size}x{input_size} with {classes} classes. {DISTANCE}"
    return table


def template_lines(found: "Recovery") -> Sequence[str]:
    """The searched templates, one line each."""
    return [line for template in found.templates for line in template.summary if line]


def narrowing(found: "Recovery") -> Iterator[str]:
    """A line on the missing figures that would narrow the matches, if not all of them are listed.

    Such a figure varies so much among the matches that no value of four digits is near both its ends.
    """
    given = {figure.column for figure in found.figures}
    near = (1 + found.within) / (1 - found.within) if found.within < 1 else math.inf
    apart = {column: high / low for column, (low, high) in found.spans.items() if column not in given}
    options = [
        f"--{_option(column)} ({_printed(column, low, 4)} to {_printed(column, high, 4)})"
        for column in sorted(apart, key=lambda column: -apart[column])
        for low, high in [found.spans[column]]
        if apart[column] > near
    ]
    if options and found.matches > len(found.listed):
        yield (
            f"Fewer figures match more networks. To narrow down these {found.matches:,}, add {' or '.join(options)}."
        )


def recovered_json(found: "Recovery", input_size: int, classes: int) -> dict[str, Any]:
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
                "blocks": blocks_text(one.spec),
                "spec": one.spec.to_json(),
            }
            for one in found.listed
        ],
    }


def _option(column: str) -> str:
    """The name of a column's option."""
    return column.removesuffix("_bytes")


def _printed(column: str, value: float, digits: int) -> str:
    """A figure with its unit."""
    per, unit = UNITS[column]
    return f"{value / per:.{digits}g}{unit}"


def _around(one: "Match") -> str:
    """Stem and dropouts if they differ from ThreshNet's."""
    spec = one.spec
    stem = f"stem {spec.stem.widths[0]}-{spec.stem.widths[1]}; " if spec.stem.widths != (32, 64) else ""
    dropouts = (spec.block_dropout, spec.head_dropout)
    return stem + (f"dropout {dropouts[0]:g} and {dropouts[1]:g}; " if any(dropouts) else "")


Typed = tuple[float, float] | None


@click.command()
@click.option("--params", type=PublishedFigure(), help="Parameters, e.g. 10.18M.")
@click.option("--flops", type=PublishedFigure(), help="torchstat's Flops, e.g. 2.28G.")
@click.option("--madd", type=PublishedFigure(), help="torchstat's MAdd, e.g. 4.55G.")
@click.option("--memory", type=PublishedFigure(), help="torchstat's memory in MB (2^20 bytes), e.g. 83.26.")
@click.option("--convs", type=click.IntRange(min=1), help="Convolutions, without the linear layer.")
@click.option("--within", type=Percent(), default="0.5", show_default=True, help="Largest distance, percent.")
@click.option("--template", help="threshnet or hardnet [both].")
@click.option("--show", type=click.IntRange(1, 1000), default=10, show_default=True, help="Networks to list.")
@input_option(224)
@click.option("--classes", type=click.IntRange(2, 1_000_000), default=10, show_default=True, help="Number of classes.")
@as_json_option
def recover(
    params: Typed,
    flops: Typed,
    madd: Typed,
    memory: Typed,
    convs: int | None,
    within: float,
    template: str | None,
    show: int,
    size: int,
    classes: int,
    as_json: bool,
) -> None:
    """Find networks with given costs.

    Searches all networks of one or both templates, counts the matches and lists the closest ones. Matching named
    networks are listed first, with their rank.
    """
    from threshnet.recover.recover import Figure
    from threshnet.recover.recover import recover as recovered
    from threshnet.recover.templates import TEMPLATES

    if template is not None and template not in TEMPLATES:
        raise InputError(f"--template {template!r}: must be one of {', '.join(TEMPLATES)}")
    megabytes = (memory[0] * 2**20, memory[1] * 2**20) if memory else None
    typed = {"params": params, "flops": flops, "madd": madd, "memory_bytes": megabytes}
    figures = [Figure(column, *figure) for column, figure in typed.items() if figure]
    figures += [Figure("convs", convs, 0.0)] if convs is not None else []
    chosen = [TEMPLATES[template]] if template else list(TEMPLATES.values())
    found = recovered(chosen, figures, within / 100, show, size, classes)
    if as_json:
        click.echo(json.dumps(recovered_json(found, size, classes), indent=2))
        return
    OUT.print(recovered_table(found, size, classes))
    for line in (*narrowing(found), *template_lines(found)):
        OUT.print(line, highlight=False, soft_wrap=True)
