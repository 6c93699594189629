"""What a search may hope of every network it knows: its error at the end of a training, and the front it would add."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from optuna.trial import FrozenTrial
from scipy.special import ndtri

from search.pareto import dominators, knee, non_dominated
from search.samplers.candidates import OCTAVES, Candidate, TrialCandidates
from search.samplers.surrogate import PRIOR, Observations, Surrogate
from search.task import Task

Array = NDArray[np.float64]

QUANTILES = ndtri((np.arange(24) + 0.5) / 24)  # of the standard normal distribution: what errors are tried


def improvements(latency: Array, errors: Array, front: ArrayLike, reference: tuple[float, float]) -> Array:
    """Hypervolume (m, q) that m points of `latency` (m,) would add to the `front` (n, 2) at each of `errors` (m, q).

    Points are (latency, error), both minimised; those beyond `reference` count for nothing.
    """
    right, top = reference
    points = np.asarray(front, dtype=np.float64).reshape(-1, 2)
    points = points[(points[:, 0] < right) & (points[:, 1] < top)]
    points = points[non_dominated(points)]
    points = points[np.argsort(points[:, 0])]
    # The staircase: above [edges[j], edges[j + 1]) everything higher than heights[j] is dominated.
    edges = np.concatenate([[-np.inf], points[:, 0], [right]])
    heights = np.concatenate([[top], points[:, 1]])
    widths = np.maximum(0, edges[None, 1:] - np.maximum(edges[None, :-1], latency[:, None]))
    depths = np.maximum(0, heights[None, None, :] - errors[:, :, None])
    return np.asarray((widths[:, None, :] * depths).sum(axis=2))


def expected_improvements(
    latency: Array, mean: Array, deviation: Array, front: ArrayLike, reference: tuple[float, float]
) -> Array:
    """Expected hypervolume improvement (m,) of points whose error is log-normal: `mean` and `deviation` of its log."""
    errors = np.exp(mean[:, None] + deviation[:, None] * QUANTILES[None, :])
    return np.asarray(improvements(latency, errors, front, reference).mean(axis=1))


# Slopes expected beforehand per standard deviation of a descriptor: more parameters and multiplications, less error;
# more multiplications, memory and layers, more time.
LEVEL = float(np.log(30.0))  # log of an error in percent, before any is seen
ERROR_SLOPES = np.array([-0.05, -0.1, 0.0, 0.0, 0.0, *[0.0] * OCTAVES])
LATENCY_SLOPES = np.array([0.0, 0.3, 0.1, 0.2, 0.0, *[0.0] * OCTAVES])
MARGIN = 0.1  # the reference point lies so far beyond the expected front's worst values, as a share of its range
OPTIMISM = 2.0  # standard deviations below the expected log of an error: what a network may come to at best
OUTCOMES = ndtri((np.arange(16) + 0.5) / 16)  # of a score at a rung: quantiles of the standard normal distribution
ROUNDING = 1e-9  # a relative difference that is none
FLOOR = 0.01  # percent; an error of nothing has no log
LEARNT = 5  # networks trained to the end before any other is pruned for its latency


class Acquisition:
    """The expectations for all candidates, once the errors seen so far are accounted for.

    There must be a candidate. `rungs` are the epochs after which trainings are scored, the last one their end; beyond
    `limit_ms` there is no front. `shape` is where the search for the parameters of the error's process begins, such as
    the last outlook's.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        rungs: Sequence[int],
        limit_ms: float | None = None,
        shape: Array = PRIOR,
    ) -> None:
        self.candidates, self.rungs, self.top = candidates, tuple(rungs), rungs[-1]
        self.limit_ms = np.inf if limit_ms is None else limit_ms
        every = np.array([each.descriptors for each in candidates], dtype=np.float64)
        spread = every.std(axis=0)
        self.descriptors = (every - every.mean(axis=0)) / np.where(spread > 0, spread, 1)
        self.numbers = np.arange(len(candidates))

        errors = [
            (index, np.log2(self.top / epochs), np.log(max(error, FLOOR)))
            for index, each in enumerate(candidates)
            for epochs, error in each.errors.items()
        ]
        self.surrogate = Surrogate(self._seen(errors), LEVEL, ERROR_SLOPES, shape)
        self.shape = self.surrogate.shape
        # Mean and standard deviation, (n,), of the log of the error at the end of the training.
        self.mean, self.deviation = self.surrogate.predict(self.descriptors, self.numbers)
        self.latency = self._latencies()
        # (latency, error) of the finished networks, and with those to be expected of networks in training.
        self.finished = self._points(lambda each: self.top in each.errors)
        self.front = self._points(lambda each: self.top in each.errors or each.state == "busy")
        self.reference = self._reference()

    def values(self) -> Array:
        """The most hypervolume per full training that can be had from going on with each candidate, (n,).

        It is the best of several plans: to train on to some rung, and from there to the end if that still looks worth
        its cost, which is known only then (the index of Weitzman, 1979, "Optimal Search for the Best Alternative").
        Minus infinity for candidates that are not open.
        """
        if not len(self.surrogate.seen.logs):
            return self._first()
        reached = np.array([max(each.errors, default=0) for each in self.candidates])
        places = np.flatnonzero([each.state == "open" for each in self.candidates])
        found = np.full(len(self.candidates), -np.inf)
        told = self.surrogate.told(self.descriptors, self.numbers, [np.log2(self.top / rung) for rung in self.rungs])
        for rung, deviation in zip(self.rungs, told, strict=True):
            ahead = places[reached[places] < rung]
            worth = self._worth(ahead, np.minimum(deviation, self.deviation)[ahead], rung, reached[ahead])
            found[ahead] = np.maximum(found[ahead], worth)
        return found

    def _first(self) -> Array:
        """Before anything was seen, the knee of the expected front promises most: the ends are for later."""
        places = np.flatnonzero([each.state == "open" for each in self.candidates])
        found = np.full(len(self.candidates), -np.inf)
        if len(places):
            found[places] = 0
            found[places[knee(np.column_stack([self.latency, np.exp(self.mean)])[places])]] = 1
        return found

    def _worth(self, places: NDArray[np.intp], told: Array, rung: int, reached: NDArray[np.intp]) -> Array:
        """Expected gain over expected cost, (m,), of training to a rung and on from there where that pays.

        `told` (m,) is how much of the deviation the score at the rung will tell.
        """
        untold = np.sqrt(self.deviation[places] ** 2 - told**2)
        outcomes = self.mean[places, None] + told[:, None] * OUTCOMES
        gains = expected_improvements(
            np.repeat(self.latency[places], len(OUTCOMES)),
            outcomes.ravel(),
            np.repeat(untold, len(OUTCOMES)),
            self.front,
            self.reference,
        ).reshape(outcomes.shape)
        # The best outcomes are gone on with, as many of them as make the ratio largest.
        best_first = -np.sort(-gains, axis=1)
        shares = np.arange(1, len(OUTCOMES) + 1) / len(OUTCOMES)
        costs = ((rung - reached) / self.top)[:, None] + (1 - rung / self.top) * shares
        return np.asarray((best_first.cumsum(axis=1) / len(OUTCOMES) / costs).max(axis=1))

    def can_reach(self, index: int) -> bool:
        """Whether a candidate would join the finished front if its error came out as low as may be hoped for."""
        hoped = (self.latency[index], np.exp(self.mean[index] - OPTIMISM * self.deviation[index]))
        return len(dominators(self.finished, hoped)) == 0

    def _latencies(self) -> Array:
        """Milliseconds, (n,), expected where they were not measured."""
        timed = [(i, 0.0, np.log(each.latency_ms)) for i, each in enumerate(self.candidates) if each.latency_ms]
        if len(timed) == len(self.candidates):
            return np.array([each.latency_ms for each in self.candidates], dtype=np.float64)
        level = float(np.mean([log for _, _, log in timed])) if timed else 0.0
        expected, _ = Surrogate(self._seen(timed), level, LATENCY_SLOPES).predict(self.descriptors, self.numbers)
        return np.array([each.latency_ms or np.exp(log) for each, log in zip(self.candidates, expected, strict=True)])

    def _points(self, wanted: Callable[[Candidate], bool]) -> Array:
        """(latency, error) of the feasible candidates that are wanted, errors expected where they are not known."""
        points = [
            (self.latency[index], each.errors.get(self.top, np.exp(self.mean[index])))
            for index, each in enumerate(self.candidates)
            if each.feasible and wanted(each)
        ]
        return np.array(points, dtype=np.float64).reshape(-1, 2)

    def _reference(self) -> tuple[float, float]:
        """Beyond the worst values of the front that is expected in the end, but not beyond the limit."""
        counts = [each.feasible and (self.top in each.errors or each.state != "closed") for each in self.candidates]
        if not any(counts):
            return 0.0, 0.0
        points = np.column_stack([self.latency, np.exp(self.mean)])[counts]
        hopeful = points[non_dominated(points)]
        low, high = hopeful.min(axis=0), hopeful.max(axis=0)
        # One point alone has no range, nor have points that differ by rounding.
        right, top = high + MARGIN * np.where(high > (1 + ROUNDING) * low, high - low, high)
        return float(min(right, self.limit_ms)), float(top)

    def _seen(self, values: Sequence[tuple[int, float, float]]) -> Observations:
        """What was seen: (candidate, doublings to go, log of the value)."""
        network = np.array([index for index, _, _ in values], dtype=np.int64)
        return Observations(
            descriptors=self.descriptors[network],
            network=network,
            to_go=np.array([to_go for _, to_go, _ in values], dtype=np.float64),
            logs=np.array([log for _, _, log in values], dtype=np.float64),
        )


def can_reach(known: TrialCandidates, trials: Collection[FrozenTrial], task: Task, fingerprint: str) -> bool:
    """Whether a measured network could join the front of these trials; True while too little is known."""
    candidates = known.candidates(trials, fingerprint)
    if sum(task.rungs[-1] in each.errors for each in candidates if each.feasible) < LEARNT:
        return True
    (place,) = [place for place, each in enumerate(candidates) if each.fingerprint == fingerprint]
    return Acquisition(candidates, task.rungs, task.limits.latency_ms).can_reach(place)
