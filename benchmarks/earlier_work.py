"""The cost of a search that knows earlier work: `python -m benchmarks.earlier_work`.

Each seed splits the networks of ThreshBench at random into two parts of equal size. The first part, trained on SVHN, is
the earlier work; the second part is searched on CIFAR-10. The same search runs without earlier work, with it, and with
its outcomes shuffled among the networks, which makes the earlier work useless.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import as_completed
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.report import Document, conditions, options, publish, recorded, table
from benchmarks.search_efficiency.recorded import RECORDED
from benchmarks.table_replay.ours import Earlier, ours, ours_with
from benchmarks.table_replay.replay import Replay
from benchmarks.table_replay.report import Ratio, cost_of, ratio
from benchmarks.table_replay.runs import Run, played, reported, stored_in
from benchmarks.table_replay.table import Table
from benchmarks.workers import pool
from search.earlier import Outcome
from search.latency.probes.probe import processor_name, usable_processors
from studies.json_lines import read_lines

BEFORE, SEARCHED = "threshbench_svhn", "threshbench_cifar10"
NONE, GIVEN, SHUFFLED = "none", "given", "shuffled"
TITLES = {NONE: "no earlier work", GIVEN: "earlier work", SHUFFLED: "earlier work, outcomes shuffled"}
SEEDS, QUICK_SEEDS = 30, 1
BUDGET = 60.0  # full trainings
REPORTED = (80, 90, 95, 99)  # percent of the front's hypervolume
# --check: highest cost to 99 % of the front, which takes about 20 trainings, relative to a search without earlier work.
GOALS = {GIVEN: 0.7, SHUFFLED: 1.15}
FILE = Path(__file__).parent / "results" / "earlier_work.jsonl"
FIRST = FILE.with_stem("earlier_work_first")  # the searches of the first version, see `render`
PACKAGES = ("numpy", "scipy")


def parts(networks: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the networks of the earlier work, and of those that are searched."""
    order = np.random.default_rng(seed).permutation(networks)
    return np.sort(order[: networks // 2]), np.sort(order[networks // 2 :])


def outcomes(recorded_table: Table, networks: NDArray[np.int64]) -> list[Outcome]:
    """Return what a table has recorded about these networks."""
    costs, errors = recorded_table.costs.tolist(), recorded_table.errors[networks].tolist()
    latencies = recorded_table.latency[networks].tolist()
    return [Outcome(ms, dict(zip(costs, own, strict=True))) for ms, own in zip(latencies, errors, strict=True)]


@cache
def tables() -> tuple[Table, Table]:
    """Read the table of the earlier work and the one that is searched, once in each process."""
    return RECORDED[BEFORE].read(), RECORDED[SEARCHED].read()


def search(arm: str, seed: int) -> Run:
    """Search one part with one kind of earlier work."""
    before, searched = tables()
    known, own = parts(len(searched), seed)
    rng = np.random.default_rng(seed)
    first = [int(rng.choice(own))] if arm == NONE else []  # earlier work chooses the first network itself
    replay = Replay(searched, seed, budget=BUDGET, networks=own, starts=first)
    if arm == NONE:
        return played(replay, arm, seed, ours)
    found = outcomes(before, rng.permutation(known) if arm == SHUFFLED else known)
    return played(replay, arm, seed, ours_with(Earlier(known, found)))


def add_missing(file: Path, seeds: int) -> None:
    """Run the searches that the file lacks, append each to it, and report each on standard error."""
    stored = stored_in(file)
    todo = [(arm, seed) for seed in range(seeds) for arm in TITLES if (arm, seed) not in stored]
    with pool(threadpool_limits, 1) as workers:
        runs = (future.result() for future in as_completed([workers.submit(search, *each) for each in todo]))
        for _ in reported(runs, len(todo), file):
            pass  # the runs are in the file


def lines_of(file: Path) -> list[dict[str, Any]]:
    """Return the searches in a file as JSON-ready values, in the order of seeds."""
    return sorted(read_lines(file), key=lambda line: (line["seed"], line["strategy"]))


def by_arm(runs: Sequence[Run]) -> dict[str, dict[int, Run]]:
    """Group searches by their earlier work and then by seed."""
    return {arm: {run.seed: run for run in runs if run.strategy == arm} for arm in TITLES}


def saved(runs: Sequence[Run], arm: str, share: int) -> Ratio | None:
    """Return the cost with this earlier work relative to that without; None if the share is not reached."""
    grouped = by_arm(runs)
    return ratio(grouped[arm], grouped[NONE], share)


def render(document: Document) -> str:
    """Render the page."""
    runs = [Run.from_json(line) for line in document["runs"]]
    grouped = by_arm(runs)
    header = ["Full trainings, median (quartiles)", *(f"{share} % of the front" for share in REPORTED), "seeds"]
    rows = [
        [TITLES[arm], *(cost_of(list(own.values()), share).text() for share in REPORTED), str(len(own))]
        for arm, own in grouped.items()
    ]
    ratios = [[TITLES[arm], *(text_of(saved(runs, arm, share)) for share in REPORTED)] for arm in GOALS]
    before = [Run.from_json(line) for line in document["first_version"]]
    first = [f"{TITLES[arm]} {text_of(saved(before, arm, REPORTED[-1]))}" for arm in GOALS]
    reached = [
        f"{TITLES[arm]} at most {goal:g}: {'met' if met(runs, arm) else 'not met'}" for arm, goal in GOALS.items()
    ]
    return "\n\n".join(
        [
            table(header, rows),
            table(["Relative to no earlier work (95 % interval)", *(f"{share} %" for share in REPORTED)], ratios),
            f"Goals for 99 %: {'; '.join(reached)}.",
            "Each seed splits the networks of ThreshBench at random into two parts of equal size. The outcomes of one "
            "part on SVHN, with its latencies, are the earlier work. The other part is searched on CIFAR-10. Its "
            "latencies are unknown at first. Without earlier work, a random network is trained first, and some "
            "networks are scored at the lowest rung.",
            "The settings were chosen with CIFAR-10 as the earlier work and SVHN as the search. A first version, which "
            "also took over hyperparameters, was compared in the same way; its cost relative to no earlier work for "
            f"{REPORTED[-1]} %: {'; '.join(first)}. It was changed because of this comparison, so the comparison is no "
            "longer independent of the settings.",
            f"Conditions: {document['conditions']}.",
        ]
    )


def text_of(found: Ratio | None) -> str:
    """Format a ratio, which may be missing."""
    return found.text() if found else "not reached"


def met(runs: Sequence[Run], arm: str) -> bool:
    """Return whether the goal for this earlier work is met."""
    found = saved(runs, arm, REPORTED[-1])
    return found is not None and found.value <= GOALS[arm]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the missing searches, print and write the page, and return the exit status."""
    goal = "; ".join(f"{TITLES[arm]}: at most {goal:g} of the cost without" for arm, goal in GOALS.items())
    parser = options("earlier_work", "The cost of a search that knows earlier work, as Markdown.", goal)
    parser.add_argument("--file", type=Path, default=FILE, help="JSON Lines file of the searches [the repository's]")
    args = parser.parse_args(arguments)
    if args.render:
        document = recorded(args.render)
    else:
        add_missing(args.file, QUICK_SEEDS if args.quick else SEEDS)
        facts = conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES)
        document = {"conditions": facts, "runs": lines_of(args.file), "first_version": lines_of(FIRST)}
    publish(render, document, args.output)
    runs = [Run.from_json(line) for line in document["runs"]]
    return int(args.check and not all(met(runs, arm) for arm in GOALS))


if __name__ == "__main__":
    sys.exit(main())
