"""The command that trains several networks in full and compares them: retrain."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from search.latency.devices.named import device_forms
from search.training.metrics import METRICS
from search.training.recipes import recipes_text
from studies.cli.export import EPOCHS
from studies.cli.options import (
    DATA,
    ERR,
    NETWORK,
    OUT,
    CommandFailed,
    as_json_option,
    input_option,
    output_option,
    print_next,
    runs_option,
    storage_option,
)
from threshnet.errors import InputError


class Listed(click.ParamType[tuple[str, ...]]):
    """Texts separated by commas."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:  # noqa: ANN401
        """The texts, without spaces around them."""
        texts = tuple(text.strip() for text in value.split(","))
        if "" in texts:
            self.fail(f"{value!r}: must be a list separated by commas", param, ctx)
        return texts


class Trials(click.ParamType[tuple[int, ...]]):
    """Numbers of trials separated by commas."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:  # noqa: ANN401
        """The numbers."""
        texts = Listed().convert(value, param, ctx)
        if not all(text.isascii() and text.isdigit() for text in texts):
            self.fail(f"{value!r}: must be numbers of trials, e.g. 3,7", param, ctx)
        return tuple(map(int, texts))


@click.command(epilog=f"NETWORK is {NETWORK}.")
@click.argument("study", required=False)
@click.option("--front", is_flag=True, help="Retrain all networks on STUDY's front.")
@click.option("--trials", type=Trials(), help="Retrain these trained trials of STUDY, e.g. 3,7.")
@click.option("--named", type=Listed(), help="Retrain named networks, e.g. threshnet28,threshnet79.")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Retrain the network in a JSON file. Can be repeated.",
)
@click.option("--data", help=f"Training images [the study's]: {DATA}")
@click.option("--recipe", default="fast", show_default=True, help=f"{recipes_text()}.")
@click.option("--epochs", type=click.IntRange(min=1), help=EPOCHS)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Number of training runs of each network, one seed each.",
)
@click.option(
    "--metric",
    type=click.Choice([*METRICS]),
    help="Error that the trainings minimize [that of the study, or error].",
)
@click.option("--all-images", is_flag=True, help="Train on the validation images, too; there is no validation error.")
@click.option("--no-test", is_flag=True, help="Do not read the test images.")
@click.option("--device", help=f"Measure latencies on this device [the study's, or cpu]: {device_forms()}.")
@click.option("--export", "exported", metavar="NETWORK", help="Export this network [the lowest mean validation error].")
@input_option(None, "Image size, pixels [the study's, the files', or 32].")
@output_option
@storage_option
@runs_option
@as_json_option
def retrain(
    study: str | None,
    front: bool,
    trials: tuple[int, ...] | None,
    named: tuple[str, ...] | None,
    config: tuple[Path, ...],
    data: str | None,
    recipe: str,
    epochs: int | None,
    seeds: int,
    metric: str | None,
    all_images: bool,
    no_test: bool,
    device: str | None,
    exported: str | None,
    size: int | None,
    output: Path,
    storage: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Train several networks in full and compare them.

    All networks are trained with the same images, recipe and seeds, the first seed of every network first, and their
    latencies are measured in one pass. Choose them with --front, --trials, --named and --config; the first two need
    STUDY. An interrupted run resumes when you rerun the command, and a run with more networks or seeds trains only what
    is missing. The network with the lowest mean validation error, or the one that --export names, is exported to the
    folder model in the output folder. Test errors are only reported.
    """
    if not (front or trials or named or config):
        raise InputError("name what to retrain: --front or --trials with a STUDY, --named NAMES or --config FILE")
    if study is None and (front or trials):
        raise InputError("--front and --trials need a STUDY")
    if study is None and data is None:
        raise InputError(f"--named and --config need --data unless a study defines the images: {DATA}")

    from search.latency.protocol import MeasurementError
    from search.training.train import TrainingFailed
    from studies.cli.tables import retrained_table
    from studies.library import load
    from studies.retraining.exporting import MODEL
    from studies.retraining.retrain import retrain as retrain_networks
    from studies.screen import Screen
    from threshnet.export.folder import ExportError

    loaded = load(study, storage, runs=runs) if study is not None else None
    networks = [*loaded.front()] if front and loaded else []
    networks += [loaded.network(trial) for trial in trials or ()] if loaded else []
    try:
        with Screen(ERR if as_json else OUT, f"retraining into {output}", units="trainings") as screen:
            retrained = retrain_networks(
                [*networks, *(named or ()), *config],
                output,
                study=loaded,
                data=data,
                recipe=recipe,
                epochs=epochs,
                seeds=seeds,
                metric=metric,
                held_out=not all_images,
                tested=not no_test,
                input_size=size,
                device=device,
                export=exported,
                progress=screen,
            )
    except KeyboardInterrupt:
        ERR.print(f"stopped; finished epochs are kept in {output}; rerun the command to resume", soft_wrap=True)
        sys.exit(130)
    except TrainingFailed as failure:
        raise CommandFailed(str(failure)) from None
    except (MeasurementError, ExportError) as error:
        raise CommandFailed(f"{error}; the trainings are kept; rerun the command to resume") from None
    if as_json:
        click.echo(json.dumps(retrained.to_json(), indent=2))
    else:
        OUT.print(retrained_table(retrained))
        for note in retrained.notes:
            OUT.print(note, highlight=False, soft_wrap=True)
        OUT.print(retrained.export_text, highlight=False, soft_wrap=True)
    if retrained.failures:
        total = len(retrained.plan.networks) * seeds
        raise CommandFailed(f"{len(retrained.failures)} of {total} trainings failed; see above")
    if retrained.choice and not as_json:
        print_next("check", str(output / MODEL))
