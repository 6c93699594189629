"""The commands that make model folders and look at them: export, train, check."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.datasets.named import without_path
from search.latency.devices.named import device_forms
from search.training.recipes import recipe_named, recipes_text
from studies.cli.options import (
    ERR,
    MAX_SEED,
    OUT,
    Command,
    CommandFailed,
    as_json_option,
    file_option,
    input_option,
    output_option,
    runs_option,
    storage_option,
)
from threshnet.errors import InputError

if TYPE_CHECKING:
    from search.latency.devices.device import Device
    from studies.export.final_training import Assignment
    from studies.export.folder import ExportedModel

DATA = f"{', '.join(without_path())}, or the path of an ImageFolder tree."
EPOCHS = "Instead of the recipe's."
SEEDS = "Train so often, with as many seeds; states mean and spread, exports the first."


def on_option(command: Command) -> Command:
    """Add --on."""
    text = f"Measure the exported ONNX files there: {device_forms()}."
    return click.option("--on", "on", help=text)(command)


@click.command()
@click.argument("study", required=False)
@click.option("--trial", type=int, help="Number of a trained trial of STUDY.")
@click.option("--knee", is_flag=True, help="The knee of STUDY's front.")
@click.option("--named", help="A named network, e.g. threshnet79.")
@file_option("--config", "A network as JSON.")
@file_option("--weights", "With --named or --config: a .safetensors of ours or an original repository's .pth.")
@click.option("--recipe", help=f"Train the network on the whole training split first: {recipes_text()}.")
@click.option("--epochs", type=click.IntRange(min=1), help=f"With --recipe: {EPOCHS}")
@click.option("--seeds", type=click.IntRange(1, 100), help=f"With --recipe: {SEEDS}")
@click.option("--data", help=f"With --recipe or --weights [the study's]: {DATA}")
@on_option
@output_option
@input_option(None, "With --named or --config: image size, pixels [the file's, or 32].")
@click.option("--classes", type=click.IntRange(min=2), help="With --named: number of classes [the data's, or 10].")
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
    recipe: str | None,
    epochs: int | None,
    seeds: int | None,
    data: str | None,
    on: str | None,
    output: Path,
    size: int | None,
    classes: int | None,
    storage: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Write a model folder that runs without this project, each file loaded by itself and compared.

    The network is a trial of STUDY (--trial N or --knee), a named one, or one in a JSON file. With --recipe it is
    trained first; stopped at any time, the same command goes on after the last finished epoch.
    """
    ways = [study is not None, named is not None, config is not None]
    if sum(ways) != 1 or (trial is not None) + knee != (study is not None):
        raise InputError("export what? STUDY --trial N, STUDY --knee, --named NAME or --config F.json")
    if study is not None and (weights or size or classes):
        raise InputError("--weights, --input and --classes go with --named or --config, not with a study")
    if config is not None and classes:
        raise InputError("--classes goes with --named: the network of a JSON file has its own number")
    if recipe is None and (epochs or seeds):
        raise InputError("--epochs and --seeds go with --recipe")
    if recipe is not None and weights:
        raise InputError("--weights or --recipe: the network has weights, or it is trained")
    if recipe is not None and study is None and data is None:
        raise InputError("--recipe needs --data where there is no study that says which images")
    if recipe is None and data is not None and not weights:
        raise InputError("--data goes with --recipe or --weights")

    from dataclasses import replace

    from search.data import class_names
    from studies.export.final_training import Assignment, data_settings, trial_assignment
    from studies.export.folder import export_network, export_trial
    from studies.export.latency import device_for_files
    from studies.network import named_network
    from threshnet.spec_file import read_spec_file

    device = device_for_files(on) if on else None
    settings = data_settings(data) if data else None
    chosen = recipe_named(recipe) if recipe else None
    chosen = replace(chosen, epochs=epochs or chosen.epochs) if chosen else None
    tell = _silent if as_json else _tell

    def done(file: str) -> None:
        tell(f"{output / file}")

    def ship() -> "ExportedModel":
        if study is not None:
            from studies.analysis import analyse

            analysis = analyse(study, storage, runs=runs)
            number = analysis.front.knee.number if trial is None else trial
            if chosen is None:
                return export_trial(analysis.study, number, output, done, device)
            assignment = trial_assignment(analysis.study, number, chosen, range(seeds or 1), settings)
            return _trained(assignment, output, device, tell)
        if named is not None:
            given = named_network(named, classes or (len(class_names(settings)) if settings else 10))
        else:
            given = read_spec_file(config or Path())
        given = replace(given, input_size=size or given.input_size)
        if chosen is None or settings is None:
            return export_network(given, weights, output, done, device, settings)
        return _trained(Assignment(given, settings, chosen, range(seeds or 1)), output, device, tell)

    _closing(_outcome(ship, output), output, as_json)


