"""What finding a front costs, strategy by strategy, on a recorded table: `python -m benchmarks.search_efficiency`."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.json_lines import append
from benchmarks.report import conditions, options, publish
from benchmarks.search_efficiency.figure import HEIGHT, WIDTH, figure
from benchmarks.search_efficiency.page import by_strategy, document, markdown, reached
from benchmarks.search_efficiency.runs import Run, kept, made, write
from benchmarks.search_efficiency.strategies import OURS, SLOW, STRATEGIES
from benchmarks.threshbench.table import FOLDER, Table, read
from studies.figures.chrome import NoChrome, draw

TABLES = ("cifar10", "svhn")
SEEDS = 30
QUICK_SEEDS = 3
SCALE = 2  # pixels of the PNG for each of the figure


def searched(table: Table, file: Path, todo: Sequence[tuple[str, int]]) -> None:
    """Make these runs and add each to the file as it ends; progress goes to stderr."""
    began = time.monotonic()
    for number, run in enumerate(made(table, todo), start=1):
        append(file, run.to_json())
        left = (time.monotonic() - began) / number * (len(todo) - number) / 60
        sys.stderr.write(f"{number} of {len(todo)}: {told(run)}; {left:.0f} minutes left\n")


def told(run: Run) -> str:
    """A run in a line."""
    cached, charged, share = run.curve[-1]
    return (
        f"{run.strategy}, seed {run.seed}: {share:.1%} for {cached:g} (repeats paid: {charged:g}), "
        f"{run.proposals} proposals, {run.seconds:.1f} s"
    )


def differing(table: Table, stored: dict[tuple[str, int], Run], names: Sequence[str]) -> list[str]:
    """Make the first runs of these strategies anew; those that are not as they are stored, in words."""
    todo = [(name, seed) for name in names for seed in range(QUICK_SEEDS)]
    found = []
    for run in made(table, todo):
        before = stored.get((run.strategy, run.seed))
        sys.stderr.write(f"{told(run)}\n")
        if before is None:
            found.append(f"{run.strategy}, seed {run.seed}: not stored")
        elif not run.same(before):
            found.append(f"{told(run)}; stored: {told(before)}")
    return found


def facts(runs: Sequence[Run], table: Table) -> str:
    """Where the latencies were measured, what the runs were made with, and when the page was."""
    versions = {f"{package} {version}" for run in runs for package, version in run.versions.items()}
    return conditions(f"Latencies of {table.about['environment']['processor']}", *sorted(versions), packages=())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, print and write; the exit status."""
    goal = "ours costs at most half of the best peer's and a fifth of NSGA-II's, to 95 %, repeats free"
    about = (
        "What finding a front costs, on a recorded table, as Markdown. Replays are kept and made once; --quick makes "
        f"the first {QUICK_SEEDS} of each strategy that proposes quickly anew: exit status 1 unless they are as kept."
    )
    parser = options("search_efficiency", about, goal)
    parser.add_argument("--table", choices=TABLES, default=TABLES[0], help="the recorded table [%(default)s]")
    parser.add_argument("--strategies", metavar="A,B", default=",".join(STRATEGIES), help="which to run [%(default)s]")
    parser.add_argument("--again", action="store_true", help="run these strategies anew instead of what is stored")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="of each strategy [%(default)s]")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where tables and replays are [the repository's]")
    given = parser.parse_args(arguments)
    names = given.strategies.split(",")
    if unknown := [name for name in names if name not in STRATEGIES]:
        parser.error(f"--strategies {unknown[0]}: must be of {', '.join(STRATEGIES)}")
    try:
        table = read(given.folder / f"threshbench_{given.table}.jsonl")
    except (OSError, ValueError) as error:
        parser.error(f"--table {given.table}: {error}")
    file = given.folder / f"search_efficiency_{given.table}.jsonl"
    stored = kept(file, table)
    changed: list[str] = []
    if given.quick:
        changed = differing(table, stored, [name for name in names if name not in SLOW])
        sys.stderr.writelines(f"differs: {each}\n" for each in changed)
    else:
        stored = {key: run for key, run in stored.items() if not (given.again and key[0] in names)}
        todo = [(name, seed) for seed in range(given.seeds) for name in names if (name, seed) not in stored]
        write(file, stored)
        searched(table, file, todo)
        stored = kept(file, table)
        write(file, stored)
    runs = [run for (name, seed), run in stored.items() if name in names and seed < given.seeds]
    if not runs:
        parser.error(f"nothing is stored of {given.strategies} in {file}")
    page_facts = facts(runs, table)
    publish(markdown(runs, table, page_facts), document(runs, table, page_facts), given.output)
    if given.output:
        draw_figure(runs, table, given.output.with_suffix(".png"))
    if given.check and OURS not in by_strategy(runs):
        sys.stderr.write(f"--check: nothing of {OURS!r} is stored\n")
    return int(bool(changed) or (given.check and not reached(runs, len(table.entries))))


def draw_figure(runs: Sequence[Run], table: Table, path: Path) -> None:
    """Write the figure as a PNG, or say why there is none."""
    try:
        path.write_bytes(draw(figure(runs, table), WIDTH, HEIGHT, SCALE))
    except NoChrome as error:
        sys.stderr.write(f"no {path.name}: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
