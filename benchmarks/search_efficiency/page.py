"""What the replays of a table say, in Markdown: costs to a share of the true front, and the ratios of the medians."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.report import digits, table
from benchmarks.search_efficiency.replay import GOAL, MARGIN, oracle, target
from benchmarks.search_efficiency.runs import Run
from benchmarks.search_efficiency.strategies import OURS, SLOW, TITLES, UNSEEN, limit
from benchmarks.threshbench.table import RUNGS, Table, noise
from search.samplers.pool import POOL_SIZE as POOL

Mode = Literal["cached", "charged"]
MODES: dict[Mode, str] = {
    "cached": "a repeated proposal is free",
    "charged": "a repeated proposal is trained again from scratch",
}
SHARES = (0.90, 0.95, GOAL)
COMPARED = 0.95  # the share at which strategies are compared
DRAWS = 10_000  # of the bootstrap
SEED = 0  # of the bootstrap
REFERENCE = "nsga2"
FROZEN = "6ab1096"  # the commit of the settings of ours
FROZEN_BEFORE = "7ab310a"  # the choice before it, which was replayed as well
TUNED_ON = "svhn"  # the table that its settings were chosen on
GOALS = (0.5, 0.2)  # --check: the most of the best peer's cost, and of the reference's


@dataclass(frozen=True)
class Costs:
    """What one strategy's seeds paid until they had a share of the front."""

    # Full trainings, one for each seed.
    values: tuple[float, ...]
    # Seeds that the limit of proposals cut short before; their value is the cost at the cut, a lower bound.
    cut: int

    @property
    def median(self) -> float:
        """Median cost, full trainings."""
        return float(np.median(self.values))

    @property
    def quartiles(self) -> tuple[float, float]:
        """Lower and upper quartile of the cost, full trainings."""
        low, high = np.quantile(self.values, (0.25, 0.75))
        return float(low), float(high)

    def told(self) -> str:
        """Median and quartiles, marked where seeds were cut short."""
        low, high = self.quartiles
        bound, cut = (">= ", f", {self.cut} cut") if self.cut else ("", "")
        return f"{bound}{digits(self.median)} ({digits(low)} to {digits(high)}){cut}"


def costs(runs: Sequence[Run], share: float, mode: Mode, networks: int) -> Costs:
    """What the runs of one strategy paid until they had a share of the front.

    A run that stopped short of it pays for the whole table. One that the limit cut short counts with its cost at the
    cut, which favours a peer; ours would pay for the whole table.
    """
    values, cut = [], 0
    for run in runs:
        column = 0 if mode == "cached" else 1
        paid = next((point[column] for point in run.curve if point[2] >= share), None)
        if paid is None and run.end == "limit" and run.strategy not in (OURS, UNSEEN):
            paid, cut = run.curve[-1][column], cut + 1
        values.append(max(float(networks), run.curve[-1][column]) if paid is None else paid)
    return Costs(tuple(values), cut)


