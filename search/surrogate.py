"""What is expected of networks: a Gaussian process over descriptors of a network and how long it was trained.

After Swersky, Snoek and Adams, 2014, "Freeze-Thaw Bayesian Optimization", with a kernel of our own (kernel.py).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import Bounds, minimize
from threadpoolctl import ThreadpoolController

from search.kernel import PRIOR, PRIOR_SD, Array, Pairs, Values, covariance, derivatives, every_pair, own_pairs

LEARNABLE = 3  # fewest values from which the kernel's parameters are learnt
JITTER = 1e-6  # added to the diagonal
MAX_STEPS = 40  # of the optimiser
REACH = 5.0  # standard deviations of the prior: how far from its median a parameter may be learnt to lie

# The matrices are small: several threads would mostly wait for each other, and for trainings beside them.
_BLAS = ThreadpoolController()


@dataclass(frozen=True)
class Seen(Values):
    """Values that are known."""

    # Natural logs of the values, (n,).
    logs: Array


class Surrogate:
    """The process given what was seen.

    `level` is what the log of a value is expected to be beforehand, `slopes` (k,) how it changes with each descriptor,
    per standard deviation; `start` is where the search for the kernel's parameters begins.
    """

    def __init__(self, seen: Seen, level: float, slopes: Array, start: Array = PRIOR) -> None:
        self.seen, self.level, self.slopes = seen, level, slopes
        pairs = every_pair(seen, seen)
        # The trend expected beforehand is as much milder early in a training as values are closer together.
        residual = seen.logs - level - np.exp(PRIOR[4]) ** seen.to_go * (seen.descriptors @ slopes)
        self.shape = PRIOR
        with _one_thread():
            if len(residual) >= LEARNABLE:
                self.shape = _learnt(start, pairs, residual)
            self.factor = _factor(self.shape, pairs)
            self.weights = cho_solve((self.factor, True), residual)

    def predict(self, descriptors: Array, network: NDArray[np.int64]) -> tuple[Array, Array]:
        """Mean (m,) and standard deviation (m,) of the log of the value at the end of the training, of m networks."""
        end = Values(descriptors, network, np.zeros(len(network)))
        across = covariance(self.shape, every_pair(end, self.seen))
        mean = self.level + descriptors @ self.slopes + across @ self.weights
        variance = covariance(self.shape, own_pairs(end, end)) - (self._whitened(across) ** 2).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, JITTER))

    def told(self, descriptors: Array, network: NDArray[np.int64], to_go: Sequence[float]) -> Array:
        """How much of the log's standard deviation at the end, (r, m), values with so much `to_go` (r,) would tell."""
        end = Values(descriptors, network, np.zeros(len(network)))
        of_end = self._whitened(covariance(self.shape, every_pair(end, self.seen)))
        found = []
        for doublings in to_go:
            before = Values(descriptors, network, np.full(len(network), doublings))
            of_before = self._whitened(covariance(self.shape, every_pair(before, self.seen)))
            shared = covariance(self.shape, own_pairs(end, before)) - (of_end * of_before).sum(axis=0)
            spread = covariance(self.shape, own_pairs(before, before)) - (of_before**2).sum(axis=0)
            found.append(np.abs(shared) / np.sqrt(np.maximum(spread, JITTER)))
        return np.array(found)

    def _whitened(self, across: Array) -> Array:
        with _one_thread():
            return np.asarray(solve_triangular(self.factor, across.T, lower=True))


def _one_thread() -> AbstractContextManager[object]:
    limit: AbstractContextManager[object] = _BLAS.limit(limits=1, user_api="blas")
    return limit


def _learnt(start: Array, pairs: Pairs, residual: Array) -> Array:
    """The most likely shape; the prior's where none is found."""
    found = minimize(
        _loss,
        start,
        (pairs, residual),
        "L-BFGS-B",
        jac=True,
        bounds=Bounds(PRIOR - REACH * PRIOR_SD, PRIOR + REACH * PRIOR_SD),
        options={"maxiter": MAX_STEPS},
    )
    return np.asarray(found.x) if np.isfinite(found.fun) else PRIOR


def _factor(shape: Array, pairs: Pairs) -> Array:
    gram = covariance(shape, pairs)
    gram[np.diag_indices_from(gram)] += JITTER
    return np.asarray(cholesky(gram, lower=True))


def _loss(shape: Array, pairs: Pairs, residual: Array) -> tuple[float, Array]:
    """Negative log of the posterior of the kernel's parameters, up to a constant, and its gradient.

    Rasmussen and Williams, 2006, "Gaussian Processes for Machine Learning", equations 5.8 and 5.9.
    """
    try:
        factor = _factor(shape, pairs)
    except np.linalg.LinAlgError:
        return np.inf, np.zeros(len(shape))
    inverse = cho_solve((factor, True), np.eye(len(residual)))
    weights = inverse @ residual
    away = (shape - PRIOR) / PRIOR_SD
    loss = 0.5 * residual @ weights + np.log(np.diag(factor)).sum() + 0.5 * (away**2).sum()
    outer = inverse - np.outer(weights, weights)
    return float(loss), 0.5 * np.array([(outer * each).sum() for each in derivatives(shape, pairs)]) + away / PRIOR_SD
