"""The command that names one network of a front: pick."""

import json
from pathlib import Path

import click

from studies.cli.options import OUT, as_json_option, runs_option, storage_option
from studies.cli.quantities import Amount, Milliseconds, Percent
from threshnet.errors import InputError


@click.command()
@click.argument("study")
@click.option("--max-latency", type=Milliseconds(), help="Such as 5ms.")
@click.option("--max-error", type=Percent(), help="Validation error in percent, such as 8.")
@click.option("--max-params", type=Amount(), help="Such as 1M.")
@click.option("--max-macs", type=Amount(), help="Multiply-accumulates, such as 40M.")
@click.option("--knee", is_flag=True, help="The knee of what is within the limits.")
@click.option("--on", "backend", help="Latencies of this backend, e.g. 'cpu torch'.")
@click.option(
    "--training-noise",
    type=Percent(),
    help="Standard deviation of an error between trainings, in points, where you know it.",
)
@storage_option
@runs_option
@as_json_option
def pick(
    study: str,
    max_latency: float | None,
    max_error: float | None,
    max_params: float | None,
    max_macs: float | None,
    knee: bool,
    backend: str | None,
    training_noise: float | None,
    storage: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Name one network of STUDY's front, why it, and how sure that is given noise.

    With a limit on latency: the least error within it; with one on error: the quickest; with both, neither or --knee:
    the knee of what is left. Reads validation errors and latencies, no test data.
    """
    from studies.analysis import analyse
    from studies.commands import export_command
    from studies.fronts.picking import PickRequest
    from studies.fronts.picking import pick as picked
    from studies.fronts.picking_text import pick_json, pick_text
    from studies.storage import place_options

    analysis = analyse(study, storage, runs=runs, backend=backend)
    asked = PickRequest(max_latency, max_error, max_params, max_macs, knee)
    images = analysis.study.images.get("validation")
    if images is None:
        raise InputError(f"study {study!r}: it does not say on how many validation images its errors were counted")
    found = picked(analysis.front, asked, int(images), training_noise)
    export = export_command(study, found.record.number, place_options(storage, runs))
    if as_json:
        click.echo(json.dumps(pick_json(found, export), indent=2))
        return
    for line in pick_text(found):
        OUT.print(line, highlight=False, soft_wrap=True)
    OUT.print(f"To export it: {export}", highlight=False, soft_wrap=True)
