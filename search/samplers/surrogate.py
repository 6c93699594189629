"""A Gaussian process that predicts the log of an error or latency from a network's descriptors and training length.

The method follows Swersky, Snoek and Adams, 2014, "Freeze-Thaw Bayesian Optimization", but uses a different kernel. At
the end of training, the log value f is the sum of a linear trend, a smooth part and a part that is specific to the
network. If `d` doublings of the training are left, the log value is c^d f plus a deviation that grows with d like
Brownian motion. This deviation also has a smooth and a network-specific part. Early in training, networks are therefore
closer together and their order is less informative. The smooth parts have a Matern 5/2 covariance.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import Bounds, minimize
from threadpoolctl import ThreadpoolController

Array = NDArray[np.float64]

LEVEL_SD = 1.0  # prior standard deviation of the overall level of the log values


@dataclass(frozen=True)
class Hyperparameters:
    """Logs of the kernel's hyperparameters; the defaults are the prior medians."""

    # Standard deviation of a slope; the slope is the change per standard deviation of a descriptor.
    trend: float = np.log(0.03)
    # Standard deviation of the smooth part.
    smooth: float = np.log(0.1)
    # Lengthscale of the smooth parts, measured in standard deviations of the descriptors.
    lengthscale: float = np.log(4.0)
    # Standard deviation of the network-specific part, which the descriptors do not explain.
    private: float = np.log(0.015)
    # The factor c above, applied once for each doubling of the training that is left.
    closeness: float = np.log(0.8)
    # Standard deviation of the smooth deviation one doubling before the end of training.
    drift: float = np.log(0.05)
    # Standard deviation of the network-specific deviation one doubling before the end of training.
    private_drift: float = np.log(0.05)


PRIOR = np.array(astuple(Hyperparameters()))
PRIOR_SD = np.array([0.7, 0.7, 0.5, 0.7, 0.2, 0.7, 0.7])


@dataclass(frozen=True)
class Inputs:
    """The inputs of the Gaussian process for n values."""

    # Standardized descriptors of the networks, (n, k).
    descriptors: Array
    # Index of the network of each value, (n,). A network may have several values.
    network: NDArray[np.int64]
    # Number of doublings of the training that are left, (n,); 0 at the end of training.
    to_go: Array


@dataclass(frozen=True)
class Pairs:
    """The quantities that determine the covariance of pairs of values; all fields have the same shape."""

    # Dot products and squared distances of the descriptors.
    products: Array
    squares: Array
    # Whether both values belong to the same network.
    same: NDArray[np.bool_]
    # Sum and minimum of the doublings left for the two values.
    sum_to_go: Array
    min_to_go: Array


def all_pairs(a: Inputs, b: Inputs) -> Pairs:
    """Pair each of n inputs with each of m inputs; the fields have the shape (n, m)."""
    products = a.descriptors @ b.descriptors.T
    lengths = (a.descriptors**2).sum(axis=1)[:, None] + (b.descriptors**2).sum(axis=1)[None, :]
    return Pairs(
        products=products,
        squares=np.maximum(lengths - 2 * products, 0),
        same=a.network[:, None] == b.network[None, :],
        sum_to_go=a.to_go[:, None] + b.to_go[None, :],
        min_to_go=np.minimum(a.to_go[:, None], b.to_go[None, :]),
    )


def matching_pairs(a: Inputs, b: Inputs) -> Pairs:
    """Pair the inputs at the same position; `a` and `b` must describe the same n networks. Fields have shape (n,)."""
    products = (a.descriptors * b.descriptors).sum(axis=1)
    n = len(products)
    return Pairs(products, np.zeros(n), np.ones(n, bool), a.to_go + b.to_go, np.minimum(a.to_go, b.to_go))


def covariance(hyperparameters: Array, pairs: Pairs) -> Array:
    """Return the covariances; they have the same shape as the pairs."""
    trend, smooth, _, private, closeness, drift, private_drift = np.exp(hyperparameters)
    matern, _ = _matern(hyperparameters, pairs)
    at_end = trend**2 * pairs.products + smooth**2 * matern + private**2 * pairs.same
    deviation = drift**2 * matern + private_drift**2 * pairs.same
    level = LEVEL_SD**2 * (1 + pairs.min_to_go)
    return np.asarray(closeness**pairs.sum_to_go * at_end + pairs.min_to_go * deviation + level)


def derivatives(hyperparameters: Array, pairs: Pairs) -> tuple[Array, ...]:
    """Return the derivatives of the covariances with respect to each of the `hyperparameters`, in order."""
    trend, smooth, _, private, closeness, drift, private_drift = np.exp(hyperparameters)
    matern, by_lengthscale = _matern(hyperparameters, pairs)
    near = closeness**pairs.sum_to_go
    by_trend, by_private = 2 * near * trend**2 * pairs.products, 2 * near * private**2 * pairs.same
    by_smooth = 2 * near * smooth**2 * matern
    return (
        by_trend,
        by_smooth,
        (near * smooth**2 + pairs.min_to_go * drift**2) * by_lengthscale,
        by_private,
        pairs.sum_to_go * (by_trend + by_smooth + by_private) / 2,
        2 * pairs.min_to_go * drift**2 * matern,
        2 * pairs.min_to_go * private_drift**2 * pairs.same,
    )


