"""Cost of finding the front of a recorded table with each strategy: `python -m benchmarks.search_efficiency`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.json_lines import append
from benchmarks.report import conditions, options, publish, recorded
from benchmarks.search_efficiency.figure import HEIGHT, WIDTH, figure
from benchmarks.search_efficiency.page import by_strategy, document, markdown, reached
from benchmarks.search_efficiency.runs import Run, read_runs, run_all, write_runs
from benchmarks.search_efficiency.strategies import OURS, SLOW, STRATEGIES
from benchmarks.threshbench.table import FOLDER, Table, read
from studies.figures.chrome import NoChrome, draw

TABLES = ("cifar10", "svhn")
SEEDS = 30
QUICK_SEEDS = 3
SCALE = 2  # PNG pixels per figure pixel


def add_runs(table: Table, file: Path, todo: Sequence[tuple[str, int]]) -> None:
    """Run these (strategy, seed) pairs. Append each finished run to the file and report it on standard error."""
    start = time.monotonic()
    for number, run in enumerate(run_all(table, todo), start=1):
        append(file, run.to_json())
        left = (time.monotonic() - start) / number * (len(todo) - number) / 60
        sys.stderr.write(f"{number} of {len(todo)}: {run_text(run)}; {left:.0f} minutes left\n")


def run_text(run: Run) -> str:
    """One-line summary of a run."""
    cached, charged, share = run.curve[-1]
    return (
        f"{run.strategy}, seed {run.seed}: {share:.1%} for {cached:g} (with repeats charged: {charged:g}), "
        f"{run.proposals} proposals, {run.seconds:.1f} s"
    )


def differences(table: Table, stored: dict[tuple[str, int], Run], names: Sequence[str]) -> list[str]:
    """Rerun the first seeds of these strategies and return a line for each run that differs from the stored run."""
    todo = [(name, seed) for name in names for seed in range(QUICK_SEEDS)]
    lines = []
    for run in run_all(table, todo):
        before = stored.get((run.strategy, run.seed))
        sys.stderr.write(f"{run_text(run)}\n")
        if before is None:
            lines.append(f"{run.strategy}, seed {run.seed}: not stored")
        elif not run.equivalent(before):
            lines.append(f"{run_text(run)}; stored: {run_text(before)}")
    return lines


def conditions_of(runs: Sequence[Run], table: Table) -> str:
    """Return the line of conditions: the measured processor, the package versions of the runs, and today's date."""
    versions = {f"{package} {version}" for run in runs for package, version in run.versions.items()}
    return conditions(f"latencies of {table.about['environment']['processor']}", *sorted(versions), packages=())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing replays, print and write the page, and return the exit status."""
    goal = (
        "our median cost to reach 95 % with free repeats is at most half of that of the best peer and a fifth of that "
        "of NSGA-II"
    )
    description = (
        "The cost of finding a front on a recorded table, as Markdown. Replays are stored, and only missing ones are "
        f"run. --quick reruns the first {QUICK_SEEDS} seeds of each fast strategy instead; exit status 1 if one "
        "differs from the stored run."
    )
    parser = options("search_efficiency", description, goal)
    parser.add_argument("--table", choices=TABLES, default=TABLES[0], help="recorded table [%(default)s]")
    parser.add_argument("--strategies", metavar="A,B", default=",".join(STRATEGIES), help="strategies [%(default)s]")
    parser.add_argument("--again", action="store_true", help="rerun these strategies and replace their stored runs")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="seeds of each strategy [%(default)s]")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of tables and replays [the repository's]")
    args = parser.parse_args(arguments)
    names = args.strategies.split(",")
    if unknown := [name for name in names if name not in STRATEGIES]:
        parser.error(f"--strategies {unknown[0]}: must be among {', '.join(STRATEGIES)}")
    earlier = recorded(args.render) if args.render else None
    name = earlier["table"]["table"] if earlier else args.table
    try:
        table = read(args.folder / f"threshbench_{name}.jsonl")
    except (OSError, ValueError) as error:
        parser.error(f"--table {name}: {error}")
    file = args.folder / f"search_efficiency_{name}.jsonl"
    stored = read_runs(file, table)
    differing: list[str] = []
    if args.quick:
        differing = differences(table, stored, [name for name in names if name not in SLOW])
        sys.stderr.writelines(f"differs: {line}\n" for line in differing)
    elif not earlier:
        stored = {key: run for key, run in stored.items() if not (args.again and key[0] in names)}
        todo = [(name, seed) for seed in range(args.seeds) for name in names if (name, seed) not in stored]
        write_runs(file, stored)
        add_runs(table, file, todo)
        stored = read_runs(file, table)
        write_runs(file, stored)
    runs = [run for (name, seed), run in stored.items() if name in names and seed < args.seeds]
    if not runs:
        parser.error(f"no runs of {args.strategies} are stored in {file}")
    facts = earlier["conditions"] if earlier else conditions_of(runs, table)
    publish(lambda _: markdown(runs, table, facts), document(runs, table, facts), args.output)
    if args.output:
        draw_figure(runs, table, args.output.with_suffix(".png"))
    if args.check and OURS not in by_strategy(runs):
        sys.stderr.write(f"--check: no runs of {OURS!r} are stored\n")
    return int(bool(differing) or (args.check and not reached(runs, len(table.entries))))


def draw_figure(runs: Sequence[Run], table: Table, path: Path) -> None:
    """Write the figure as a PNG. If Chrome is missing, report that on standard error."""
    try:
        path.write_bytes(draw(figure(runs, table), WIDTH, HEIGHT, SCALE))
    except NoChrome as error:
        sys.stderr.write(f"{path.name} not written: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
