"""The Markdown page: for each recorded table, the cost of each strategy, and ratios to the best peer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.report import table as markdown_table
from benchmarks.search_efficiency.recorded import RECORDED
from benchmarks.table_replay.oracle import fewest
from benchmarks.table_replay.replay import READING, STARTS, SUBSET, Replay
from benchmarks.table_replay.report import best_peer_ratio, by_strategy, cost_of, cost_row, ratio
from benchmarks.table_replay.runs import Run
from benchmarks.table_replay.strategies import TITLES

SETTINGS_COMMIT = "1dd24b7"  # the commit that fixed the settings of our search, before the other tables were replayed
REPORTED = (90, 95, 99)  # percent of the front's hypervolume
# --check: highest ratio of the cost of ours to that of the best peer, by table and share in percent.
GOALS: Mapping[str, Mapping[int, float]] = {
    "nasbench201_pi4": {90: 0.6, 95: 0.5},
    "nasbench201_xeon": {90: 0.6, 95: 0.33},
    "nasbench201_titan": {90: 0.6, 95: 0.4},
    "metaqnn_cifar10": {90: 0.5, 95: 0.5},
}
# Highest ratio of the cost of ours without rungs to that of multivariate TPE without rungs.
GOAL_WITHOUT_RUNGS = ("nasbench201_pi4", 95, 0.4)
GOAL_THRESHBENCH = ("threshbench_cifar10", 99, 15.0)  # highest median cost of ours, in full trainings


def document(runs: Mapping[str, Sequence[Run]], conditions: str) -> dict[str, Any]:
    """Return what the page shows besides the runs, as JSON-ready values."""
    return {
        "conditions": conditions,
        "tables": {
            name: {
                "networks": len(table := RECORDED[name].read()),
                "fewest": {str(share): oracle(name, table, own, share) for share in shares_of(name)},
            }
            for name, own in runs.items()
        },
    }


def oracle(name: str, table: Any, runs: Sequence[Run], share: int) -> float:  # noqa: ANN401
    """Return the median over the seeds of the fewest trainings that reach a share of the front."""
    settings = RECORDED[name].settings
    seeds = {run.seed for run in runs}
    replays = [Replay(table, seed, budget=1.0, axis=settings.axis, max_error=settings.max_error) for seed in seeds]
    return median(fewest(replay, share / 100) for replay in replays)


def shares_of(name: str) -> list[int]:
    """Return the shares that are reported for a table, in percent."""
    return [share for share in REPORTED if share <= RECORDED[name].settings.goal]


def markdown(found: Mapping[str, Any], all_runs: Mapping[str, Sequence[Run]]) -> str:
    """Return the page of a document and its runs by table."""
    blocks = [
        "The unit of cost is one full training. All strategies get the same box (latency on a log axis), the same "
        f"{STARTS} random start networks, whose trainings count, and a random {100 * SUBSET:.0f} % of the table for "
        f"each seed. A latency is unknown until it is read, which costs {READING:g} for every strategy, or until its "
        "network is trained. A share is the hypervolume of the fully trained networks relative to that of the true "
        "front. Values are medians (quartiles) over the seeds. Right-censored runs spent their budget first. With "
        "rungs, the peers train each proposal to the lowest rung, and the best quarter at each rung is promoted, by "
        "non-dominated rank and hypervolume contribution (MO-ASHA: the best half)."
    ]
    for name, runs in all_runs.items():
        blocks += section(name, runs, found["tables"][name])
    rows = [[each.text, f"{each.goal:g}", each.reached, "yes" if each.met else "no"] for each in goals(all_runs)]
    if rows:
        header = ["Goal of the project for its own search", "at most", "reached (95 % interval)", "met"]
        blocks += ["### Goals", markdown_table(header, rows)]
    blocks.append(
        f"The settings of our search were chosen on the tables marked *development* (also MetaQNN, SVHN, and "
        f"ThreshBench, SVHN) and fixed in commit {SETTINGS_COMMIT}. The other tables were replayed afterwards, once. "
        "Earlier versions of the search were replayed on ThreshBench, CIFAR-10."
    )
    return "\n\n".join([*blocks, f"Conditions: {found['conditions']}."])


def section(name: str, runs: Sequence[Run], found: Mapping[str, Any]) -> list[str]:
    """Return the heading, the table and the ratios of a recorded table."""
    recorded, shares = RECORDED[name], shares_of(name)
    lists = {strategy: list(own.values()) for strategy, own in by_strategy(runs).items()}
    rows = [["fewest possible", *(f"{found['fewest'][str(share)]:g}" for share in shares), ""]]
    cheapest_first = sorted(lists.items(), key=lambda item: [cost_of(item[1], share).median for share in shares])
    rows += [cost_row(strategy, own, shares) for strategy, own in cheapest_first]
    mark = " (development)" if recorded.development else ""
    edge = recorded.settings.max_error
    about = f"{found['networks']:,} networks, budget {recorded.settings.budget:g} full trainings"
    about += f", errors below {edge:g} %." if edge else "."
    header = [f"Full trainings, {recorded.title}{mark}", *(f"{share} % of the front" for share in shares), "seeds"]
    lines = []
    for share in shares:
        peer, relative = best_peer_ratio(runs, "ours", share) or ("", None)
        if relative:
            lines.append(f"- {share} %: {relative.text()} times the cost of the best peer, {TITLES[peer]}.")
    return [f"### {recorded.title}{mark}", about, markdown_table(header, rows), "\n".join(lines)]


@dataclass(frozen=True)
class Goal:
    """A goal of --check and what was reached."""

    text: str
    goal: float
    reached: str
    met: bool


def goals(runs: Mapping[str, Sequence[Run]]) -> list[Goal]:
    """Return the goals of the tables that were replayed."""
    found = []
    for name, own in GOALS.items():
        for share, goal in own.items():
            if compared := best_peer_ratio(runs.get(name, ()), "ours", share):
                peer, one = compared
                text = f"{RECORDED[name].title}, {share} %: cost relative to the best peer, {TITLES[peer]}"
                met = one is not None and one.value <= goal and one.interval[1] < 1
                found.append(Goal(text, goal, one.text() if one else "not reached", met))
    name, share, goal = GOAL_WITHOUT_RUNGS
    grouped = by_strategy(runs.get(name, ()))
    if {"ours_no_rung", "tpe_multivariate"} <= grouped.keys():
        one = ratio(grouped["ours_no_rung"], grouped["tpe_multivariate"], share)
        text = f"{RECORDED[name].title}, {share} %, no rungs: cost relative to {TITLES['tpe_multivariate']}"
        found.append(Goal(text, goal, one.text() if one else "not reached", one is not None and one.value <= goal))
    name, share, goal = GOAL_THRESHBENCH
    if own_runs := [run for run in runs.get(name, ()) if run.strategy == "ours"]:
        cost = cost_of(own_runs, share)
        text = f"{RECORDED[name].title}, {share} %: cost in full trainings"
        found.append(Goal(text, goal, cost.text(), cost.median <= goal))
    return found


def missed(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return a line for each goal that is not met."""
    return [f"{each.text}: {each.reached}, goal {each.goal:g}" for each in goals(runs) if not each.met]
