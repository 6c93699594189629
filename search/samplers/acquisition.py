"""The acquisition values of a finite set of networks: the expected hypervolume improvement per remaining training cost.

It needs no network, only features, readings and scores, so it also searches tables that others recorded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from search.box import Box
from search.samplers.features import Features
from search.samplers.improvement import Staircase, expected_improvement, staircase
from search.samplers.plans import Plan, indices
from search.samplers.surrogate import Kernel, Posterior, Values, learnt

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MIN_ERROR = 0.01  # percent; smaller errors are raised to this value, since the log of 0 is undefined
MAX_WARPED = -0.05  # larger warped errors are lowered to this value
SCORES = ndtri((np.arange(8) + 0.5) / 8)  # standard normal quantiles of the score at a rung
LATENCIES = ndtri((np.arange(5) + 0.5) / 5)  # standard normal quantiles of a latency that is not yet known
NEVER = 1e9  # cost of a rung that lies behind
SHORTLIST = 300  # number of networks, the best without inspections, whose plans are valued
GROWTH = 1.15  # the hyperparameters are learnt again once the number of values has grown by this factor
DEFAULT_LEVEL = float(np.log(30.0))  # prior mean of the log of an error in percent


@dataclass(frozen=True)
class Rungs:
    """The cost of training to each rung from scratch, in full trainings; the last one is 1, the end of training."""

    costs: tuple[float, ...]
    # Whether a training is resumed at the cost of the difference. Otherwise, every rung is a training of its own.
    resumes: bool = True

    @property
    def to_go(self) -> tuple[float, ...]:
        """Doublings of the training left at each rung."""
        return tuple(float(-np.log2(cost)) for cost in self.costs)


class Acquisition:
    """What is known of n networks, and what each of them is worth."""

    def __init__(self, features: Features, rungs: Rungs, box: Box, reading: float) -> None:
        self.features, self.rungs, self.box, self.reading = features, rungs, box, reading
        n, r = len(features.columns), len(rungs.costs)
        self.latency = np.full(n, np.nan)
        self.errors = np.full((n, r), np.nan)
        self.open = np.ones(n, dtype=bool)
        self.everything = np.arange(n)
        self._latency, self._error = Learner(features), Learner(features)

    def read(self, network: int, latency_ms: float) -> None:
        """Add the latency of a network."""
        self.latency[network] = latency_ms
        self._latency.add(network, 0.0, np.log(latency_ms))

    def score(self, network: int, rung: int, error: float) -> None:
        """Add the error of a network at a rung, in percent."""
        self.errors[network, rung] = error
        at_end = rung == len(self.rungs.costs) - 1
        log = warped(error, self.box.max_error)
        self._error.add(network, self.rungs.to_go[rung], log)
        if at_end:
            self.open[network] = False

    def values(self) -> Array:
        """Return the acquisition values (n,); minus infinity for networks that are not open or not promising."""
        values = np.full(len(self.latency), -np.inf)
        places = np.flatnonzero(self.open)
        if not len(places):
            return values
        latency, process = self._latency.posterior(), self._error.posterior()
        mean, deviation = latency.mean.copy(), latency.deviation.copy()
        known = np.isfinite(self.latency)
        mean[known], deviation[known] = np.log(self.latency[known]), 0.0
        error_mean, error_deviation = unwarped(process.mean, process.deviation, self.box.max_error)
        scale = error_deviation / process.deviation
        front, paid, top = self.front(), self._paid(), len(self.rungs.costs) - 1
        gains = expected_improvement(
            (mean[places], deviation[places]), (error_mean[places], error_deviation[places]), front, self.box
        )
        short = places[np.argsort(-gains / (1 - paid[places]), kind="stable")[:SHORTLIST]]
        reached = np.where(np.isfinite(self.errors[short]), np.arange(top + 1), -1).max(axis=1)
        readings = mean[short, None] + deviation[short, None] * LATENCIES
        certain = error_mean[short], error_deviation[short]

        def gains_of(outcomes: Array, residual: Array) -> Array:
            """Return the improvement (m, q, z) for q latencies and z means of the log error (m, z)."""
            shape = (*readings.shape, outcomes.shape[1])
            first = np.broadcast_to(readings[:, :, None], shape).ravel()
            second = np.broadcast_to(outcomes[:, None, :], shape).ravel()
            spread = np.broadcast_to(residual[:, None, None], shape).ravel()
            found = expected_improvement((first, np.zeros(len(first))), (second, spread), front, self.box)
            return found.reshape(shape)

        plans = [Plan(1 - paid[short], 0.0, gains_of(certain[0][:, None], certain[1]))]
        for rung, cost in enumerate(self.rungs.costs[:-1]):
            explained = np.where(reached < rung, scale[short] * process.explained(short, self.rungs.to_go[rung]), 0.0)
            residual = np.sqrt(np.maximum(certain[1] ** 2 - explained**2, 0))
            outcomes = certain[0][:, None] + explained[:, None] * SCORES
            first = np.where(reached < rung, cost - paid[short], NEVER)
            plans.append(Plan(first, 1 - cost if self.rungs.resumes else 1.0, gains_of(outcomes, residual)))
        values[short], chosen = indices(np.where(known[short], 0.0, self.reading), plans)
        self.next_rung = np.full(len(values), top)
        self.next_rung[short] = np.where(chosen == 0, top, chosen - 1)
        if self.rungs.resumes:
            self.next_rung[short] = np.minimum(reached + 1, self.next_rung[short])
        return values

    def front(self) -> Staircase:
        done = np.isfinite(self.errors[:, -1]) & np.isfinite(self.latency)
        return staircase(self.latency[done], self.errors[done, -1], self.box)

    def _paid(self) -> Array:
        if not self.rungs.resumes:
            return np.zeros(len(self.latency))
        return np.where(np.isfinite(self.errors), np.array(self.rungs.costs), 0.0).max(axis=1)


def warped(error: float, edge: float) -> float:
    """Return log(e / (e + edge)) of an error e in percent: the log of small errors; all large errors are alike."""
    clipped = max(error, MIN_ERROR)
    return float(np.log(clipped / (clipped + edge)))


def unwarped(mean: Array, deviation: Array, edge: float) -> tuple[Array, Array]:
    """Return mean (n,) and standard deviation (n,) of log errors, from those of warped errors, to first order."""
    share = np.exp(np.minimum(mean, MAX_WARPED))
    error = edge * share / (1 - share)
    return np.log(error), deviation * (1 + error / edge)


class Learner:
    """A Gaussian process whose hyperparameters are learnt again as the number of values grows."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.values: list[tuple[int, float, float]] = []
        self.hyperparameters: Array | None = None
        self.learnt_with = 0
        self._posterior: Posterior | None = None
        self._included = 0

    def add(self, network: int, to_go: float, log: float) -> None:
        """Add a value."""
        self.values.append((network, to_go, log))

    def posterior(self) -> Posterior:
        """Return the posterior given all values so far."""
        if self._posterior is None or len(self.values) > GROWTH * self.learnt_with:
            ends = [log for _, to_go, log in self.values if to_go == 0]
            self.level = float(np.mean(ends)) if ends else DEFAULT_LEVEL
            self.hyperparameters = learnt(self.features, self.level, self._as_values(0), self.hyperparameters)
            kernel = Kernel(self.features, self.hyperparameters)
            everything = np.arange(len(self.features.columns))
            self._posterior = Posterior(kernel, self.level, self._as_values(0), everything)
            self.learnt_with = len(self.values)
        elif self._included < len(self.values):
            self._posterior.extend(self._as_values(self._included))
        self._included = len(self.values)
        return self._posterior

    def _as_values(self, first: int) -> Values:
        network, to_go, logs = zip(*self.values[first:], strict=True) if self.values[first:] else ((), (), ())
        return Values(np.array(network, dtype=np.int64), np.array(to_go, dtype=np.float64), np.array(logs))
