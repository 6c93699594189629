"""How the logs of networks' values vary together, at the end of a training and before it.

At the end a value is a linear trend with a smooth and a private part, f. With `d` doublings of the training to go it is
c^d f plus a deviation that grows with d as a Brownian motion does, again with a smooth and a private part: networks lie
closer together early in a training, and in a less telling order. The smooth parts have Matern 5/2 covariance.
"""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

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
