"""The costs of the strategies, with ratios that are paired by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.report import digits, table
from benchmarks.table_replay.runs import Run
from benchmarks.table_replay.strategies import OURS, TITLES

BOOTSTRAP_SAMPLES = 10_000
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Cost:
    """The cost at which the runs of a strategy reach a share of the front."""

    # Full trainings; infinite if the median run is right-censored.
    median: float
    quartiles: tuple[float, float]
    # Number of right-censored runs, which spent their budget first.
    censored: int

    def text(self) -> str:
        """Median and quartiles, with the number of censored runs."""
        low, high = map(digits_or_infinity, self.quartiles)
        middle = digits(self.median) if np.isfinite(self.median) else "not reached"
        return f"{middle} ({low} to {high})" + (f", {self.censored} censored" if self.censored else "")


def digits_or_infinity(value: float) -> str:
    """Format the end of an interval, which is infinite if the runs are right-censored."""
    return digits(value) if np.isfinite(value) else "∞"


def by_strategy(runs: Sequence[Run]) -> dict[str, dict[int, Run]]:
    """Group runs by strategy, in the order of TITLES, and then by seed."""
    grouped = {name: {run.seed: run for run in runs if run.strategy == name} for name in TITLES}
    return {name: dict(sorted(own.items())) for name, own in grouped.items() if own}


def paid(run: Run, share: int) -> float:
    """Return the cost at which a run reached a share; infinite if it did not."""
    cost = run.costs.get(str(share))
    return float("inf") if cost is None else cost


def cost_of(runs: Sequence[Run], share: int) -> Cost:
    """Return the cost at which the runs of one strategy reach a share of the front."""
    costs = np.array([paid(run, share) for run in runs])
    low, high = np.quantile(costs, (0.25, 0.75), method="inverted_cdf")
    return Cost(float(median(costs)), (float(low), float(high)), int(np.isinf(costs).sum()))


@dataclass(frozen=True)
class Ratio:
    """The median cost of one strategy divided by that of another, over the seeds that both have."""

    value: float
    # 95 % interval from a bootstrap over the seeds.
    interval: tuple[float, float]
    seeds: int
    # Whether the ratio is an upper bound, because the other median is right-censored and counts with what was spent.
    bound: bool

    def text(self) -> str:
        """The ratio with its interval."""
        low, high = map(digits_or_infinity, self.interval)
        return f"{'<= ' if self.bound else ''}{digits(self.value)} ({low} to {high})"


def ratio(ours: dict[int, Run], other: dict[int, Run], share: int) -> Ratio | None:
    """Compare two strategies; None if the first one does not reach the share in the median.

    A right-censored run of the other strategy counts with the cost at its end, which favours it.
    """
    seeds = sorted(ours.keys() & other.keys())
    if not seeds:
        return None
    first = np.array([paid(ours[seed], share) for seed in seeds])
    second = np.array([min(paid(other[seed], share), other[seed].spent) for seed in seeds])
    if not np.isfinite(np.median(first)):
        return None
    drawn = np.random.default_rng(BOOTSTRAP_SEED).integers(len(seeds), size=(BOOTSTRAP_SAMPLES, len(seeds)))
    ratios = np.median(first[drawn], axis=1) / np.median(second[drawn], axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975), method="inverted_cdf")
    reached = np.array([np.isfinite(paid(other[seed], share)) for seed in seeds])
    value = float(np.median(first) / np.median(second))
    return Ratio(value, (float(low), float(high)), len(seeds), bound=bool((~reached).mean() >= 0.5))


def best_peer(runs: Sequence[Run], share: int) -> str | None:
    """Return the peer with the lowest median cost of reaching a share, among those with runs; None without peers."""
    grouped = {name: list(own.values()) for name, own in by_strategy(runs).items() if name not in OURS}
    return min(grouped, key=lambda name: cost_of(grouped[name], share).median, default=None)


def best_peer_ratio(runs: Sequence[Run], name: str, share: int) -> tuple[str, Ratio | None] | None:
    """Return the best peer, and the cost of a strategy of ours relative to it as `ratio` does; None without both."""
    grouped, peer = by_strategy(runs), best_peer(runs, share)
    return (peer, ratio(grouped[name], grouped[peer], share)) if peer and name in grouped else None


def cost_row(name: str, runs: Sequence[Run], shares: Sequence[int]) -> list[str]:
    """Return the cells of a strategy: its title, its cost for each share, and the number of its seeds."""
    title = f"**{TITLES[name]}**" if name in OURS else TITLES[name]
    return [title, *(cost_of(runs, share).text() for share in shares), str(len(runs))]


def costs_table(runs: Sequence[Run], shares: Sequence[int]) -> str:
    """Return a Markdown table of the cost of each strategy for each share, cheapest first."""
    header = ["Strategy", *(f"{share} % of the front" for share in shares), "seeds"]
    grouped = {name: list(own.values()) for name, own in by_strategy(runs).items()}
    cheapest_first = sorted(grouped.items(), key=lambda item: cost_of(item[1], shares[-1]).median)
    return table(header, [cost_row(name, own, shares) for name, own in cheapest_first])


def ratio_lines(runs: Sequence[Run], shares: Sequence[int]) -> list[str]:
    """Return a Markdown item for each share that compares ours with the best peer."""
    lines = []
    for name in OURS:
        for share in shares:
            peer, found = best_peer_ratio(runs, name, share) or ("", None)
            if found:
                lines.append(
                    f"- {TITLES[name]}, {share} %: {found.text()} times the cost of {TITLES[peer]}, "
                    f"n = {found.seeds} seeds"
                )
    return lines
