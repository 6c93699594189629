"""The commands on single networks: costs, draw."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from studies.cli.options import NETWORK, OUT, as_json_option, input_option, storage_option
from studies.cli.plain_table import PlainTable
from threshnet.costs import Costs, count
from threshnet.errors import InputError
from threshnet.published import INPUT_SIZE, PUBLISHED, UNITS, Discrepancy, PublishedRow, discrepancies
from threshnet.spec_file import ResolvedNetwork


@click.command(epilog=f"Each of NETWORKS is {NETWORK}.")
@click.argument("networks", nargs=-1)
@input_option(None, "Image size, pixels [that of the trial or the file, or 224].")
@click.option("--classes", type=click.IntRange(min=2), help="Number of classes (overrides each network's own).")
@storage_option
@as_json_option
def costs(networks: tuple[str, ...], size: int | None, classes: int | None, storage: str, as_json: bool) -> None:
    """Count parameters, MACs and memory of networks.

    Prints the same columns as torchstat, and the figures that were published for each network. By default, all named
    ThreshNets and HarDNets are listed; "all" adds the comparison networks.
    """
    from functools import partial

    from studies.network import read_network
    from threshnet.baselines import BASELINES, IMAGENET_CLASSES
    from threshnet.named import NAMED

    names = (*NAMED, *BASELINES) if networks == ("all",) else networks or tuple(NAMED)
    specs = {
        name: read_network(name, also=BASELINES, storage=storage) for name in names if name.lower() not in BASELINES
    }
    sizes = {spec.input_size for name, spec in specs.items() if name.lower() not in NAMED}
    if size is None and len(sizes) > 1:
        raise InputError(f"the networks are for images of {', '.join(map(str, sorted(sizes)))} pixels; choose --input")
    pixels = size or next(iter(sizes), INPUT_SIZE)
    rows = []
    for name in names:
        if name in specs:
            rows.append(costed_spec(name.lower(), specs[name], classes, pixels))
        else:
            from threshnet.counting import count_baseline  # loads torch

            baseline = BASELINES[name.lower()]
            count = partial(count_baseline, baseline, pixels)
            rows.append(costed(baseline.title, baseline.key, classes or IMAGENET_CLASSES, count))
    if as_json:
        click.echo(json.dumps([row.to_json() for row in rows], indent=2))
    else:
        OUT.print(costs_table(rows))
        for row in rows:
            for line in published_text(row):
                OUT.print(line, highlight=False, soft_wrap=True)


@click.command(epilog=f"NETWORK is {NETWORK}.")
@click.argument("network")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="SVG file to write.",
)
@input_option(None, "Image size, pixels [the network's, or 32].")
@storage_option
def draw(network: str, output: Path, size: int | None, storage: str) -> None:
    """Draw the connection schedule of a network.

    The picture shows each link of each block as an arc.
    """
    from studies.network import read_network
    from threshnet.drawing import schedule_svg

    if output.suffix.lower() != ".svg":
        raise InputError(f"--output {output}: must end in .svg")
    given = read_network(network, storage=storage)
    svg = schedule_svg(given.spec, size or given.input_size, given.title)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(svg.encode())
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror})") from None
    OUT.print(f"{output}", highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Costed:
    """A network with its costs and its published figures."""

    title: str
    classes: int
    costs: Costs
    # Its row of the published table; None if it has none or the image size differs from the table's.
    published: PublishedRow | None = None
    discrepancies: tuple[Discrepancy, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return {
            "network": self.title,
            "classes": self.classes,
            **asdict(self.costs),
            "published": None if self.published is None else asdict(self.published),
            "discrepancies": [asdict(one) for one in self.discrepancies],
        }


def costed(title: str, name: str, classes: int, at: Callable[[int], Costs]) -> Costed:
    """The network called `name` with a head of `classes`; `at` counts its costs for any number of classes."""
    costs = at(classes)
    row = PUBLISHED.get(name) if costs.input_size == INPUT_SIZE else None
    if row is None:
        return Costed(title, classes, costs)
    return Costed(title, classes, costs, row, discrepancies(row, costs, at(row.head_classes)))


def costed_spec(name: str, given: ResolvedNetwork, classes: int | None, input_size: int) -> Costed:
    """The ThreshNet called `name`, with its own number of classes or with `classes`."""

    def at(head: int) -> Costs:
        return count(replace(given.spec, classes=head), input_size)

    return costed(given.title, name, classes or given.spec.classes, at)


def costs_table(networks: Sequence[Costed]) -> Table:
    """Costs of networks at one input size, each with the published figures below."""
    size = networks[0].costs.input_size
    table = PlainTable(f"Costs at {size}x{size}", optional=("MAdd G*", "FLOPs G*"))
    table.add_column("network", style="bold", overflow="fold")
    for name in ("classes", "params", "MACs G", "FLOPs G*", "MAdd G*", "MiB*"):
        table.add_column(name, justify="right")
    for network in networks:
        costs, row = network.costs, network.published
        table.add_row(
            network.title,
            str(network.classes),
            f"{costs.params:,}",
            f"{costs.macs / 1e9:.6f}",
            f"{costs.flops / 1e9:.6f}",
            f"{costs.madd / 1e9:.6f}",
            f"{costs.memory_mib:.4f}",
        )
        if row is not None:
            figures = (f"{row.params_m:.2f} M", "", f"{row.flops_g:.2f}", f"{row.madd_g:.2f}", f"{row.memory_mb:.2f}")
            table.add_row("  published", "", *figures, style="dim not bold")
    table.caption = "* as torchstat counts them; MiB: outputs of all modules in fp32"
    return table


def published_text(network: Costed) -> Iterator[str]:
    """Remarks on a network's published figures: each difference from the counted ones, with its reason."""
    for reason in dict.fromkeys((one.status, one.why) for one in network.discrepancies):
        figures = ", ".join(
            f"{one.counted:.2f} {UNITS[one.column]} {one.column} ({one.published:.2f} published)"
            for one in network.discrepancies
            if (one.status, one.why) == reason
        )
        status, why = reason
        yield f"{network.title}: {figures}. {status.capitalize()}: {why}."
    if network.published is not None and network.published.remark:
        yield f"{network.title}: {network.published.remark}."
