"""What is expected of networks: a Gaussian process over descriptors of a network and how long it was trained.

The log of a network's value at the end, f(x), is a linear trend with a smooth and a private part. What it is when the
training has `d` doublings still to go is c^d f(x) plus a deviation that grows with d as a Brownian motion does, again
with a smooth and a private part: networks lie closer together early in a training, and in a less telling order. After
Swersky, Snoek and Adams, 2014, "Freeze-Thaw Bayesian Optimization", with a kernel of our own.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

BROAD = 1.0  # standard deviation of what is known beforehand of the level of the values
LEARNABLE = 3  # fewest values from which the kernel's parameters are learnt
JITTER = 1e-6  # added to the diagonal
MAX_STEPS = 40  # of the optimiser


@dataclass(frozen=True)
class Shape:
    """Logs of the kernel's parameters; the defaults are the prior's medians."""

    trend: float = np.log(0.1)  # standard deviation of a slope, per standard deviation of a descriptor
    smooth: float = np.log(0.05)  # of the smooth part
    length: float = np.log(2.0)  # over which the smooth part changes, in standard deviations of the descriptors
    private: float = np.log(0.03)  # of what no descriptor tells
    closeness: float = np.log(0.8)  # c above: by how much values move together with each doubling still to go
    drift: float = np.log(0.05)  # of the smooth deviation, one doubling before the end
    private_drift: float = np.log(0.05)  # of the private deviation


PRIOR = np.array(astuple(Shape()))
PRIOR_SD = np.array([0.7, 0.7, 0.5, 0.7, 0.2, 0.7, 0.7])


@dataclass(frozen=True)
class Seen:
    """n values of networks."""

    # Descriptors, standardised, (n, k).
    descriptors: Array
    # Which network each is of, (n,); a network may be seen after several stretches of its training.
    network: NDArray[np.int64]
    # Doublings of the training still to go, (n,); 0 is the end.
    to_go: Array
    # Natural logs of the values, (n,).
    logs: Array


class Surrogate:
    """The process given what was seen.

    `level` is what the log of a value is expected to be beforehand, `slopes` (k,) how it changes with each descriptor,
    per standard deviation; `start` is where the search for the kernel's parameters begins.
    """

    def __init__(self, seen: Seen, level: float, slopes: Array, start: Array = PRIOR) -> None:
        self.seen, self.level, self.slopes = seen, level, slopes
        self.shape = PRIOR
        if len(seen.logs) >= LEARNABLE:
            found = minimize(self._loss, start, method="L-BFGS-B", options={"maxiter": MAX_STEPS})
            self.shape = found.x if np.isfinite(found.fun) else PRIOR
        self.factor = self._factor(self.shape)
        self.weights = cho_solve((self.factor, True), self._residual())

    def predict(self, descriptors: Array, network: NDArray[np.int64]) -> tuple[Array, Array]:
        """Mean (m,) and standard deviation (m,) of the log of the value at the end of the training, of m networks."""
        ahead = Seen(descriptors, network, np.zeros(len(network)), np.zeros(len(network)))
        across = _kernel(self.shape, ahead, self.seen)
        mean = self.level + descriptors @ self.slopes + across @ self.weights
        variance = _paired(self.shape, ahead, ahead) - (self._whitened(across) ** 2).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, JITTER))

    def told(self, descriptors: Array, network: NDArray[np.int64], to_go: Sequence[float]) -> Array:
        """How much of the log's standard deviation at the end, (r, m), values with so much `to_go` (r,) would tell."""
        nothing = np.zeros(len(network))
        end = Seen(descriptors, network, nothing, nothing)
        of_end = self._whitened(_kernel(self.shape, end, self.seen))
        found = []
        for doublings in to_go:
            before = Seen(descriptors, network, np.full(len(network), doublings), nothing)
            of_before = self._whitened(_kernel(self.shape, before, self.seen))
            shared = _paired(self.shape, end, before) - (of_end * of_before).sum(axis=0)
            spread = _paired(self.shape, before, before) - (of_before**2).sum(axis=0)
            found.append(np.abs(shared) / np.sqrt(np.maximum(spread, JITTER)))
        return np.array(found)

    def _whitened(self, across: Array) -> Array:
        return np.asarray(solve_triangular(self.factor, across.T, lower=True))

    def _residual(self) -> Array:
        closeness = np.exp(PRIOR[4]) ** self.seen.to_go
        return np.asarray(self.seen.logs - self.level - closeness * (self.seen.descriptors @ self.slopes))

    def _factor(self, shape: Array) -> Array:
        gram = _kernel(shape, self.seen, self.seen)
        gram[np.diag_indices_from(gram)] += JITTER
        return np.asarray(cholesky(gram, lower=True))

    def _loss(self, shape: Array) -> float:
        """Negative log of the posterior of the kernel's parameters, up to a constant."""
        try:
            factor = self._factor(shape)
        except np.linalg.LinAlgError:
            return np.inf
        whitened = solve_triangular(factor, self._residual(), lower=True)
        misfit = 0.5 * whitened @ whitened + np.log(np.diag(factor)).sum()
        return float(misfit + 0.5 * (((shape - PRIOR) / PRIOR_SD) ** 2).sum())


def _kernel(shape: Array, a: Seen, b: Seen) -> Array:
    """Covariance (n, m) of n values with m others."""
    products = a.descriptors @ b.descriptors.T
    squares = (a.descriptors**2).sum(axis=1)[:, None] + (b.descriptors**2).sum(axis=1)[None, :] - 2 * products
    same = a.network[:, None] == b.network[None, :]
    return _covariance(shape, products, squares, same, a.to_go[:, None], b.to_go[None, :])


def _paired(shape: Array, a: Seen, b: Seen) -> Array:
    """Covariance (n,) of n values with one other each, of the same network."""
    products = (a.descriptors * b.descriptors).sum(axis=1)
    return _covariance(shape, products, np.zeros(len(products)), np.ones(len(products), bool), a.to_go, b.to_go)


def _covariance(
    shape: Array, products: Array, squares: Array, same: NDArray[np.bool_], a_to_go: Array, b_to_go: Array
) -> Array:
    trend, smooth, length, private, closeness, drift, private_drift = np.exp(shape)
    scaled = np.sqrt(5 * np.maximum(squares, 0)) / length
    matern = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)  # Matern 5/2
    at_end = trend**2 * products + smooth**2 * matern + private**2 * same
    early = np.minimum(a_to_go, b_to_go)
    away = drift**2 * matern + private_drift**2 * same
    return np.asarray(closeness ** (a_to_go + b_to_go) * at_end + early * away + BROAD**2 * (1 + early))
