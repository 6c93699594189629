"""The command that picks one network of a front: pick."""

import json
from pathlib import Path

import click

from studies.cli.options import OUT, as_json_option, backend_option, print_next, runs_option, storage_option
from studies.cli.quantities import Amount, Milliseconds, Percent


@click.command()
@click.argument("study")
@click.option("--max-latency", type=Milliseconds(), help="Latency limit, e.g. 5ms.")
@click.option("--max-error", type=Percent(), help="Limit on the validation error in percent, e.g. 8.")
@click.option("--max-params", type=Amount(), help="Limit on parameters, e.g. 1M.")
@click.option("--max-macs", type=Amount(), help="Limit on multiply-accumulates, e.g. 40M.")
@click.option("--knee", is_flag=True, help="Pick the knee of the front within the limits.")
@backend_option("Use the latencies of this backend, e.g. 'cpu torch'.")
@click.option(
    "--training-noise",
    type=Percent(),
    help="Standard deviation of the error between training seeds, in points, if known.",
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
    """Pick one network of a study's front.

    Prints the network, the reason for the choice and a confidence estimate. With a latency limit, picks the most
    accurate network within the limit. With an error limit, picks the fastest network within the limit. Otherwise, picks
    the knee of the front. Uses validation errors and latencies only, no test data.
    """
    from studies.defaults import default_storage
    from studies.fronts.picking_text import pick_json, pick_text
    from studies.library import load
    from studies.storage import export_command, place_options

    front = load(study, storage, runs=runs).front(backend)
    found = front.pick(
        max_latency_ms=max_latency,
        max_error=max_error,
        max_params=max_params,
        max_macs=max_macs,
        knee=knee,
        training_noise=training_noise,
    ).result
    number = found.record.number
    export = export_command(study, number, place_options(storage, runs, default_storage()))
    if as_json:
        click.echo(json.dumps(pick_json(found, export), indent=2))
        return
    for line in pick_text(found):
        OUT.print(line, highlight=False, soft_wrap=True)
    print_next("export", study, "--trial", str(number), "-o", f"{study}-trial{number}", storage=storage, runs=runs)