@click.command()
@click.argument("network")
@click.option("--data", required=True, help=DATA)
@click.option("--recipe", default="fast", show_default=True, help=f"{recipes_text()}.")
@click.option("--epochs", type=click.IntRange(min=1), help=EPOCHS)
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True, help="The first seed.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help=SEEDS)
@on_option
@input_option(32)
@output_option
def train(
    network: str,
    data: str,
    recipe: str,
    epochs: int | None,
    seed: int,
    seeds: int,
    on: str | None,
    size: int,
    output: Path,
) -> None:
    """Train NETWORK, a name or a JSON file, on the whole training split, and export it with its test error.

    Stopped at any time, the same command goes on after the last finished epoch.
    """
    from dataclasses import replace

    from search.data import class_names
    from studies.export.final_training import Assignment, data_settings
    from studies.export.latency import device_for_files
    from studies.network import read_network

    device = device_for_files(on) if on else None
    settings, chosen = data_settings(data), recipe_named(recipe)
    given = replace(read_network(network, len(class_names(settings))), input_size=size)
    chosen = replace(chosen, epochs=epochs or chosen.epochs)
    asked = Assignment(given, settings, chosen, range(seed, seed + seeds))
    _closing(_outcome(lambda: _trained(asked, output, device, _tell), output), output, as_json=False)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@as_json_option
def check(folder: Path, as_json: bool) -> None:
    """Tell whether the files of a model FOLDER, wherever it is from, are whole and agree; a line for each.

    No program in it is run, and a .pt2 is opened only if this machine wrote it. Exit status 1 where a file is bad.
    """
    from dataclasses import asdict

    from studies.export.check import check_folder

    found = []
    for checked in check_folder(folder):
        found.append(checked)
        if not as_json:
            _tell(checked.told())
    if as_json:
        click.echo(json.dumps([asdict(checked) for checked in found], indent=2))
    bad = [checked.file for checked in found if checked.ok is False]
    if bad:
        raise CommandFailed(f"{folder}: bad: {', '.join(bad)}")


def _trained(
    asked: "Assignment", output: Path, device: "Device | None", tell: Callable[[str], None]
) -> "ExportedModel":
    """Train and export, with a bar per epoch; `tell` hears every line."""
    from studies.cli.progress import Screen
    from studies.export.final_training import train_network

    with Screen(ERR if tell is _silent else OUT, asked.given.title) as screen:
        lines = train_network(asked, output, screen, device)
        while True:
            try:
                tell(next(lines))
            except StopIteration as end:
                shipped: ExportedModel = end.value
                return shipped


def _outcome(ship: "Callable[[], ExportedModel]", output: Path) -> "ExportedModel":
    """What was shipped; CommandFailed where that went wrong."""
    from search.latency.protocol import MeasurementError
    from search.training.train import TrainingFailed
    from threshnet.export.folder import ExportError

    try:
        return ship()
    except ExportError as error:
        raise CommandFailed(str(error)) from None
    except TrainingFailed as failure:
        raise CommandFailed(f"the training failed: {failure}") from None
    except MeasurementError as error:
        raise CommandFailed(f"the model is in {output}, but its files could not be measured: {error}") from None


def _closing(shipped: "ExportedModel", output: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(shipped.to_json(), indent=2))
    else:
        _tell(shipped.told())
        _tell(f"files in {output}")


def _tell(line: str) -> None:
    OUT.print(line, highlight=False, soft_wrap=True)


def _silent(line: str) -> None:
    """Say nothing: what is printed is JSON."""
