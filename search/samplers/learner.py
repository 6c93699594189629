"""A surrogate that values are added to one by one, and that learns its hyperparameters again as they grow."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.samplers.features import Features
from search.samplers.surrogate import Kernel, Posterior, Values, learnt

Array = NDArray[np.float64]

GROWTH = 1.15  # the hyperparameters are learnt again once the number of values has grown by this factor
MAX_VALUES = 1500  # with more values, the surrogate uses those of the networks nearest the front and a random rest


@dataclass(frozen=True)
class Learnt:
    """Hyperparameters, and the number of values they were learnt from."""

    hyperparameters: Array
    values: int


@dataclass(frozen=True)
class Memory:
    """The hyperparameters of both surrogates, which a later search with the same features can start from."""

    latency: Learnt | None = None
    error: Learnt | None = None


class Learner:
    """A Gaussian process of values that are added one by one.

    Its hyperparameters are learnt again as the number of values grows. `slopes` (k,) is the prior mean change per unit
    of each feature, and `level` is the prior mean before there are values at the end of training.
    """

    def __init__(self, features: Features, slopes: Array, level: float, earlier: Learnt | None) -> None:
        self.features, self.trend, self.level = features, features.columns @ slopes, level
        self.learnt = earlier
        self.values: list[tuple[int, float, float]] = []
        self._posterior: Posterior | None = None
        self._included = 0

    def add(self, network: int, to_go: float, log: float) -> None:
        """Add a value."""
        self.values.append((network, to_go, log))

    def posterior(self, distance: Callable[[], Array] | None = None) -> Posterior:
        """Return the posterior given the values so far.

        If there are more than MAX_VALUES, half of that number are of the networks with the least `distance` (n,), and
        the others are chosen at random.
        """
        count = len(self.values)
        fresh = self.learnt is None or count > GROWTH * self.learnt.values
        if self._posterior is None or fresh or (count > self._included and count > MAX_VALUES):
            values = self._values(0)
            if count > MAX_VALUES:
                values = _part(values, distance() if distance else np.zeros(len(self.trend)))
            ends = values.to_go == 0
            level = float(np.mean((values.logs - self.trend[values.network])[ends])) if ends.any() else self.level
            if self.learnt is None or fresh:
                start = self.learnt.hyperparameters if self.learnt else None
                self.learnt = Learnt(learnt(self.features, level + self.trend, values, start), count)
            kernel = Kernel(self.features, self.learnt.hyperparameters)
            self._posterior = Posterior(kernel, level + self.trend, values)
        elif count > self._included:
            self._posterior.extend(self._values(self._included))
        self._included = count
        return self._posterior

    def _values(self, first: int) -> Values:
        network, to_go, logs = zip(*self.values[first:], strict=True) if self.values[first:] else ((), (), ())
        return Values(np.array(network, dtype=np.int64), np.array(to_go, dtype=np.float64), np.array(logs))


def _part(values: Values, distance: Array) -> Values:
    """Return MAX_VALUES values: half are of the networks with the least `distance` (n,), the others are random."""
    order = np.argsort(distance[values.network], kind="stable")
    rest = np.random.default_rng(len(order)).permutation(order[MAX_VALUES // 2 :])
    chosen = np.sort(np.concatenate([order[: MAX_VALUES // 2], rest[: MAX_VALUES - MAX_VALUES // 2]]))
    return Values(values.network[chosen], values.to_go[chosen], values.logs[chosen])
