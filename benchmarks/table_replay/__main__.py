"""Replay searches on a table of recorded trainings: `python -m benchmarks.table_replay FILE.csv ...`."""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.table_replay.report import costs_table, ratio_lines
from benchmarks.table_replay.runs import SHARES, Run, Settings, reported, run_all, stored_in
from benchmarks.table_replay.strategies import NEED_RUNGS, STRATEGIES, default
from benchmarks.table_replay.table import Columns, Table, read_csv
from threshnet.errors import InputError

SEEDS, BUDGET = 30, 200.0
REPORTED = (90, 95, 99)


def columns(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of columns."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def rung(text: str) -> tuple[str, float]:
    """Parse COLUMN:COST."""
    name, _, cost = text.rpartition(":")
    try:
        value = float(cost)
    except ValueError:
        value = 0.0
    if not name or not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be COLUMN:COST with a cost between 0 and 1 full training")
    return name, value


def positive(text: str) -> float:
    """Parse a positive number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a positive number")
    return value


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks.table_replay",
        description="Replay searches on a CSV table of recorded trainings, and print what each strategy pays to find "
        "most of the front. A latency is unknown until it is read, which costs 0.01 full trainings, or until its "
        "network is trained. Columns that are not named are never read.",
    )
    found.add_argument("file", type=Path, metavar="FILE", help="CSV file, may end in .gz")
    found.add_argument(
        "--choices", type=columns, default=(), metavar="C,...", help="columns that the strategies choose"
    )
    found.add_argument(
        "--descriptors", type=columns, default=(), metavar="C,...", help="columns that are known before training"
    )
    found.add_argument("--latency", required=True, metavar="C", help="column of the latency")
    final = found.add_mutually_exclusive_group(required=True)
    final.add_argument("--error", metavar="C", help="column of the error at the end of training")
    final.add_argument("--accuracy", metavar="C", help="column of the accuracy at the end of training")
    found.add_argument(
        "--rung", type=rung, action="append", default=[], metavar="C:COST", help="a shorter training; repeatable"
    )
    found.add_argument(
        "--resume",
        action="store_true",
        help="the rungs are scores of one training, so the next rung costs the difference [each rung costs its own "
        "training]",
    )
    found.add_argument("--same-as", metavar="C", help="column with the row, from 0, that stands for this row")
    found.add_argument("--strategies", type=columns, metavar="S,...", help=f"of {', '.join(STRATEGIES)}")
    found.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="seeds of each strategy [%(default)s]")
    found.add_argument(
        "--budget", type=positive, default=BUDGET, metavar="N", help="full trainings of a run [%(default)g]"
    )
    found.add_argument("--box", choices=("log", "linear"), default="log", help="latency axis [%(default)s]")
    found.add_argument("--max-error", type=positive, metavar="E", help="upper edge of the box, %% [largest error]")
    found.add_argument(
        "--goal",
        type=int,
        choices=SHARES,
        default=SHARES[-1],
        help="percent of the front that ends a run [%(default)s]",
    )
    found.add_argument("--store", type=Path, metavar="FILE", help="JSON Lines file; runs that it has are not repeated")
    found.add_argument("--json", action="store_true", help="print one JSON line for each run instead of a table")
    return found


def table_of(args: argparse.Namespace) -> Table:
    """Read the table that the command line describes."""
    rungs = dict(sorted(args.rung, key=lambda item: float(item[1])))
    if len(rungs) < len(args.rung) or len(set(rungs.values())) < len(rungs):
        raise InputError("--rung: columns and costs must differ")
    described = Columns(
        latency=args.latency,
        final=args.accuracy or args.error,
        accuracy=bool(args.accuracy),
        rungs=rungs,
        choices=args.choices,
        descriptors=args.descriptors,
        same_as=args.same_as,
    )
    if not args.choices and not args.descriptors:
        raise InputError("--choices, --descriptors: name at least one column")
    return read_csv(args.file, described, resumes=args.resume)


def stored_runs(file: Path | None) -> dict[tuple[str, int], Run]:
    """Return the runs of --store by strategy and seed; empty without a file."""
    if file is None:
        return {}
    if not file.parent.is_dir():
        raise InputError(f"--store {file}: {file.parent} is not a folder")
    try:
        return stored_in(file)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--store {file}: must have a run in each line, as JSON; {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the replays, print the costs, and return the exit status."""
    args = parser().parse_args(arguments)
    try:
        runs = runs_of(args)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if args.json:
        sys.stdout.writelines(f"{json.dumps(run.to_json())}\n" for run in runs)
    else:
        shares = [share for share in REPORTED if share <= args.goal] or [args.goal]
        sys.stdout.write("\n\n".join([costs_table(runs, shares), "\n".join(ratio_lines(runs, shares))]) + "\n")
    return 0


def runs_of(args: argparse.Namespace) -> list[Run]:
    """Run the replays that are not stored, and return all that were asked for. Raises InputError for bad input."""
    names = args.strategies or default(rungs=bool(args.rung))
    if unknown := [name for name in names if name not in STRATEGIES]:
        raise InputError(f"--strategies {unknown[0]}: must be among {', '.join(STRATEGIES)}")
    if needy := [name for name in names if name in NEED_RUNGS and not args.rung]:
        raise InputError(f"--strategies {needy[0]}: needs a --rung")
    if "gp" in names and find_spec("botorch") is None:
        raise InputError("--strategies gp: needs the package botorch, which is not installed")
    if args.seeds < 1:
        raise InputError(f"--seeds {args.seeds}: must be at least 1")
    table, stored = table_of(args), stored_runs(args.store)
    settings = Settings(args.budget, args.box, args.max_error, args.goal)
    wanted = [(name, seed) for seed in range(args.seeds) for name in names]
    todo = [key for key in wanted if key not in stored]
    for run in reported(run_all(table, settings, todo), len(todo), args.store):
        stored[run.strategy, run.seed] = run
    return [stored[key] for key in wanted]


if __name__ == "__main__":
    sys.exit(main())
