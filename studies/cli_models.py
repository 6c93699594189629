"""The commands that look at single networks: costs, draw."""

import json
from pathlib import Path

import click

from studies.options import (
    OUT,
    CommandFailed,
    as_json_option,
    input_option,
)
from threshnet.errors import InputError


@click.command()
@click.argument("networks", nargs=-1)
@input_option(224)
@click.option("--classes", type=click.IntRange(min=2), help="Instead of each network's own number.")
@as_json_option
def costs(networks: tuple[str, ...], size: int, classes: int | None, as_json: bool) -> None:
    """Count what NETWORKS cost, torchstat's columns included, beside what was published of them.

    NETWORKS are names or JSON files; all named ThreshNets and HarDNets if none, "all" for the comparison networks too.
    """
    from functools import partial

    from studies.costing import costed, costed_spec, costs_table, told_of_the_published
    from studies.networks import read_network
    from threshnet.baselines import BASELINES, IMAGENET_CLASSES
    from threshnet.named import NAMED

    rows = []
    for network in (*NAMED, *BASELINES) if networks == ("all",) else networks or tuple(NAMED):
        baseline = BASELINES.get(network.lower())
        if baseline is None:
            rows.append(costed_spec(network.lower(), read_network(network, also=BASELINES), classes, size))
        else:
            from threshnet.counting import count_baseline  # loads torch

            count = partial(count_baseline, baseline, size)
            rows.append(costed(baseline.title, baseline.key, classes or IMAGENET_CLASSES, count))
    if as_json:
        click.echo(json.dumps([row.to_json() for row in rows], indent=2))
    else:
        OUT.print(costs_table(rows))
        for row in rows:
            for line in told_of_the_published(row):
                OUT.print(line, highlight=False, soft_wrap=True)


@click.command()
@click.argument("network")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write, .svg or .png; a PNG needs a Chrome or Chromium.",
)
@input_option(None, "Image size, pixels [the file's, or 32].")
def draw(network: str, output: Path, size: int | None) -> None:
    """Draw the connection schedule of NETWORK, a name or a JSON file: every kept link of every block as an arc."""
    from studies.drawing import schedule_svg
    from studies.networks import read_network

    suffix = output.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise InputError(f"--output {output}: must end in .svg or .png")
    given = read_network(network)
    svg = schedule_svg(given.spec, size or given.input_size, given.title)
    drawn = _png(svg, output) if suffix == ".png" else svg.encode()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(drawn)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror})") from None
    OUT.print(f"{output}", highlight=False, soft_wrap=True)


def _png(svg: str, output: Path) -> bytes:
    """An SVG as a PNG; the command fails where there is no Chrome."""
    from studies.chrome import NoChrome, draw_svg

    try:
        return draw_svg(svg, scale=2)
    except NoChrome as missing:
        raise CommandFailed(f"{output}: not written, {missing}; an .svg needs none") from None
