"""A Gaussian process over the logs of networks' values, from descriptors of a network and how long it was trained.

After Swersky, Snoek and Adams, 2014, "Freeze-Thaw Bayesian Optimization", with a kernel of our own. At the end of a
training a value is f: a linear trend plus a smooth and a private part. With `d` doublings of the training left it is
c^d f plus a deviation that grows with d like Brownian motion, again with a smooth and a private part: early in training
networks lie closer together, and their order is less informative. The smooth parts have Matern 5/2 covariance.
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

BROAD = 1.0  # standard deviation of what is known beforehand of the level of the values


@dataclass(frozen=True)
class Shape:
    """Logs of the kernel's parameters; the defaults are the prior's medians."""

    trend: float = np.log(0.03)  # standard deviation of a slope, per standard deviation of a descriptor
    smooth: float = np.log(0.1)  # of the smooth part
    length: float = np.log(4.0)  # over which the smooth part changes, in standard deviations of the descriptors
    private: float = np.log(0.015)  # of what no descriptor tells
    closeness: float = np.log(0.8)  # c above: by how much values move together with each doubling still to go
    drift: float = np.log(0.05)  # of the smooth deviation, one doubling before the end
    private_drift: float = np.log(0.05)  # of the private deviation


PRIOR = np.array(astuple(Shape()))
PRIOR_SD = np.array([0.7, 0.7, 0.5, 0.7, 0.2, 0.7, 0.7])


@dataclass(frozen=True)
class Values:
    """n values: what describes their networks, which networks they are, and when in a training they are taken."""

    # Descriptors, standardised, (n, k).
    descriptors: Array
    # Which network each is of, (n,); a network may have several values.
    network: NDArray[np.int64]
    # Doublings of the training still to go, (n,); 0 is the end.
    to_go: Array


@dataclass(frozen=True)
class Pairs:
    """What the covariance of pairs of values depends on; all fields have one shape."""

    # Scalar products of the descriptors, and squared distances.
    products: Array
    squares: Array
    # Whether both are of one network.
    same: NDArray[np.bool_]
    # Sum of the doublings to go, and the smaller of the two.
    sums: Array
    early: Array


def every_pair(a: Values, b: Values) -> Pairs:
    """Each of n values with each of m, (n, m)."""
    products = a.descriptors @ b.descriptors.T
    lengths = (a.descriptors**2).sum(axis=1)[:, None] + (b.descriptors**2).sum(axis=1)[None, :]
    return Pairs(
        products=products,
        squares=np.maximum(lengths - 2 * products, 0),
        same=a.network[:, None] == b.network[None, :],
        sums=a.to_go[:, None] + b.to_go[None, :],
        early=np.minimum(a.to_go[:, None], b.to_go[None, :]),
    )


def own_pairs(a: Values, b: Values) -> Pairs:
    """Each of n values with the one of the same network in its place, (n,)."""
    products = (a.descriptors * b.descriptors).sum(axis=1)
    nothing = np.zeros(len(products))
    return Pairs(products, nothing, np.ones(len(products), bool), a.to_go + b.to_go, np.minimum(a.to_go, b.to_go))


def covariance(shape: Array, pairs: Pairs) -> Array:
    """Covariances, in the pairs' shape."""
    trend, smooth, _, private, closeness, drift, private_drift = np.exp(shape)
    matern, _ = _matern(shape, pairs)
    at_end = trend**2 * pairs.products + smooth**2 * matern + private**2 * pairs.same
    away = drift**2 * matern + private_drift**2 * pairs.same
    return np.asarray(closeness**pairs.sums * at_end + pairs.early * away + BROAD**2 * (1 + pairs.early))


def derivatives(shape: Array, pairs: Pairs) -> tuple[Array, ...]:
    """Derivatives of the covariances by each entry of `shape`, in its order."""
    trend, smooth, _, private, closeness, drift, private_drift = np.exp(shape)
    matern, by_length = _matern(shape, pairs)
    near = closeness**pairs.sums
    by_trend, by_private = 2 * near * trend**2 * pairs.products, 2 * near * private**2 * pairs.same
    by_smooth = 2 * near * smooth**2 * matern
    return (
        by_trend,
        by_smooth,
        (near * smooth**2 + pairs.early * drift**2) * by_length,
        by_private,
        pairs.sums * (by_trend + by_smooth + by_private) / 2,
        2 * pairs.early * drift**2 * matern,
        2 * pairs.early * private_drift**2 * pairs.same,
    )


def _matern(shape: Array, pairs: Pairs) -> tuple[Array, Array]:
    """The Matern 5/2 correlations, and their derivatives by the log of the length."""
    scaled = np.sqrt(5 * pairs.squares) / np.exp(shape[2])
    decay = np.exp(-scaled)
    return (1 + scaled + scaled**2 / 3) * decay, scaled**2 * (1 + scaled) / 3 * decay


LEARNABLE = 3  # fewest values from which the kernel's parameters are learnt
JITTER = 1e-6  # added to the diagonal
MAX_STEPS = 40  # of the optimiser
REACH = 5.0  # standard deviations of the prior: how far from its median a parameter may be learnt to lie

# The matrices are small: several threads would mostly wait for each other, and for trainings beside them.
_BLAS = ThreadpoolController()


@dataclass(frozen=True)
class Observations(Values):
    """Values that are known."""

    # Natural logs of the values, (n,).
    logs: Array


class Surrogate:
    """The process given what was seen.

    `level` is what the log of a value is expected to be beforehand, `slopes` (k,) how it changes with each descriptor,
    per standard deviation; `start` is where the search for the kernel's parameters begins.
    """

    def __init__(self, seen: Observations, level: float, slopes: Array, start: Array = PRIOR) -> None:
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
