"""Train what the campaign needs and write its page: `python -m benchmarks.campaign --data FOLDER`.

Each training is a unit that uses one thread. Start the command once for each idle core; the processes share the units.
A process may be paused with SIGSTOP and ended with Ctrl-C or SIGTERM at any time, and the command resumes a unit after
its last epoch. Before the first run, `python -m benchmarks.campaign.costs` and `python -m benchmarks.campaign.widths`
record the lengths of trainings and the networks of the factorial.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from benchmarks.campaign.factorial import FACTORIAL
from benchmarks.campaign.page import render
from benchmarks.campaign.protocol import FULL, QUICK, THREADS, Images
from benchmarks.campaign.recipes import RECIPES
from benchmarks.campaign.run import Places, run, seconds, seconds_left
from benchmarks.campaign.rungs import RUNGS
from benchmarks.campaign.stage import Stage
from benchmarks.campaign.units import Outcomes, commit
from threshnet.errors import InputError

STAGES: dict[str, Stage] = {stage.name: stage for stage in (RECIPES, RUNGS, FACTORIAL)}
RESULTS = Path(__file__).parents[1] / "results"
PLACES = Places(RESULTS / "campaign", Path("runs/campaign"))
PAGE = RESULTS / "campaign.md"
INTERRUPTED = 130  # exit status after Ctrl-C, as shells report it


def listing(stages: Sequence[Stage], outcomes: Outcomes) -> str:
    """Return all units with their errors or the time that they are going to take."""
    lines = []
    for stage in stages:
        units, later = stage.units(outcomes), stage.later(outcomes)
        done = sum(unit in outcomes for unit in units)
        hours = seconds_left([stage], outcomes) / 3600
        lines.append(f"{stage.name}: {done} of {len(units) + len(later)} done, about {hours:.1f} processor hours left")
        for unit in units:
            found = outcomes.get(unit)
            state = f"about {seconds(unit, outcomes) / 60:.0f} min" if found is None else f"{found.error:.2f} %"
            lines.append(f"  {unit.key:<48} {state}")
        if later:
            lines.append(f"  {len(later)} more once earlier ones have finished")
    lines.append(f"all: about {seconds_left(stages, outcomes) / 3600:.1f} processor hours left")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.campaign", description="The campaign; resumable.")
    made.add_argument("--data", type=Path, metavar="FOLDER", help="an ImageFolder tree [the CIFAR-10 download]")
    made.add_argument("--caveat", default="", help="note about the images, shown with all results")
    made.add_argument("--stage", choices=STAGES, help="only this stage [all, in order]")
    made.add_argument("--list", action="store_true", help="list units with results and times; train nothing")
    made.add_argument("--minutes", type=float, metavar="M", help="stop after the first epoch that ends later")
    made.add_argument("--quick", action="store_true", help="try all stages on a few images; records nothing")
    made.add_argument("--check", action="store_true", help=f"exit status 1 unless the lines give {PAGE.name} again")
    made.add_argument("--output", type=Path, metavar="FILE", help="write the page of the recorded lines to FILE")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the missing units, or list them, or check or write the page; return the exit status."""
    args = parser().parse_args(arguments)
    every = list(STAGES.values())
    chosen = [STAGES[args.stage]] if args.stage else every
    try:
        if args.list:
            sys.stdout.write(listing(chosen, PLACES.outcomes(every)) + "\n")
            return 0
        if args.check or args.output:
            return write(args.output, check=args.check)
        images = Images(args.data, QUICK if args.quick else FULL, args.caveat)
        return train(images, every, chosen, args.minutes, quick=args.quick)
    except InputError as error:
        sys.stderr.write(f"campaign: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("campaign: stopped; rerun the command to resume\n")
        return INTERRUPTED


def write(output: Path | None, *, check: bool) -> int:
    """Print the page of the recorded lines, write it to `output`, and compare it with the recorded page."""
    page = render(list(STAGES.values()), PLACES.outcomes(list(STAGES.values())), PLACES.results) + "\n"
    sys.stdout.write(page)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(page)
    if check and (not PAGE.exists() or PAGE.read_text() != page):
        sys.stderr.write(f"campaign: {PAGE} differs from the page of the recorded lines\n")
        return 1
    return 0


def train(
    images: Images, every: Sequence[Stage], chosen: Sequence[Stage], minutes: float | None, *, quick: bool
) -> int:
    """Train the missing units of the chosen stages."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    torch.set_num_threads(THREADS)
    commit()  # the commit of the code that is loaded now
    end = None if minutes is None else time.monotonic() + 60 * minutes
    with ExitStack() as stack:
        places = PLACES
        if quick:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="threshnet-")))
            places = Places(folder / "results", folder / "work")
        finished = run(every, chosen, images, places, lambda: end is not None and time.monotonic() >= end)
        if quick:
            sys.stdout.write(render(every, places.outcomes(every), places.results) + "\n")
    if not finished:
        sys.stderr.write("campaign: not finished; rerun the command to resume\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
