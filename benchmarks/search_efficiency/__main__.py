"""Cost of finding the front of recorded tables with each strategy: `python -m benchmarks.search_efficiency`."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.report import conditions, options, publish, recorded
from benchmarks.search_efficiency.figure import HEIGHT, WIDTH, figure
from benchmarks.search_efficiency.page import document, markdown, missed
from benchmarks.search_efficiency.recorded import RECORDED
from benchmarks.table_replay.runs import Run, reported, run_all, run_text, stored_in
from benchmarks.table_replay.strategies import STRATEGIES, default
from search.latency.probes.probe import processor_name, usable_processors
from studies.figures.chrome import NoChrome, draw

FOLDER = Path(__file__).parents[1] / "results" / "table_replay"
SEEDS, QUICK_SEEDS = 30, 1
QUICK = ("threshbench_cifar10", "metaqnn_cifar10")  # tables whose replays take seconds
SCALE = 2  # PNG pixels per figure pixel
PACKAGES = ("optuna", "numpy", "scipy")


def stored_runs(folder: Path, tables: Sequence[str]) -> dict[str, list[Run]]:
    """Return the stored runs of each table that has some, in the order of seeds."""
    stored = {name: stored_in(folder / f"{name}.jsonl").values() for name in tables}
    return {name: sorted(own, key=lambda run: (run.seed, run.strategy)) for name, own in stored.items() if own}


def add_missing(name: str, file: Path, strategies: Sequence[str], seeds: int) -> None:
    """Run the replays that the file lacks, append each to it, and report each on standard error."""
    stored, recorded_table = stored_in(file), RECORDED[name]
    todo = [(strategy, seed) for seed in range(seeds) for strategy in strategies if (strategy, seed) not in stored]
    runs = run_all(recorded_table.read(), recorded_table.settings, todo)
    for _ in reported(runs, len(todo), file, f"{name}, "):
        pass  # the runs are in the file


def differences(name: str, file: Path, strategies: Sequence[str]) -> list[str]:
    """Repeat the first replays and return a line for each that differs from the stored one."""
    stored, lines = stored_in(file), []
    todo = [(strategy, seed) for seed in range(QUICK_SEEDS) for strategy in strategies]
    for run in run_all(RECORDED[name].read(), RECORDED[name].settings, todo):
        before = stored.get((run.strategy, run.seed))
        if before is None:
            lines.append(f"{name}, {run.strategy}, seed {run.seed}: not stored")
        elif replace(run, seconds=before.seconds) != before:
            lines.append(f"{name}, {run_text(run)}; stored: {run_text(before)}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing replays, print and write the page, and return the exit status."""
    goal = "the costs of ours satisfy the goals that the page lists"
    description = (
        "The cost of finding the fronts of recorded tables, as Markdown. Replays are stored, and only missing ones are "
        "run. --quick repeats the first replays of small tables instead; exit status 1 if one differs from its record."
    )
    parser = options("search_efficiency", description, goal)
    parser.add_argument("--tables", metavar="A,B", default=",".join(RECORDED), help="recorded tables [%(default)s]")
    parser.add_argument("--strategies", metavar="A,B", help="strategies [all but slow ones]")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="seeds of each strategy [%(default)s]")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the stored replays [the repository's]")
    args = parser.parse_args(arguments)
    tables = args.tables.split(",")
    strategies = args.strategies.split(",") if args.strategies else None
    for option, names, allowed in (("--tables", tables, RECORDED), ("--strategies", strategies or (), STRATEGIES)):
        if unknown := [name for name in names if name not in allowed]:
            parser.error(f"{option} {unknown[0]}: must be among {', '.join(allowed)}")
    differing: list[str] = []
    if args.render:
        found = recorded(args.render)
        runs = stored_runs(args.folder, list(found["tables"]))
    else:
        args.folder.mkdir(parents=True, exist_ok=True)
        for name in tables:
            chosen = strategies or default(rungs=True)
            if args.quick:
                differing += differences(name, args.folder / f"{name}.jsonl", chosen) if name in QUICK else []
            else:
                add_missing(name, args.folder / f"{name}.jsonl", chosen, args.seeds)
        runs = stored_runs(args.folder, tables)
        if not runs:
            parser.error(f"no replays are stored in {args.folder}")
        facts = conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES)
        found = document(runs, facts)
    sys.stderr.writelines(f"differs: {line}\n" for line in differing)
    publish(lambda _: markdown(found, runs), found, args.output)
    if args.output:
        try:
            args.output.with_suffix(".png").write_bytes(draw(figure(runs), WIDTH, HEIGHT, SCALE))
        except NoChrome as error:
            sys.stderr.write(f"{args.output.with_suffix('.png').name} not written: {error}\n")
    failed = missed(runs) if args.check else []
    sys.stderr.writelines(f"missed: {line}\n" for line in failed)
    return int(bool(differing or failed))


if __name__ == "__main__":
    sys.exit(main())
