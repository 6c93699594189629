"""A Gaussian process that predicts the log of an error or latency from a network's features and training length.

The method follows Swersky, Snoek and Adams, 2014, "Freeze-Thaw Bayesian Optimization", but uses a different kernel. At
the end of training, the log value f is the sum of a linear trend, a smooth part and a part that is specific to the
network. If `d` doublings of the training are left, the log value is c^d f plus a deviation that grows with d like
Brownian motion. This deviation also has a smooth and a network-specific part. Early in training, networks are therefore
closer together and their order is less informative. The smooth parts have a Matern 5/2 covariance with one lengthscale
for each group of features (automatic relevance determination).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import Bounds, minimize
from threadpoolctl import ThreadpoolController

from search.samplers.features import Features

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

LEVEL_SD = 1.0  # prior standard deviation of the overall level of the log values
JITTER = 1e-6  # added to the diagonal of the covariance matrix

# The hyperparameters are logs; below are their prior medians and standard deviations. A lengthscale for each group of
# features follows. Features are scaled so that the mean squared distance of a group is 1, see features.py.
NAMES = ("trend", "smooth", "private", "closeness", "drift", "private_drift")
PRIOR = np.log(
    [
        0.1,  # standard deviation of a slope; the slope is the change per unit of a scaled feature
        0.25,  # standard deviation of the smooth part
        0.05,  # standard deviation of the network-specific part, which the features do not explain
        0.87,  # the factor c above, applied once for each doubling of the training that is left
        0.1,  # standard deviation of the smooth deviation one doubling before the end of training
        0.07,  # standard deviation of the network-specific deviation one doubling before the end of training
    ]
)
PRIOR_SD = np.array([0.7, 0.7, 0.8, 0.15, 0.8, 0.8])
LENGTHSCALE = 1.0  # prior median of a lengthscale, relative to the square root of the number of groups
LENGTHSCALE_SD = 0.8  # prior standard deviation of the log of a lengthscale
BOUND_SD = 4.0  # bounds of the hyperparameters, in prior standard deviations from the prior median
MIN_VALUES = 3  # minimum number of values for learning the hyperparameters
MAX_LEARNT = 400  # hyperparameters are learnt from a random subset of at most this many values
MAX_ITERATIONS = 40  # maximum number of optimizer iterations

# The matrices are small. With several threads, the threads would mostly wait and slow down concurrent trainings.
_BLAS = ThreadpoolController()


@dataclass(frozen=True)
class Inputs:
    """The inputs of the Gaussian process for n values."""

    # Index of the network of each value, (n,). A network may have several values.
    network: Indices
    # Number of doublings of the training that are left, (n,); 0 at the end of training.
    to_go: Array


@dataclass(frozen=True)
class Values(Inputs):
    """Inputs and their observed values."""

    # Natural logs of the observed values, (n,).
    logs: Array

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self.logs)


def prior(groups: int) -> tuple[Array, Array]:
    """Return the prior medians and standard deviations (6 + g,) of the hyperparameters for g groups of features."""
    lengthscales = np.full(groups, np.log(LENGTHSCALE * np.sqrt(max(1, groups))))
    return np.concatenate([PRIOR, lengthscales]), np.concatenate([PRIOR_SD, np.full(groups, LENGTHSCALE_SD)])


class Kernel:
    """The covariance of log values of networks with these features."""

    def __init__(self, features: Features, hyperparameters: Array) -> None:
        scales, self.lengthscales = np.exp(hyperparameters[: len(NAMES)]), np.exp(hyperparameters[len(NAMES) :])
        self.trend, self.smooth, self.private, self.closeness, self.drift, self.private_drift = scales.tolist()
        self.columns = features.columns
        self.scaled = features.columns / self.lengthscales[features.groups]
        self.lengths = (self.scaled**2).sum(axis=1)

    def squares(self, a: Indices, b: Indices) -> Array:
        """Return the squared scaled distances (n, m) of networks."""
        products = self.scaled[a] @ self.scaled[b].T
        return np.asarray(np.maximum(self.lengths[a][:, None] + self.lengths[b][None, :] - 2 * products, 0))

    def __call__(self, a: Inputs, b: Inputs) -> Array:
        """Return the covariances (n, m) of n values with m values."""
        smooth = matern(self.squares(a.network, b.network))
        same = a.network[:, None] == b.network[None, :]
        products = self.columns[a.network] @ self.columns[b.network].T
        at_end = self.trend**2 * products + self.smooth**2 * smooth + self.private**2 * same
        fewer = np.minimum(a.to_go[:, None], b.to_go[None, :])
        if not fewer.any():
            deviation = LEVEL_SD**2 * np.ones_like(fewer)
        else:
            deviation = fewer * (self.drift**2 * smooth + self.private_drift**2 * same) + LEVEL_SD**2 * (1 + fewer)
        if a.to_go.any():
            at_end *= (self.closeness**a.to_go)[:, None]
        if b.to_go.any():
            at_end *= (self.closeness**b.to_go)[None, :]
        return np.asarray(at_end + deviation)

    def of_same(self, network: Indices, first: float, second: float) -> Array:
        """Return the covariance (n,) of two values of each network, with these doublings left."""
        products = (self.columns[network] ** 2).sum(axis=1)
        at_end = self.trend**2 * products + self.smooth**2 + self.private**2
        fewer = min(first, second)
        deviation = fewer * (self.drift**2 + self.private_drift**2) + LEVEL_SD**2 * (1 + fewer)
        return np.asarray(self.closeness ** (first + second) * at_end + deviation)


def matern(squares: Array) -> Array:
    """Return the Matern 5/2 correlation at squared scaled distances."""
    scaled = np.sqrt(5 * squares)
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled))


class Posterior:
    """The log values of n networks at the end of training, given observed values; `prior_mean` (n,) is without them."""

    def __init__(self, kernel: Kernel, prior_mean: Array, seen: Values) -> None:
        self.kernel, self.prior_mean = kernel, prior_mean
        self.seen = Inputs(np.zeros(0, dtype=np.int64), np.zeros(0))
        self.everything = np.arange(len(prior_mean))
        # Mean (n,) of the log values, and what follows from the v values seen: the Cholesky factor (v, v) of their
        # covariance, their whitened residuals (v,), and their whitened covariance (v, n) with the values to predict.
        self.mean = prior_mean
        self.factor, self.residuals = np.zeros((0, 0)), np.zeros(0)
        self.whitened = np.zeros((0, len(prior_mean)))
        self._variance = kernel.of_same(self.everything, 0.0, 0.0)
        self.extend(seen)

    def extend(self, values: Values) -> None:
        """Add observed values, which costs less than starting again with all values."""
        if not len(values):
            return
        old, added = len(self.seen.network), len(values)
        with one_thread():
            across = solve_triangular(self.factor, self.kernel(self.seen, values), lower=True)
            corner = self.kernel(values, values) - across.T @ across
            corner[np.diag_indices(added)] += JITTER
            corner = cholesky(corner, lower=True)
            factor = np.zeros((old + added, old + added))
            factor[:old, :old], factor[old:, :old], factor[old:, old:] = self.factor, across.T, corner
            expected = self.prior_mean[values.network] + across.T @ self.residuals
            residuals = solve_triangular(corner, values.logs - expected, lower=True)
            covariance = self.kernel(values, at_end(self.everything)) - across.T @ self.whitened
            rows = solve_triangular(corner, covariance, lower=True)
            self.mean = self.mean + residuals @ rows
        self.factor, self.residuals = factor, np.concatenate([self.residuals, residuals])
        self.whitened = np.concatenate([self.whitened, rows])
        self._variance = self._variance - (rows**2).sum(axis=0)
        self.seen = Inputs(
            np.concatenate([self.seen.network, values.network]), np.concatenate([self.seen.to_go, values.to_go])
        )

    @property
    def deviation(self) -> Array:
        """Standard deviation (n,) of the log values at the end of training."""
        return np.sqrt(np.maximum(self._variance, JITTER))

    def explained(self, networks: Indices, to_go: float) -> Array:
        """Return the part (k,) of the standard deviation of k networks that scores with `to_go` left would explain."""
        before = Inputs(networks, np.full(len(networks), to_go))
        with one_thread():
            whitened = solve_triangular(self.factor, self.kernel(self.seen, before), lower=True)
        variance = self.kernel.of_same(networks, to_go, to_go) - (whitened**2).sum(axis=0)
        shared = self.kernel.of_same(networks, 0.0, to_go) - (self.whitened[:, networks] * whitened).sum(axis=0)
        explained = np.abs(shared) / np.sqrt(np.maximum(variance, JITTER))
        return np.asarray(np.minimum(explained, self.deviation[networks]))


def at_end(networks: Indices) -> Inputs:
    """Return the inputs of the values of networks at the end of training."""
    return Inputs(networks, np.zeros(len(networks)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit linear algebra to one thread."""
    with _BLAS.limit(limits=1, user_api="blas"):
        yield


