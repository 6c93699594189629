"""The Markdown page of a table's replays: the cost to reach a share of the true front, and ratios of median costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.report import digits, table
from benchmarks.search_efficiency.replay import GOAL, REFERENCE_OFFSET, oracle, target
from benchmarks.search_efficiency.runs import Run
from benchmarks.search_efficiency.strategies import OURS, SLOW, TITLES, UNSEEN, limit
from benchmarks.threshbench.table import RUNGS, Table, noise
from search.samplers.pool import POOL_SIZE as POOL

Mode = Literal["cached", "charged"]
MODES: dict[Mode, str] = {
    "cached": "repeated proposals are free",
    "charged": "repeated proposals are retrained from scratch",
}
SHARES = (0.90, 0.95, GOAL)
COMPARED = 0.95  # share for which strategies are compared
BOOTSTRAP_SAMPLES = 10_000
BOOTSTRAP_SEED = 0
REFERENCE = "nsga2"
SETTINGS_COMMIT = "6ab1096"  # the commit that fixed the settings of our search
EARLIER_SETTINGS_COMMIT = "7ab310a"  # the commit of our earlier settings, also replayed
TUNED_ON = "svhn"  # the table on which we chose the settings of our search
GOALS = (0.5, 0.2)  # --check: maximum ratios of our cost to the costs of the best peer and the reference


@dataclass(frozen=True)
class Costs:
    """The costs at which one strategy reaches a share of the front."""

    # Number of full trainings, one value per seed.
    values: tuple[float, ...]
    # Number of right-censored seeds: the run reached the limit of proposals first, so the value is a lower bound.
    censored: int

    @property
    def median(self) -> float:
        """Median cost in full trainings."""
        return float(np.median(self.values))

    @property
    def quartiles(self) -> tuple[float, float]:
        """Lower and upper quartile of the cost in full trainings."""
        low, high = np.quantile(self.values, (0.25, 0.75))
        return float(low), float(high)

    def text(self) -> str:
        """Median and quartiles, with the number of censored seeds."""
        low, high = self.quartiles
        bound, censored = (">= ", f", {self.censored} censored") if self.censored else ("", "")
        return f"{bound}{digits(self.median)} ({digits(low)} to {digits(high)}){censored}"


def costs(runs: Sequence[Run], share: float, mode: Mode, networks: int) -> Costs:
    """Compute the costs at which the runs of one strategy reach a share of the front.

    A run that stops before it reaches the share is charged the cost of the whole table. If a peer reaches the limit of
    proposals first, it is charged only its cost at the limit, which favours the peer. Our search would be charged the
    whole table.
    """
    values, censored = [], 0
    for run in runs:
        column = 0 if mode == "cached" else 1
        paid = next((point[column] for point in run.curve if point[2] >= share), None)
        if paid is None and run.end == "limit" and run.strategy not in (OURS, UNSEEN):
            paid, censored = run.curve[-1][column], censored + 1
        values.append(max(float(networks), run.curve[-1][column]) if paid is None else paid)
    return Costs(tuple(values), censored)


def by_strategy(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by strategy, in the order of TITLES, and sort each group by seed."""
    grouped = {name: [run for run in runs if run.strategy == name] for name in TITLES}
    return {name: sorted(own, key=lambda run: run.seed) for name, own in grouped.items() if own}


@dataclass(frozen=True)
class Ratio:
    """Our median cost divided by the median cost of a peer."""

    peer: str
    value: float
    # 95 % interval from a bootstrap over the seeds of both strategies.
    interval: tuple[float, float]
    # True if the ratio is an upper bound because the peer's median is only a lower bound.
    bound: bool

    def text(self) -> str:
        """The ratio with its interval."""
        low, high = self.interval
        return f"{'<= ' if self.bound else ''}{digits(self.value)} ({digits(low)} to {digits(high)})"


def ratios(runs: Sequence[Run], mode: Mode, networks: int, share: float = COMPARED) -> list[Ratio]:
    """Compare our cost with that of each peer, cheapest peer first. Returns an empty list if we have no runs."""
    paid = {name: costs(own, share, mode, networks) for name, own in by_strategy(runs).items()}
    ours, _ = paid.pop(OURS, None), paid.pop(UNSEEN, None)
    if ours is None:
        return []
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    above = np.median(rng.choice(ours.values, (BOOTSTRAP_SAMPLES, len(ours.values))), axis=1)
    results = []
    for name, peer in sorted(paid.items(), key=lambda item: item[1].median):
        below = np.median(rng.choice(peer.values, (BOOTSTRAP_SAMPLES, len(peer.values))), axis=1)
        low, high = (float(value) for value in np.quantile(above / below, (0.025, 0.975)))
        results.append(Ratio(name, ours.median / peer.median, (low, high), peer.censored > 0))
    return results


