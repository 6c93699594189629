"""The command line: its entry point, and the commands about studies."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from studies.cli.benchmark import benchmark
from studies.cli.device import device
from studies.cli.export import check, export, train
from studies.cli.launch import demo, init, launch
from studies.cli.measure import compare, measure
from studies.cli.network import costs, draw
from studies.cli.options import (
    ERR,
    OUT,
    CommandFailed,
    as_json_option,
    backend_option,
    file_option,
    print_next,
    runs_option,
    storage_option,
)
from studies.cli.pick import pick
from studies.cli.plain_table import PlainTable
from studies.cli.recover import recover
from studies.cli.remeasure import remeasure
from studies.cli.retrain import retrain
from studies.cli.volume import volume
from threshnet import __version__
from threshnet.errors import InputError

if TYPE_CHECKING:
    from studies.listing import StudySummary


def main() -> None:
    """Entry point. Exit status 2 and one line for bad input, 1 and one line for a failure, 130 for Ctrl-C."""
    logging.disable(logging.WARNING)  # the output of Optuna and of torch's exporters
    try:
        sys.exit(cli(sys.argv[1:] or ["--help"], prog_name="threshnet", standalone_mode=False) or 0)
    except (click.Abort, KeyboardInterrupt):
        ERR.print("interrupted")
        sys.exit(130)
    except CommandFailed as failure:
        _fail(failure.message, 1)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except InputError as error:
        _fail(str(error), 2)
    except BrokenPipeError:
        sys.exit(1)


def _fail(message: str, status: int) -> None:
    ERR.print(f"error: {' '.join(message.split())}", soft_wrap=True)
    sys.exit(status)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="threshnet")
def cli() -> None:
    """Search threshold schedules of ThreshNets for image error and measured latency.

    Launch a study, look at its Pareto front, export one of its networks as a model.
    """


@cli.group(invoke_without_command=True)
@storage_option
@as_json_option
@click.pass_context
def studies(context: click.Context, storage: str, as_json: bool) -> None:
    """List the studies of a storage.

    Shows the number of trials by state, the hypervolume and the time of the last activity.
    """
    if context.invoked_subcommand:
        return
    from dataclasses import asdict

    from studies.listing import list_studies

    listed = list_studies(storage)
    if as_json:
        click.echo(json.dumps([asdict(study) for study in listed], indent=2))
    else:
        OUT.print(studies_table(storage, listed))


def studies_table(storage: str, listed: "Sequence[StudySummary]") -> Table:
    """The studies of a storage."""
    from studies.storage import shown

    table = PlainTable(f"Studies in {shown(storage)}", optional=("repeated", "untrained", "open", "failed", "stopped"))
    table.add_column("study", style="bold", overflow="fold")
    for name in ("trained", "stopped", "untrained", "failed", "repeated", "open", "volume"):
        table.add_column(name, justify="right")
    table.add_column("last activity")
    for study in listed:
        states = study.states
        table.add_row(
            study.name,
            str(states.get("finished", 0) + states.get("infeasible", 0)),
            *(str(states.get(state, 0)) for state in ("stopped", "not trained", "failed", "duplicate")),
            str(sum(states.get(state, 0) for state in ("interrupted", "running", "waiting"))),
            "-" if study.hypervolume_percent is None else f"{study.hypervolume_percent:.2f}",
            study.last_activity or "-",
        )
    table.caption = (
        "stopped: networks whose training ended at a rung; open: interrupted, running or waiting; "
        "volume: hypervolume in percent of the study's box"
    )
    return table


@studies.command("copy")
@click.argument("study")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(study: str, source: str, target: str) -> None:
    """Copy a study to another storage.

    The trained weights are not copied.
    """
    from studies.listing import copy_study
    from studies.storage import shown

    copy_study(study, source, target)
    OUT.print(f"copied {study} to {shown(target)}", highlight=False)
    print_next("studies", storage=target)


def _backend(backend: str | None) -> tuple[str, ...]:
    return () if backend is None else ("--backend", backend)


@cli.command()
@click.argument("study")
@storage_option
@backend_option("Show the front on this backend only, e.g. 'cpu torch'.")
@file_option("--html", "Write the fronts as one interactive page.")
@file_option("--png", "Write the fronts as a picture; needs Chrome or Chromium.")
@file_option("--csv", "Write every trial as a table.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Write a results folder.")
@as_json_option
@runs_option
def pareto(
    study: str,
    storage: str,
    backend: str | None,
    html: Path | None,
    png: Path | None,
    csv: Path | None,
    results: Path | None,
    as_json: bool,
    runs: Path,
) -> None:
    """Show the Pareto front of a study.

    Also lists the named networks with the networks that dominate them, and shows how the front differs on other
    backends.
    """
    from studies.cli.tables import front_table, moves_tables, named_table
    from studies.fronts.moves import moves
    from studies.fronts.wording import untrained_text
    from studies.library import load

    if backend is not None and results is not None:
        raise InputError("--results covers every backend of the study, so it cannot be combined with --backend")
    loaded = load(study, storage, runs=runs)
    fronts = loaded.fronts if backend is None else (loaded.front(backend),)
    first, *others = (front.points for front in fronts)
    if as_json:
        click.echo(json.dumps(loaded.to_json(backend), indent=2))
    else:
        OUT.print(front_table(first))
        if first.named:
            OUT.print(named_table(first))
        if untrained := untrained_text(loaded.trials):
            OUT.print(untrained, highlight=False)
        for front in others:
            OUT.print(front_table(front))
            for part in moves_tables(moves(first, front)):
                OUT.print(part, highlight=False)
        for sentence in loaded.progress.sentences:
            OUT.print(sentence, highlight=False)
        if first.caveat:
            OUT.print(f"Note: {first.caveat}.", highlight=False)
        if not (html or png or csv or results):
            print_next("pareto", study, "--html", "front.html", *_backend(backend), storage=storage, runs=runs)
        print_next("pick", study, *_backend(backend), storage=storage, runs=runs)
    for line in loaded.write(html=html, png=png, csv=csv, folder=results, backend=backend):
        ERR.print(line, soft_wrap=True)


for command in (
    init,
    launch,
    demo,
    export,
    measure,
    compare,
    remeasure,
    volume,
    pick,
    device,
    costs,
    draw,
    recover,
    train,
    retrain,
    check,
    benchmark,
):
    cli.add_command(command)
