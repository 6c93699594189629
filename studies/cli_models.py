"""The commands about single networks: export, costs, draw, train."""

import json
from pathlib import Path

import click

from studies.options import (
    MAX_SEED,
    OUT,
    CommandFailed,
    as_json_option,
    file_option,
    input_option,
    output_option,
    runs_option,
    storage_option,
)
from threshnet.errors import InputError


@click.command()
@click.argument("study", required=False)
@click.option("--trial", type=int, help="Number of a trained trial of STUDY.")
@click.option("--knee", is_flag=True, help="The knee of STUDY's front.")
@click.option("--named", help="A named network, e.g. threshnet79.")
@file_option("--config", "A network as JSON.")
@file_option("--weights", "With --named or --config: a .safetensors of ours or an original repository's .pth.")
@output_option
@input_option(None, "With --named or --config: image size, pixels [the file's, or 32].")
@click.option("--classes", type=click.IntRange(min=2), help="With --named: number of classes [10].")
@storage_option
@runs_option
@as_json_option
def export(
    study: str | None,
    trial: int | None,
    knee: bool,
    named: str | None,
    config: Path | None,
    weights: Path | None,
    output: Path,
    size: int | None,
    classes: int | None,
    storage: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Write a model folder that runs without this project, each file reloaded and compared.

    The network is a trial of STUDY (--trial N or --knee), a named one, or one in a JSON file.
    """
    ways = [study is not None, named is not None, config is not None]
    if sum(ways) != 1 or (trial is not None) + knee != (study is not None):
        raise InputError("export what? STUDY --trial N, STUDY --knee, --named NAME or --config F.json")
    if study is not None and (weights or size or classes):
        raise InputError("--weights, --input and --classes go with --named or --config, not with a study")
    if config is not None and classes:
        raise InputError("--classes goes with --named: the network of a JSON file has its own number")

    from studies.networks import named_network, read_spec_file
    from studies.ship import export_network, export_trial
    from threshnet.export import ExportError

    def done(file: str) -> None:
        if not as_json:
            OUT.print(f"{output / file}", highlight=False, soft_wrap=True)

    try:
        if study is not None:
            from studies.front import front_of
            from studies.study import load

            loaded = load(study, storage, runs=runs)
            number = front_of(loaded).knee.number if trial is None else trial
            shipped = export_trial(loaded, number, output, done)
        else:
            given = named_network(named, classes or 10) if named is not None else read_spec_file(config or Path())
            shipped = export_network(given, weights, size or given.input_size, output, done)
    except ExportError as error:
        raise CommandFailed(str(error)) from None
    if as_json:
        click.echo(json.dumps(shipped.to_json(), indent=2))
    else:
        OUT.print(shipped.told(), highlight=False, soft_wrap=True)


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


@click.command()
@click.argument("network")
@click.option("--data", required=True, help="digits, cifar10, svhn, or the path of an ImageFolder tree.")
@click.option("--recipe", default="fast", show_default=True, help="published or fast.")
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True)
@input_option(32)
@output_option
def train(network: str, data: str, recipe: str, epochs: int | None, seed: int, size: int, output: Path) -> None:
    """Train NETWORK, a name or a JSON file, on the whole training split; test error at the end.

    Stopped at any time, the same command goes on after the last finished epoch.
    """
    from search.train import TrainingFailed
    from studies.progress import Screen
    from studies.training import train_network

    try:
        with Screen(OUT, network) as screen:
            for line in train_network(network, data, recipe, epochs, seed, size, output, screen):
                OUT.print(line, highlight=False, soft_wrap=True)
    except TrainingFailed as failure:
        raise CommandFailed(f"training {network} failed: {failure}") from None
