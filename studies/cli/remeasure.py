"""The command that measures the networks of a study again: remeasure."""

import json
import sys
from pathlib import Path

import click

from studies.cli.measure import Setting, measuring_options, stopping_options
from studies.cli.options import ERR, OUT, CommandFailed, as_json_option, print_next, runs_option, storage_option


@click.command()
@click.argument("study")
@measuring_options
@stopping_options
@click.option("--again", is_flag=True, help="Also re-measure networks that have a reading there.")
@click.option("--flagged", is_flag=True, help="Only measure networks whose reading there was disturbed.")
@storage_option
@runs_option
@as_json_option
def remeasure(
    study: str,
    setting: Setting,
    tolerance: float | None,
    max_s: float | None,
    again: bool,
    flagged: bool,
    storage: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Measure a study's networks again, e.g. on another device.

    Measures the trained networks without training them again, and shows how the front changes. Each reading is stored
    immediately, so you can interrupt the command and rerun it to resume. With --flagged, networks are also measured on
    the backend of the study, and their new readings replace those of the search.
    """
    from search.latency.protocol import ConnectionLost
    from studies.cli.tables import front_table, moves_tables
    from studies.fronts.as_json import moves_json
    from studies.fronts.front import front_of
    from studies.fronts.moves import moves
    from studies.remeasure import networks_of, place_of
    from studies.remeasure import remeasure as measure_networks
    from studies.screen import Screen
    from studies.study import backends_of, load_study

    loaded = load_study(study, storage, runs=runs)
    device, runtime, protocol = setting.resolved(tolerance, max_s)
    place = place_of(loaded, device, runtime, protocol, flagged=flagged)
    total, first = len(networks_of(loaded)), front_of(loaded)
    try:
        with Screen(ERR if as_json else OUT, f"{study} on {place}", total) as screen:
            done = measure_networks(loaded, device, runtime, protocol, screen, again=again, flagged=flagged)
    except ConnectionLost as lost:
        raise CommandFailed(f"{place}: {lost}; finished readings are kept; rerun the command to resume") from None
    if done.interrupted:
        ERR.print(f"stopped: {done.before + done.taken} of {total} networks measured; rerun the command to resume")
        sys.exit(130)
    if flagged and not (done.taken or done.failed or as_json):
        OUT.print(f"no trained network has a disturbed reading on {place}")
        return
    loaded = load_study(study, storage, runs=runs)
    fronts = [first, *([front_of(loaded, place)] if place in backends_of(loaded) else [])]
    if as_json:
        summary = {
            "study": study,
            "backend": place,
            "measured": done.taken,
            "before": done.before,
            "failed": done.failed,
        }
        moved = moves_json(*fronts) if len(fronts) > 1 else {}
        click.echo(json.dumps(summary | moved, indent=2))
    elif len(fronts) > 1:
        OUT.print(front_table(fronts[1]))
        for text in moves_tables(moves(*fronts)):
            OUT.print(text, highlight=False)
        print_next("pareto", study, "--html", "front.html", storage=storage, runs=runs)
    if done.failed:
        raise CommandFailed(f"{len(done.failed)} of {total} networks could not be measured on {place}; see above")
