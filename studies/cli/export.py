"""The commands that make and verify model folders: export, train, check."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.latency.devices.named import device_forms
from search.training.metrics import METRICS
from search.training.recipes import recipe_named, recipes_text
from studies.cli.options import (
    DATA,
    ERR,
    FORMER,
    MAX_SEED,
    NETWORK,
    OUT,
    Command,
    CommandFailed,
    RenamedOption,
    as_json_option,
    file_option,
    input_option,
    output_option,
    print_next,
    runs_option,
    storage_option,
)
from threshnet.errors import InputError

if TYPE_CHECKING:
    from search.latency.devices.device import Device
    from studies.export.check import FolderCheck
    from studies.export.final_training import Assignment
    from studies.export.folder import ExportedModel

FORMER_KEY = "said"  # of a message in `check --json`, before version 0.5
EPOCHS = "Epochs (overrides the recipe)."
SEEDS = "Number of training runs with different seeds; the first network is exported."


def device_option(command: Command) -> Command:
    """Add --device: the device on which exported files are measured."""
    text = f"Also measure the exported ONNX files on this device: {device_forms()}."
    return click.option("--device", FORMER, "device", cls=RenamedOption, help=text)(command)


@click.command()
@click.argument("study", required=False)
@click.option("--trial", type=int, help="Export this trained trial of STUDY.")
@click.option("--knee", is_flag=True, help="Export the knee of STUDY's front.")
@click.option("--named", help="Export a named network, e.g. threshnet79.")
@file_option("--config", "Export the network in a JSON file.")
@file_option(
    "--weights", "With --named or --config: weights of this project (.safetensors) or of an original repository (.pth)."
)
@click.option("--recipe", help=f"Train the network on the whole training split first: {recipes_text()}.")
@click.option("--epochs", type=click.IntRange(min=1), help="With --recipe: epochs (overrides the recipe).")
@click.option("--seeds", type=click.IntRange(1, 100), help=f"With --recipe: {SEEDS[0].lower()}{SEEDS[1:]}")
@click.option("--data", help=f"With --recipe or --weights [the study's]: {DATA}")
@device_option
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
    device: str | None,
    output: Path,
    size: int | None,
    classes: int | None,
    storage: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Export a network as a self-contained model folder.

    Export a trial of STUDY (--trial or --knee, or STUDY:TRIAL or STUDY:knee), a named network (--named) or a network in
    a JSON file (--config). Each exported file is loaded in a separate process and compared with the network. With
    --recipe, the network is trained first; an interrupted training resumes when you rerun the command.
    """
    from studies.network import named_network, trial_name

    if study is not None and trial is None and not knee and (chosen_trial := trial_name(study)) is not None:
        study, trial, knee = chosen_trial.study, chosen_trial.trial, chosen_trial.trial is None
    ways = [study is not None, named is not None, config is not None]
    if sum(ways) != 1 or (trial is not None) + knee != (study is not None):
        raise InputError(
            "name what to export: STUDY:TRIAL, STUDY with --trial or --knee, --named NAME or --config FILE"
        )
    if study is not None and (weights or size or classes):
        raise InputError("--weights, --input and --classes need --named or --config, not a study")
    if config is not None and classes:
        raise InputError("--classes needs --named: the network of a JSON file has its own number")
    if recipe is None and (epochs or seeds):
        raise InputError("--epochs and --seeds need --recipe")
    if recipe is not None and weights:
        raise InputError("--weights and --recipe exclude each other: the network either has weights or is trained")
    if recipe is not None and study is None and data is None:
        raise InputError("--recipe needs --data unless a study defines the images")
    if recipe is None and data is not None and not weights:
        raise InputError("--data needs --recipe or --weights")

    from dataclasses import replace

    from search.data import as_settings, class_names
    from studies.export.final_training import Assignment, trial_assignment
    from studies.export.folder import export_network, export_trial
    from studies.export.latency import device_for_files
    from threshnet.spec_file import read_spec_file

    target = device_for_files(device) if device else None
    settings = as_settings(data) if data else None
    chosen = recipe_named(recipe) if recipe else None
    chosen = replace(chosen, epochs=epochs or chosen.epochs) if chosen else None
    tell = _silent if as_json else _print

    def done(file: str) -> None:
        tell(f"{output / file}")

    def exported() -> "ExportedModel":
        if study is not None:
            from studies.library import load

            loaded = load(study, storage, runs=runs)
            number = loaded.front().knee.trial if trial is None else trial
            if chosen is None:
                return export_trial(loaded.loaded, number, output, done, target)
            assignment = trial_assignment(loaded.loaded, number, chosen, range(seeds or 1), settings)
            return _trained(assignment, output, target, tell)
        if named is not None:
            resolved = named_network(named, classes or (len(class_names(settings)) if settings else 10))
        else:
            resolved = read_spec_file(config or Path())
        resolved = replace(resolved, input_size=size or resolved.input_size)
        if chosen is None or settings is None:
            return export_network(resolved, weights, output, done, target, settings)
        return _trained(Assignment(resolved, settings, chosen, range(seeds or 1)), output, target, tell)

    _closing(exported_model(exported, output), output, as_json)