def costs_table(runs: Sequence[Run], mode: Mode, recorded: Table) -> str:
    """Return a table of the cost of each strategy for each share, cheapest first, after a row with the minimum cost."""
    header = [f"Full trainings; {MODES[mode]}", *(f"{share:.0%} of the front" for share in SHARES), "repeated", "seeds"]
    rows = [["fewest possible", *(str(oracle(recorded, share)) for share in SHARES), "", ""]]
    strategies = {
        name: [costs(own, share, mode, len(recorded.entries)) for share in SHARES]
        for name, own in by_strategy(runs).items()
    }
    for name, paid in sorted(strategies.items(), key=lambda item: item[1][SHARES.index(COMPARED)].median):
        own = by_strategy(runs)[name]
        repeated = sum(run.repeats for run in own) / sum(run.proposals for run in own)
        title = f"**{TITLES[name]}**" if name == OURS else TITLES[name]
        rows.append([title, *(each.text() for each in paid), f"{repeated:.0%}", str(len(own))])
    return table(header, rows)


def ratio_lines(runs: Sequence[Run], networks: int) -> list[str]:
    """Return Markdown items that compare our cost with the best peer and with NSGA-II in both modes."""
    lines = []
    for mode, description in MODES.items():
        every = ratios(runs, mode, networks)
        parts = [f"{every[0].text()} times that of the best peer ({TITLES[every[0].peer]})"] if every else []
        parts += [f"{each.text()} times that of {TITLES[each.peer]}" for each in every if each.peer == REFERENCE]
        if parts:
            lines.append(f"- Cost of ours to reach {COMPARED:.0%} if {description}: {' and '.join(parts)}.")
    return lines


def markdown(runs: Sequence[Run], recorded: Table, facts: str) -> str:
    """Return the page: both tables, the ratios, the definitions and the conditions."""
    about, goal = recorded.about, target(recorded)
    deviation, repeated = noise(recorded.entries)
    seeds = sorted({len(own) for own in by_strategy(runs).values()})
    latency, error = goal.reference
    spread = f"{digits(deviation)} points (n = {repeated} networks)" if repeated else "unknown"
    images = about["images"]
    limits = " and ".join(f"{limit(name)} for {TITLES[name]}" for name in SLOW)
    notes = [
        f"Medians (quartiles) of n = {' or '.join(map(str, seeds))} seeds. Cost 1 is a full training of {RUNGS[-1]} "
        f"epochs, which processes {RUNGS[-1] * recorded.images_per_epoch:,} training images; resuming a training costs "
        "the difference. Latencies are free. Ours knows all of them from the start; with *latencies unseen*, it knows "
        "the latency of a network only after choosing it, as in a launched study. The other strategies use no latency "
        "before they choose a network. A share is the hypervolume of the fully trained networks relative to that of "
        f"the true front. The reference point is {digits(latency)} ms and {digits(error)} % error: the nadir of the "
        f"true front plus {100 * REFERENCE_OFFSET:.0f} % of its range.",
        f"Table {about['table']}: {len(recorded.entries)} networks, {len(goal.front)} on the true front; "
        f"{images['train']:,} training and {images['validation']:,} validation images. "
        f"Standard deviation of an error between training seeds: {spread}.",
        f"`>=`: right-censored seeds, which reached the limit of proposals ({limit('random'):,}; {limits}) before the "
        "share, count with their cost at the limit. This favours those strategies.",
    ]
    if about["table"] == TUNED_ON:
        notes.append("The settings of ours were chosen on this table, so it is no evidence for them.")
    else:
        notes.append(
            f"The settings of ours were chosen on the table {TUNED_ON} and fixed in commit {SETTINGS_COMMIT}, before "
            f"they were replayed on this table. They are the second choice: the settings of {EARLIER_SETTINGS_COMMIT} "
            "were replayed on this table earlier; their results are in the history of the stored replays. The seeds of "
            f"ours only change which {min(POOL, len(recorded.entries))} networks it can choose from at a time, so its "
            "quartiles are narrow; they do not predict the results on another table."
        )
    if about["caveat"]:
        notes.append(f"Caveat: {about['caveat']}.")
    lines = ratio_lines(runs, len(recorded.entries))
    blocks = [*(costs_table(runs, mode, recorded) for mode in MODES), *(["\n".join(lines)] if lines else [])]
    return "\n\n".join([*blocks, *notes, f"Conditions: {facts}."])


def document(runs: Sequence[Run], recorded: Table, facts: str) -> dict[str, Any]:
    """Return the numbers of the page as JSON-ready values."""
    networks = len(recorded.entries)
    return {
        "conditions": facts,
        "table": recorded.about,
        "oracle": {str(share): oracle(recorded, share) for share in SHARES},
        "costs": {
            name: {
                mode: {
                    str(share): {"median": paid.median, "quartiles": paid.quartiles, "cut": paid.censored}
                    for share in SHARES
                    for paid in [costs(own, share, mode, networks)]
                }
                for mode in MODES
            }
            | {
                "seeds": len(own),
                "proposals": sum(run.proposals for run in own),
                "repeats": sum(run.repeats for run in own),
                "seconds_per_seed": float(np.median([run.seconds for run in own])),
            }
            for name, own in by_strategy(runs).items()
        },
        "ratios": {
            mode: {
                each.peer: {"value": each.value, "interval": each.interval, "bound": each.bound}
                for each in ratios(runs, mode, networks)
            }
            for mode in MODES
        },
    }


def reached(runs: Sequence[Run], networks: int) -> bool:
    """True if our median cost to reach 95 % of the front, with free repeats, satisfies GOALS."""
    of = {each.peer: each.value for each in ratios(runs, "cached", networks)}
    return REFERENCE in of and max(of.values()) <= GOALS[0] and of[REFERENCE] <= GOALS[1]