def learnt(features: Features, prior_mean: Array, seen: Values, start: Array | None = None) -> Array:
    """Return the maximum a posteriori hyperparameters, or the prior medians if the optimization fails.

    `start` is the initial point, e.g. earlier hyperparameters.
    """
    medians, deviations = prior(features.count)
    if len(seen) < MIN_VALUES:
        return medians
    if len(seen) > MAX_LEARNT:
        chosen = np.sort(np.random.default_rng(len(seen)).permutation(len(seen))[:MAX_LEARNT])
        seen = Values(seen.network[chosen], seen.to_go[chosen], seen.logs[chosen])
    with one_thread():
        found = minimize(
            _loss,
            medians if start is None else start,
            (features, seen, seen.logs - prior_mean[seen.network], medians, deviations),
            "L-BFGS-B",
            jac=True,
            bounds=Bounds(medians - BOUND_SD * deviations, medians + BOUND_SD * deviations),
            options={"maxiter": MAX_ITERATIONS},
        )
    return np.asarray(found.x) if np.isfinite(found.fun) else medians


def _loss(
    hyperparameters: Array, features: Features, seen: Values, residual: Array, medians: Array, deviations: Array
) -> tuple[float, Array]:
    """Return the negative log posterior of the hyperparameters, up to a constant, and its gradient.

    See equations 5.8 and 5.9 of Rasmussen and Williams, 2006, "Gaussian Processes for Machine Learning".
    """
    kernel = Kernel(features, hyperparameters)
    squares = kernel.squares(seen.network, seen.network)
    scaled = np.sqrt(5 * squares)
    decay = np.exp(-scaled)
    smooth = (1 + scaled + scaled**2 / 3) * decay
    same = seen.network[:, None] == seen.network[None, :]
    columns = features.columns[seen.network]
    products = columns @ columns.T
    total, fewer = seen.to_go[:, None] + seen.to_go[None, :], np.minimum(seen.to_go[:, None], seen.to_go[None, :])
    near = kernel.closeness**total
    by_trend, by_smooth = near * kernel.trend**2 * products, near * kernel.smooth**2 * smooth
    by_private = near * kernel.private**2 * same
    by_drift, by_private_drift = fewer * kernel.drift**2 * smooth, fewer * kernel.private_drift**2 * same
    gram = by_trend + by_smooth + by_private + by_drift + by_private_drift + LEVEL_SD**2 * (1 + fewer)
    gram[np.diag_indices_from(gram)] += JITTER
    try:
        factor = cholesky(gram, lower=True)
    except np.linalg.LinAlgError:
        return np.inf, np.zeros(len(hyperparameters))
    inverse = cho_solve((factor, True), np.eye(len(residual)))
    weights = inverse @ residual
    away = (hyperparameters - medians) / deviations
    loss = 0.5 * residual @ weights + np.log(np.diag(factor)).sum() + 0.5 * (away**2).sum()
    outer = 0.5 * (inverse - np.outer(weights, weights))
    gradient = away / deviations
    parts = (by_trend, by_smooth, by_private, total * (by_trend + by_smooth + by_private) / 2, by_drift)
    gradient[: len(NAMES)] += [2 * (outer * part).sum() for part in (*parts, by_private_drift)]
    # The derivative with respect to the log of a lengthscale is `slope` times the squared scaled distance in its group.
    slope = outer * (near * kernel.smooth**2 + fewer * kernel.drift**2) * (5 / 3) * (1 + scaled) * decay
    within = kernel.scaled[seen.network]
    by_column = 2 * (slope.sum(axis=1) @ within**2 - (within * (slope @ within)).sum(axis=0))
    gradient[len(NAMES) :] += np.bincount(features.groups, by_column, features.count)
    return float(loss), gradient