@click.command(epilog=f"NETWORK is {NETWORK}.")
@click.argument("network")
@click.option("--data", help=f"Training images [those of the study in STUDY:TRIAL]: {DATA}")
@click.option("--recipe", default="fast", show_default=True, help=f"{recipes_text()}.")
@click.option("--epochs", type=click.IntRange(min=1), help=EPOCHS)
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True, help="Seed of the first training run."
)
@click.option("--seeds", type=click.IntRange(1, 100), default=1, show_default=True, help=SEEDS)
@click.option(
    "--metric",
    type=click.Choice([*METRICS]),
    help="Error that the training minimizes [that of the study in STUDY:TRIAL, or error].",
)
@device_option
@input_option(None, "Image size, pixels [the network's, or 32].")
@output_option
@storage_option
def train(
    network: str,
    data: str | None,
    recipe: str,
    epochs: int | None,
    seed: int,
    seeds: int,
    metric: str | None,
    device: str | None,
    size: int | None,
    output: Path,
    storage: str,
) -> None:
    """Train one network and export it.

    The network is trained on the whole training split, and its test error is reported. The weights of a trial are not
    used. An interrupted training resumes when you rerun the command.
    """
    from dataclasses import replace

    from search.data import as_settings, class_names
    from studies.export.final_training import Assignment, trial_assignment
    from studies.export.latency import device_for_files
    from studies.network import read_network, trial_name, trial_of
    from studies.study import load_study

    target = device_for_files(device) if device else None
    settings, chosen = as_settings(data) if data else None, recipe_named(recipe)
    chosen, every_seed = replace(chosen, epochs=epochs or chosen.epochs), range(seed, seed + seeds)
    if (trial := trial_name(network)) is not None:
        loaded = load_study(trial.study, storage)
        assignment = trial_assignment(loaded, trial_of(loaded, trial.trial).number, chosen, every_seed, settings)
    elif settings is not None:
        resolved = read_network(network, len(class_names(settings)))
        assignment = Assignment(resolved, settings, chosen, every_seed)
    else:
        raise InputError(f"network {network!r} needs --data: {DATA}")
    pixels = size or assignment.network.input_size
    assignment = replace(
        assignment,
        network=replace(assignment.network, input_size=pixels),
        metric=metric or assignment.metric,
    )
    _closing(exported_model(lambda: _trained(assignment, output, target, _print), output), output, as_json=False)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@as_json_option
def check(folder: Path, as_json: bool) -> None:
    """Verify a model folder without executing it.

    Checks that the files in FOLDER are intact and consistent with each other, and prints a line for each file. The
    programs in the folder are not run, and a .pt2 file is opened only if it was made on this machine. The exit status
    is 1 if a file is bad.
    """
    from dataclasses import asdict

    found = checked_files(folder, _silent if as_json else _print)
    if as_json:
        click.echo(json.dumps([asdict(checked) | {FORMER_KEY: checked.message} for checked in found], indent=2))
    fail_if_bad(folder, found)


def checked_files(folder: Path, tell: Callable[[str], None]) -> "list[FolderCheck]":
    """Verify the files of a model folder; `tell` receives a line for each of them as soon as it is verified."""
    from studies.export.check import check_folder

    found = []
    for checked in check_folder(folder):
        found.append(checked)
        tell(checked.text())
    return found


def fail_if_bad(folder: Path, found: "Sequence[FolderCheck]") -> None:
    """Raise CommandFailed, which names the bad files of a model folder, if there are any."""
    bad = [checked.file for checked in found if checked.ok is False]
    if bad:
        raise CommandFailed(f"{folder}: bad: {', '.join(bad)}")


def _trained(
    assignment: "Assignment", output: Path, device: "Device | None", tell: Callable[[str], None]
) -> "ExportedModel":
    """Train and export, with a bar per epoch; `tell` receives every line."""
    from studies.export.trained import train_and_export

    return train_and_export(assignment, output, device, ERR if tell is _silent else OUT, tell)


def exported_model(export: "Callable[[], ExportedModel]", output: Path) -> "ExportedModel":
    """The exported model. Raises CommandFailed if the export fails."""
    from search.latency.protocol import MeasurementError
    from search.training.train import TrainingFailed
    from threshnet.export.folder import ExportError

    try:
        return export()
    except ExportError as error:
        raise CommandFailed(str(error)) from None
    except TrainingFailed as failure:
        raise CommandFailed(f"training failed: {failure}") from None
    except MeasurementError as error:
        raise CommandFailed(f"the model is in {output}, but its files could not be measured: {error}") from None


def _closing(model: "ExportedModel", output: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(model.to_json(), indent=2))
    else:
        _print(model.text())
        _print(f"files in {output}")
        print_next("check", str(output))


def _print(line: str) -> None:
    OUT.print(line, highlight=False, soft_wrap=True)


def _silent(line: str) -> None:
    """Print nothing: the output is JSON."""