def _matern(hyperparameters: Array, pairs: Pairs) -> tuple[Array, Array]:
    """Return the Matern 5/2 correlations and their derivatives with respect to the log of the lengthscale."""
    scaled = np.sqrt(5 * pairs.squares) / np.exp(hyperparameters[2])
    decay = np.exp(-scaled)
    return (1 + scaled + scaled**2 / 3) * decay, scaled**2 * (1 + scaled) / 3 * decay


MIN_VALUES = 3  # minimum number of observations for fitting the hyperparameters
JITTER = 1e-6  # added to the diagonal of the covariance matrix
MAX_ITERATIONS = 40  # maximum number of optimizer iterations
BOUND_SD = 5.0  # bounds of the fitted hyperparameters, in prior standard deviations from the prior median

# The matrices are small. With several threads, the threads would mostly wait and slow down concurrent trainings.
_BLAS = ThreadpoolController()


@dataclass(frozen=True)
class Observations(Inputs):
    """Inputs and their observed values."""

    # Natural logs of the observed values, (n,).
    logs: Array


class Surrogate:
    """The posterior of the Gaussian process given the observations.

    `level` is the prior mean of a log value. `slopes` (k,) contains the change of the prior mean per standard deviation
    of each descriptor. `start` is the initial point of the hyperparameter fit.
    """

    def __init__(self, seen: Observations, level: float, slopes: Array, start: Array = PRIOR) -> None:
        self.seen, self.level, self.slopes = seen, level, slopes
        pairs = all_pairs(seen, seen)
        # Values are closer together early in training, so the prior trend is scaled by the same factor.
        residual = seen.logs - level - np.exp(PRIOR[4]) ** seen.to_go * (seen.descriptors @ slopes)
        self.hyperparameters = PRIOR
        with _one_thread():
            if len(residual) >= MIN_VALUES:
                self.hyperparameters = _fitted(start, pairs, residual)
            self.factor = _factor(self.hyperparameters, pairs)
            self.weights = cho_solve((self.factor, True), residual)

    def predict(self, descriptors: Array, network: NDArray[np.int64]) -> tuple[Array, Array]:
        """Return the mean (m,) and standard deviation (m,) of the log values of m networks at the end of training."""
        end = Inputs(descriptors, network, np.zeros(len(network)))
        across = covariance(self.hyperparameters, all_pairs(end, self.seen))
        mean = self.level + descriptors @ self.slopes + across @ self.weights
        prior = covariance(self.hyperparameters, matching_pairs(end, end))
        variance = prior - (self._whitened(across) ** 2).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, JITTER))

    def explained(self, descriptors: Array, network: NDArray[np.int64], to_go: Sequence[float]) -> Array:
        """Return the standard deviation (r, m) of final log values explained at `to_go` (r,) doublings left."""
        end = Inputs(descriptors, network, np.zeros(len(network)))
        of_end = self._whitened(covariance(self.hyperparameters, all_pairs(end, self.seen)))
        explained = []
        for doublings in to_go:
            before = Inputs(descriptors, network, np.full(len(network), doublings))
            of_before = self._whitened(covariance(self.hyperparameters, all_pairs(before, self.seen)))
            shared = covariance(self.hyperparameters, matching_pairs(end, before)) - (of_end * of_before).sum(axis=0)
            variance = covariance(self.hyperparameters, matching_pairs(before, before)) - (of_before**2).sum(axis=0)
            explained.append(np.abs(shared) / np.sqrt(np.maximum(variance, JITTER)))
        return np.array(explained)

    def _whitened(self, across: Array) -> Array:
        with _one_thread():
            return np.asarray(solve_triangular(self.factor, across.T, lower=True))


def _one_thread() -> AbstractContextManager[object]:
    limit: AbstractContextManager[object] = _BLAS.limit(limits=1, user_api="blas")
    return limit


def _fitted(start: Array, pairs: Pairs, residual: Array) -> Array:
    """Return the maximum a posteriori hyperparameters, or the prior medians if the optimization fails."""
    found = minimize(
        _loss,
        start,
        (pairs, residual),
        "L-BFGS-B",
        jac=True,
        bounds=Bounds(PRIOR - BOUND_SD * PRIOR_SD, PRIOR + BOUND_SD * PRIOR_SD),
        options={"maxiter": MAX_ITERATIONS},
    )
    return np.asarray(found.x) if np.isfinite(found.fun) else PRIOR


def _factor(hyperparameters: Array, pairs: Pairs) -> Array:
    gram = covariance(hyperparameters, pairs)
    gram[np.diag_indices_from(gram)] += JITTER
    return np.asarray(cholesky(gram, lower=True))


def _loss(hyperparameters: Array, pairs: Pairs, residual: Array) -> tuple[float, Array]:
    """Return the negative log posterior of the hyperparameters, up to a constant, and its gradient.

    See equations 5.8 and 5.9 of Rasmussen and Williams, 2006, "Gaussian Processes for Machine Learning".
    """
    try:
        factor = _factor(hyperparameters, pairs)
    except np.linalg.LinAlgError:
        return np.inf, np.zeros(len(hyperparameters))
    inverse = cho_solve((factor, True), np.eye(len(residual)))
    weights = inverse @ residual
    away = (hyperparameters - PRIOR) / PRIOR_SD
    loss = 0.5 * residual @ weights + np.log(np.diag(factor)).sum() + 0.5 * (away**2).sum()
    outer = inverse - np.outer(weights, weights)
    gradient = np.array([(outer * each).sum() for each in derivatives(hyperparameters, pairs)])
    return float(loss), 0.5 * gradient + away / PRIOR_SD