def by_strategy(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of each strategy by seed, ours first, the others as TITLES has them."""
    found = {name: [run for run in runs if run.strategy == name] for name in TITLES}
    return {name: sorted(own, key=lambda run: run.seed) for name, own in found.items() if own}


@dataclass(frozen=True)
class Ratio:
    """Median cost of ours over that of a peer."""

    peer: str
    value: float
    # 95 % interval by bootstrap over the seeds of both.
    interval: tuple[float, float]
    # Whether the peer's median is a lower bound, and the ratio so an upper one.
    bound: bool

    def told(self) -> str:
        """The ratio with its interval and the peer's name."""
        low, high = self.interval
        return f"{'<= ' if self.bound else ''}{digits(self.value)} ({digits(low)} to {digits(high)})"


def ratios(runs: Sequence[Run], mode: Mode, networks: int, share: float = COMPARED) -> list[Ratio]:
    """Ours over each peer at a share, the peer with the lowest median first; none where ours was not run."""
    paid = {name: costs(own, share, mode, networks) for name, own in by_strategy(runs).items()}
    ours, _ = paid.pop(OURS, None), paid.pop(UNSEEN, None)
    if ours is None:
        return []
    chance = np.random.default_rng(SEED)
    above = np.median(chance.choice(ours.values, (DRAWS, len(ours.values))), axis=1)
    found = []
    for name, peer in sorted(paid.items(), key=lambda item: item[1].median):
        below = np.median(chance.choice(peer.values, (DRAWS, len(peer.values))), axis=1)
        low, high = (float(value) for value in np.quantile(above / below, (0.025, 0.975)))
        found.append(Ratio(name, ours.median / peer.median, (low, high), peer.cut > 0))
    return found


def costs_table(runs: Sequence[Run], mode: Mode, recorded: Table) -> str:
    """Costs to each share, strategy by strategy, cheapest first, above them the fewest that could do."""
    header = [f"Full trainings; {MODES[mode]}", *(f"{share:.0%} of the front" for share in SHARES), "repeated", "seeds"]
    rows = [["fewest possible", *(str(oracle(recorded, share)) for share in SHARES), "", ""]]
    rivals = {
        name: [costs(own, share, mode, len(recorded.entries)) for share in SHARES]
        for name, own in by_strategy(runs).items()
    }
    for name, paid in sorted(rivals.items(), key=lambda item: item[1][SHARES.index(COMPARED)].median):
        own = by_strategy(runs)[name]
        repeated = sum(run.repeats for run in own) / sum(run.proposals for run in own)
        title = f"**{TITLES[name]}**" if name == OURS else TITLES[name]
        rows.append([title, *(each.told() for each in paid), f"{repeated:.0%}", str(len(own))])
    return table(header, rows)


def ratios_told(runs: Sequence[Run], networks: int) -> list[str]:
    """The ratios of ours to the best peer and to NSGA-II, in both modes, as lines of Markdown."""
    lines = []
    for mode, about in MODES.items():
        found = ratios(runs, mode, networks)
        parts = [f"{found[0].told()} of the best peer ({TITLES[found[0].peer]})"] if found else []
        parts += [f"{each.told()} of {TITLES[each.peer]}" for each in found if each.peer == REFERENCE]
        if parts:
            lines.append(f"- Ours to {COMPARED:.0%}, where {about}: {' and '.join(parts)}.")
    return lines


def markdown(runs: Sequence[Run], recorded: Table, facts: str) -> str:
    """Both tables, the ratios, and what the numbers are."""
    about, goal = recorded.about, target(recorded)
    deviation, repeated = noise(recorded.entries)
    seeds = sorted({len(own) for own in by_strategy(runs).values()})
    latency, error = goal.reference
    spread = f"{digits(deviation)} points (standard deviation, n = {repeated} networks)" if repeated else "unknown"
    images = about["images"]
    limits = " and ".join(f"{limit(name)} for {TITLES[name]}" for name in SLOW)
    notes = [
        f"Medians (quartiles) of n = {' or '.join(map(str, seeds))} seeds. Cost 1 is a training of {RUNGS[-1]} epochs, "
        f"{RUNGS[-1] * recorded.passes_per_epoch:,} image passes; a training that is gone on with pays the difference. "
        "Latencies are free: ours knows them all beforehand, and with *latencies unseen* each once its network was "
        "chosen, as in a study that is launched; the others use none beforehand. "
        "A share is the hypervolume of the networks trained to the end, of the true front's, "
        f"up to {digits(latency)} ms and {digits(error)} % error: its nadir and {100 * MARGIN:.0f} % of its range.",
        f"Table {about['table']}: {len(recorded.entries)} networks, {len(goal.front)} on the true front; "
        f"{images['train']:,} training and {images['validation']:,} validation images. "
        f"Spread of an error between seeds of its training: {spread}.",
        f"`>=`: seeds cut short by the limit of proposals ({limit('random'):,}; {limits}) count with their cost at the "
        "cut, which favours them.",
    ]
    if about["table"] == TUNED_ON:
        notes.append("The settings of ours were chosen on this table: it is no evidence for them.")
    else:
        notes.append(
            f"Settings of ours were chosen on the table {TUNED_ON} and frozen in commit {FROZEN}, before this table "
            f"was replayed with them. They are the second choice: that of {FROZEN_BEFORE} was replayed here before, "
            "and what it came to is in the history of the stored replays. Seeds of ours differ in which "
            f"{min(POOL, len(recorded.entries))} networks it may choose from at a time, so their quartiles are narrow: "
            "they do not tell how another table would come out."
        )
    if about["caveat"]:
        notes.append(f"Caveat: {about['caveat']}.")
    told = ratios_told(runs, len(recorded.entries))
    blocks = [*(costs_table(runs, mode, recorded) for mode in MODES), *(["\n".join(told)] if told else [])]
    return "\n\n".join([*blocks, *notes, f"{facts}."])


def document(runs: Sequence[Run], recorded: Table, facts: str) -> dict[str, Any]:
    """The page's numbers."""
    networks = len(recorded.entries)
    return {
        "conditions": facts,
        "table": recorded.about,
        "oracle": {str(share): oracle(recorded, share) for share in SHARES},
        "costs": {
            name: {
                mode: {
                    str(share): {"median": paid.median, "quartiles": paid.quartiles, "cut": paid.cut}
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
    """Whether ours costs at most GOALS of the best peer's and the reference's median, to 95 % and with free repeats."""
    of = {each.peer: each.value for each in ratios(runs, "cached", networks)}
    return REFERENCE in of and max(of.values()) <= GOALS[0] and of[REFERENCE] <= GOALS[1]
