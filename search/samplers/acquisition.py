"""Acquisition values of all candidates: the expected hypervolume improvement per remaining training cost."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from optuna import Study
from scipy.special import ndtri

from search.claims import latest_trials
from search.pareto import dominators, knee, non_dominated
from search.samplers.candidates import MAP_SIZES, Candidate, TrialCandidates
from search.samplers.surrogate import PRIOR, Observations, Surrogate
from search.task import Task

Array = NDArray[np.float64]

ERROR_QUANTILES = ndtri((np.arange(24) + 0.5) / 24)  # standard normal quantiles; improvements are averaged over them


def improvements(latency: Array, errors: Array, front: ArrayLike, reference: tuple[float, float]) -> Array:
    """Return the hypervolume (m, q) that m points of `latency` (m,) and `errors` (m, q) would add to `front` (n, 2).

    Points are (latency, error), both minimized; points beyond `reference` contribute nothing.
    """
    right, top = reference
    points = np.asarray(front, dtype=np.float64).reshape(-1, 2)
    points = points[(points[:, 0] < right) & (points[:, 1] < top)]
    points = points[non_dominated(points)]
    points = points[np.argsort(points[:, 0])]
    # The front is a staircase: between edges[j] and edges[j + 1], everything above heights[j] is dominated.
    edges = np.concatenate([[-np.inf], points[:, 0], [right]])
    heights = np.concatenate([[top], points[:, 1]])
    widths = np.maximum(0, edges[None, 1:] - np.maximum(edges[None, :-1], latency[:, None]))
    depths = np.maximum(0, heights[None, None, :] - errors[:, :, None])
    return np.asarray((widths[:, None, :] * depths).sum(axis=2))


def expected_improvements(
    latency: Array, mean: Array, deviation: Array, front: ArrayLike, reference: tuple[float, float]
) -> Array:
    """Return the expected hypervolume improvement (m,) of points; log errors are normal with `mean` and `deviation`."""
    errors = np.exp(mean[:, None] + deviation[:, None] * ERROR_QUANTILES[None, :])
    return np.asarray(improvements(latency, errors, front, reference).mean(axis=1))


# Prior mean slopes per standard deviation of a descriptor: more parameters and MACs lower the error, and more MACs,
# memory and layers raise the latency.
PRIOR_LOG_ERROR = float(np.log(30.0))  # prior mean of the log of an error in percent
ERROR_SLOPES = np.array([-0.05, -0.1, 0.0, 0.0, 0.0, *[0.0] * MAP_SIZES])
LATENCY_SLOPES = np.array([0.0, 0.3, 0.1, 0.2, 0.0, *[0.0] * MAP_SIZES])
REFERENCE_MARGIN = 0.1  # distance of the reference point from the expected front, as a share of the front's range
OPTIMISTIC_SD = 2.0  # the optimistic bound is this many standard deviations below the expected log error
SCORE_QUANTILES = ndtri((np.arange(16) + 0.5) / 16)  # standard normal quantiles of the score at a rung
SAME_RELATIVE = 1e-9  # relative differences up to this are rounding errors
MIN_ERROR = 0.01  # percent; smaller errors are raised to this value, since the log of 0 is undefined
MIN_FINISHED = 5  # number of networks to train to the end before any network is pruned because of its latency


class Acquisition:
    """Predictions and acquisition values for all candidates, given the errors observed so far.

    There must be at least one candidate. `rungs` are the epochs after which networks are scored; the last one is the
    end of training. Networks slower than `limit_ms` cannot join the front. `start` is the initial point of the
    hyperparameter fit, e.g. the hyperparameters of the previous acquisition.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        rungs: Sequence[int],
        limit_ms: float | None = None,
        start: Array = PRIOR,
    ) -> None:
        self.candidates, self.rungs, self.top = candidates, tuple(rungs), rungs[-1]
        self.limit_ms = np.inf if limit_ms is None else limit_ms
        raw = np.array([each.descriptors for each in candidates], dtype=np.float64)
        spread = raw.std(axis=0)
        self.descriptors = (raw - raw.mean(axis=0)) / np.where(spread > 0, spread, 1)
        self.numbers = np.arange(len(candidates))

        errors = [
            (index, np.log2(self.top / epochs), np.log(max(error, MIN_ERROR)))
            for index, each in enumerate(candidates)
            for epochs, error in each.errors.items()
        ]
        self.surrogate = Surrogate(self._observations(errors), PRIOR_LOG_ERROR, ERROR_SLOPES, start)
        self.hyperparameters = self.surrogate.hyperparameters
        # Mean and standard deviation of the log error at the end of training, both of shape (n,).
        self.mean, self.deviation = self.surrogate.predict(self.descriptors, self.numbers)
        self.latency = self._latencies()
        # (latency, error) of the finished networks. `front` also contains the expected points of networks in training.
        self.finished = self._points(lambda each: self.top in each.errors)
        self.front = self._points(lambda each: self.top in each.errors or each.state == "busy")
        self.reference = self._reference()

    def values(self) -> Array:
        """Return the acquisition values (n,): the expected hypervolume improvement per cost of one full training.

        The value of a candidate is the value of its best plan. A plan trains the network to some rung, then to the end
        only if the score at that rung makes the cost worthwhile (the index of Weitzman, 1979, "Optimal Search for the
        Best Alternative"). The value is minus infinity for candidates that are not open.
        """
        if not len(self.surrogate.seen.logs):
            return self._values_without_errors()
        reached = np.array([max(each.errors, default=0) for each in self.candidates])
        places = np.flatnonzero([each.state == "open" for each in self.candidates])
        values = np.full(len(self.candidates), -np.inf)
        to_go = [np.log2(self.top / rung) for rung in self.rungs]
        explained = self.surrogate.explained(self.descriptors, self.numbers, to_go)
        for rung, deviation in zip(self.rungs, explained, strict=True):
            ahead = places[reached[places] < rung]
            by_rung = self._values_at(rung, ahead, np.minimum(deviation, self.deviation)[ahead], reached[ahead])
            values[ahead] = np.maximum(values[ahead], by_rung)
        return values

    def _values_without_errors(self) -> Array:
        """Return 1 at the knee of the expected front and 0 elsewhere, so that a new search starts in the middle.

        The front is that of the networks within the latency limit, or of the fastest one if there are none.
        """
        places = np.flatnonzero([each.state == "open" for each in self.candidates])
        values = np.full(len(self.candidates), -np.inf)
        if len(places):
            values[places] = 0
            within = places[self.latency[places] <= max(self.limit_ms, self.latency[places].min())]
            values[within[knee(np.column_stack([self.latency, np.exp(self.mean)])[within])]] = 1
        return values

    def _values_at(self, rung: int, places: NDArray[np.intp], explained: Array, reached: NDArray[np.intp]) -> Array:
        """Return the expected improvement per expected cost (m,) of training to a rung and continuing if worthwhile.

        `explained` (m,) is the part of the standard deviation of the final log error that the score at the rung
        explains. `reached` (m,) is the number of epochs trained so far.
        """
        residual = np.sqrt(self.deviation[places] ** 2 - explained**2)
        outcomes = self.mean[places, None] + explained[:, None] * SCORE_QUANTILES
        gains = expected_improvements(
            np.repeat(self.latency[places], len(SCORE_QUANTILES)),
            outcomes.ravel(),
            np.repeat(residual, len(SCORE_QUANTILES)),
            self.front,
            self.reference,
        ).reshape(outcomes.shape)
        # Training continues only after the best outcomes. Their number is chosen to maximize the ratio.
        best_first = -np.sort(-gains, axis=1)
        shares = np.arange(1, len(SCORE_QUANTILES) + 1) / len(SCORE_QUANTILES)
        costs = ((rung - reached) / self.top)[:, None] + (1 - rung / self.top) * shares
        return np.asarray((best_first.cumsum(axis=1) / len(SCORE_QUANTILES) / costs).max(axis=1))

    def can_reach(self, index: int) -> bool:
        """Return whether no finished network dominates the candidate at the optimistic bound of its error."""
        bound = (self.latency[index], np.exp(self.mean[index] - OPTIMISTIC_SD * self.deviation[index]))
        return len(dominators(self.finished, bound)) == 0

    def _latencies(self) -> Array:
        """Return the latencies (n,) in milliseconds; networks without a measurement get a prediction."""
        timed = [(i, 0.0, np.log(each.latency_ms)) for i, each in enumerate(self.candidates) if each.latency_ms]
        if len(timed) == len(self.candidates):
            return np.array([each.latency_ms for each in self.candidates], dtype=np.float64)
        level = float(np.mean([log for _, _, log in timed])) if timed else 0.0
        process = Surrogate(self._observations(timed), level, LATENCY_SLOPES)
        predicted, _ = process.predict(self.descriptors, self.numbers)
        return np.array([each.latency_ms or np.exp(log) for each, log in zip(self.candidates, predicted, strict=True)])

    def _points(self, wanted: Callable[[Candidate], bool]) -> Array:
        """Return (latency, error) of the feasible candidates that `wanted` selects; unobserved errors are predicted."""
        points = [
            (self.latency[index], each.errors.get(self.top, np.exp(self.mean[index])))
            for index, each in enumerate(self.candidates)
            if each.feasible and wanted(each)
        ]
        return np.array(points, dtype=np.float64).reshape(-1, 2)

    def _reference(self) -> tuple[float, float]:
        """Return the reference point: slightly worse than the expected final front, but within the latency limit."""
        counts = [each.feasible and (self.top in each.errors or each.state != "closed") for each in self.candidates]
        if not any(counts):
            return 0.0, 0.0
        points = np.column_stack([self.latency, np.exp(self.mean)])[counts]
        front = points[non_dominated(points)]
        low, high = front.min(axis=0), front.max(axis=0)
        # The range is zero for a single point, or for points that differ only by rounding errors.
        right, top = high + REFERENCE_MARGIN * np.where(high > (1 + SAME_RELATIVE) * low, high - low, high)
        return float(min(right, self.limit_ms)), float(top)

    def _observations(self, values: Sequence[tuple[int, float, float]]) -> Observations:
        """Build observations from (candidate, doublings left, log value) tuples."""
        network = np.array([index for index, _, _ in values], dtype=np.int64)
        return Observations(
            descriptors=self.descriptors[network],
            network=network,
            to_go=np.array([to_go for _, to_go, _ in values], dtype=np.float64),
            logs=np.array([log for _, _, log in values], dtype=np.float64),
        )


def can_reach(trial_candidates: TrialCandidates, study: Study, task: Task, fingerprint: str) -> bool:
    """Return whether a measured network could join the front of a study.

    The answer is always True until MIN_FINISHED feasible networks are trained to the end.
    """
    candidates = trial_candidates.candidates(study, latest_trials(study), current=fingerprint)
    if sum(task.rungs[-1] in each.errors for each in candidates if each.feasible) < MIN_FINISHED:
        return True
    (place,) = [place for place, each in enumerate(candidates) if each.fingerprint == fingerprint]
    return Acquisition(candidates, task.rungs, task.limits.latency_ms).can_reach(place)
