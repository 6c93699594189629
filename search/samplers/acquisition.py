"""The acquisition values of a finite set of networks: the expected hypervolume improvement per remaining training cost.

It needs no network, only features, latencies and scores, so it also searches tables that others recorded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from search.box import Box
from search.pareto import dominators, non_dominated
from search.samplers.features import Features
from search.samplers.improvement import Staircase, expected_improvement, staircase
from search.samplers.learner import Learner, Memory
from search.samplers.plans import Plan, indices
from search.samplers.prior import Prediction, informed
from search.samplers.warp import unwarped, warped

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

SCORES = ndtri((np.arange(8) + 0.5) / 8)  # standard normal quantiles of the score at a rung
LATENCIES = ndtri((np.arange(5) + 0.5) / 5)  # standard normal quantiles of a latency that was not measured
SHORTLIST = 300  # number of networks, the best if trained to the end at once, whose plans are valued
NEVER = 1e9  # cost of a rung that a network has passed
START = 0.5  # cost of the trainings at the lowest rung before acquisition values decide, in full trainings
OPTIMISTIC_SD = 2.0  # the optimistic bound is this many standard deviations below the expected log error
DEFAULT_ERROR = 30.0  # prior mean of an error in percent, before any network is trained to the end


@dataclass(frozen=True)
class Rungs:
    """The cost of training to each rung from scratch, in full trainings; the last one is 1, the end of training."""

    costs: tuple[float, ...]
    # Whether a training is resumed at the cost of the difference. Otherwise, every rung is a training of its own.
    resumes: bool = True

    @property
    def starts(self) -> int:
        """Number of networks that are scored at the lowest rung before acquisition values decide; 0 without rungs."""
        return int(START / self.costs[0]) if len(self.costs) > 1 else 0

    @property
    def to_go(self) -> tuple[float, ...]:
        """Doublings of the training left at each rung."""
        return tuple(float(-np.log2(cost)) for cost in self.costs)


class Acquisition:
    """The observations of n networks, and the acquisition value of the next training of each.

    `reading` is the cost of measuring a latency, in full trainings. `slopes` are prior mean changes of the log latency
    and of the log error per unit of each feature, two arrays of shape (k,). `prediction` is that of earlier work.
    """

    def __init__(
        self,
        features: Features,
        rungs: Rungs,
        box: Box,
        reading: float,
        *,
        slopes: tuple[Array, Array] | None = None,
        prediction: Prediction | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.rungs, self.box, self.reading = rungs, box, reading
        n, memory = len(features.columns), memory or Memory()
        flat = np.zeros(features.columns.shape[1])
        by_latency, by_error = slopes or (flat, flat)
        predicted = prediction or Prediction()
        # Latency in ms and error in percent at each rung; NaN if unknown.
        self.latency = np.full(n, np.nan)
        self.errors = np.full((n, len(rungs.costs)), np.nan)
        # Networks that may be trained, networks in training, and networks that violate a constraint.
        self.open = np.ones(n, dtype=bool)
        self.busy = np.zeros(n, dtype=bool)
        self.infeasible = np.zeros(n, dtype=bool)
        self._latency = Learner(*informed(features, by_latency, predicted.latency), 0.0, memory.latency)
        level = warped(DEFAULT_ERROR, box.max_error)
        self._error = Learner(*informed(features, by_error, predicted.error), level, memory.error)

    def read(self, network: int, latency_ms: float) -> None:
        """Add the latency of a network."""
        self.latency[network] = latency_ms
        self._latency.add(network, 0.0, np.log(latency_ms))

    def score(self, network: int, rung: int, error: float) -> None:
        """Add the error of a network at a rung, in percent."""
        self.errors[network, rung] = error
        self._error.add(network, self.rungs.to_go[rung], warped(error, self.box.max_error))
        if rung == len(self.rungs.costs) - 1:
            self.open[network] = False

    @property
    def memory(self) -> Memory:
        """The hyperparameters learnt so far."""
        return Memory(self._latency.learnt, self._error.learnt)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Mask (n,) of the networks with an error at some rung."""
        return np.asarray(np.isfinite(self.errors).any(axis=1))

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Mask (n,) of the feasible networks that were trained to the end."""
        return np.asarray(np.isfinite(self.errors[:, -1]) & np.isfinite(self.latency) & ~self.infeasible)

    def log_latency(self) -> tuple[Array, Array]:
        """Return the mean (n,) and standard deviation (n,) of the log latencies; those measured are known exactly."""
        posterior = self._latency.posterior(self._distance)
        known = np.isfinite(self.latency)
        logs = np.log(np.where(known, self.latency, 1.0))
        return np.where(known, logs, posterior.mean), np.where(known, 0.0, posterior.deviation)

    def log_error(self) -> tuple[Array, Array]:
        """Return the mean (n,) and standard deviation (n,) of the log errors at the end of training."""
        posterior = self._error.posterior(self._distance)
        return unwarped(posterior.mean, posterior.deviation, self.box.max_error)

    def front(self) -> Staircase:
        """Return the front of the finished networks, with networks in training at their expected points."""
        latency, error = self.latency.copy(), self.errors[:, -1].copy()
        if self.busy.any():
            latency[self.busy] = np.exp(self.log_latency()[0][self.busy])
            error[self.busy] = np.exp(self.log_error()[0][self.busy])
        counts = (self.finished | self.busy) & ~self.infeasible
        return staircase(latency[counts], error[counts], self.box)

    def values(self) -> tuple[Array, Indices]:
        """Return the acquisition values (n,) and the next rung (n,) of the best plan of each network.

        The value is minus infinity for networks that are not open, and for all but the SHORTLIST best others.
        """
        n, top = len(self.latency), len(self.rungs.costs) - 1
        values, next_rung = np.full(n, -np.inf), np.full(n, top)
        places = np.flatnonzero(self.open & ~self.busy & ~self.infeasible)
        if not len(places):
            return values, next_rung
        latency, error, front = self.log_latency(), self.log_error(), self.front()
        paid = self._paid()
        gains = expected_improvement(_of(latency, places), _of(error, places), front, self.box)
        short = places[np.argsort(-gains / (1 - paid[places]), kind="stable")[:SHORTLIST]]
        reached = np.where(np.isfinite(self.errors[short]), np.arange(top + 1), -1).max(axis=1)
        readings = latency[0][short, None] + latency[1][short, None] * LATENCIES
        mean, deviation = _of(error, short)

        def gains_of(outcomes: Array, residual: Array) -> Array:
            """Return the improvement (m, q, z) for q latencies and z means of the log error (m, z)."""
            shape = (*readings.shape, outcomes.shape[1])
            first = np.broadcast_to(readings[:, :, None], shape).ravel()
            second = np.broadcast_to(outcomes[:, None, :], shape).ravel()
            spread = np.broadcast_to(residual[:, None, None], shape).ravel()
            return expected_improvement((first, np.zeros(len(first))), (second, spread), front, self.box).reshape(shape)

        plans = [Plan(1 - paid[short], 0.0, gains_of(mean[:, None], deviation))]
        posterior = self._error.posterior(self._distance)
        per_warped = deviation / posterior.deviation[short]
        for rung, cost in enumerate(self.rungs.costs[:-1]):
            ahead = reached < rung
            explained = np.where(ahead, per_warped * posterior.explained(short, self.rungs.to_go[rung]), 0.0)
            residual = np.sqrt(np.maximum(deviation**2 - explained**2, 0))
            outcomes = mean[:, None] + explained[:, None] * SCORES
            first = np.where(ahead, cost - paid[short], NEVER)
            plans.append(Plan(first, 1 - cost if self.rungs.resumes else 1.0, gains_of(outcomes, residual)))
        unread = np.isnan(self.latency[short])
        values[short], chosen = indices(np.where(unread, self.reading, 0.0), plans)
        next_rung[short] = np.where(chosen == 0, top, chosen - 1)
        if self.rungs.resumes:  # the decision is repeated at every rung
            next_rung[short] = np.minimum(reached + 1, next_rung[short])
        return values, next_rung

    def can_reach(self, network: int) -> bool:
        """Return whether no finished network dominates this one at the optimistic bound of its error."""
        latency, (mean, deviation) = self.log_latency()[0], self.log_error()
        bound = np.exp([latency[network], mean[network] - OPTIMISTIC_SD * deviation[network]])
        points = np.column_stack([self.latency, self.errors[:, -1]])[self.finished]
        return len(dominators(points, bound)) == 0

    def _paid(self) -> Array:
        if not self.rungs.resumes:
            return np.zeros(len(self.latency))
        return np.asarray(np.where(np.isfinite(self.errors), np.array(self.rungs.costs), 0.0).max(axis=1))

    def _distance(self) -> Array:
        """Return how far (n,) the networks lie behind the nearest point of the front, at the last rung they reached."""
        last = np.full(len(self.latency), np.inf)
        for scores in self.errors.T:
            last = np.where(np.isfinite(scores), scores, last)
        points = self.box.placed(np.column_stack([np.nan_to_num(self.latency, nan=np.inf), last]))
        front = points[self.finished]
        front = front[non_dominated(front)]
        if not len(front):
            return points[:, 1]
        spread = np.ptp(points, axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        behind = [((points - best) / scale).max(axis=1) for best in front]
        return np.asarray(np.min(behind, axis=0))


def _of(normal: tuple[Array, Array], places: Indices) -> tuple[Array, Array]:
    return normal[0][places], normal[1][places]
