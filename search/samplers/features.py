"""Features of networks for the surrogate, made by one rule for every finite space of choices with descriptors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """k feature columns of n networks, in groups that share a lengthscale.

    The columns of a group are centered and scaled so that the mean squared distance of two networks is 1.
    """

    # (n, k)
    columns: Array
    # Group of each column, (k,), from 0.
    groups: NDArray[np.int64]

    # The descriptor of each column, (k,); -1 for columns of choices.
    descriptors: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0

    def slopes(self, per_deviation: Sequence[float]) -> Array:
        """Return slopes (k,) per unit of a column, from slopes per standard deviation of each descriptor."""
        spread = self.columns.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        found = np.array([per_deviation[place] if place >= 0 else 0.0 for place in self.descriptors])
        return np.asarray(found / spread)

    def first(self, networks: int) -> "Features":
        """Return the features of the first networks only, with the same scale."""
        return replace(self, columns=self.columns[:networks])

    def extended(self, column: Array) -> "Features":
        """Return the features with a further column (n,), which is a group of its own."""
        columns = np.column_stack([self.columns, scale(column[:, None])])
        return Features(columns, np.append(self.groups, self.count), np.append(self.descriptors, -1))


def features_of(
    descriptors: Array, choices: NDArray[np.int64] | None = None, same: Sequence[Sequence[int]] = ()
) -> Features:
    """Return the features of n networks with `descriptors` (n, d) and `choices` (n, c), the indices of options.

    Every descriptor is a group, and every choice is a group of one column for each option. `same` lists the choices
    that have the same options; the numbers of times that each of these options is chosen are further groups.
    """
    blocks = [descriptors[:, [column]] for column in range(descriptors.shape[1])]
    if choices is not None:
        blocks += [np.eye(int(column.max()) + 1)[column] for column in choices.T]
        for alike in same:
            columns = choices[:, list(alike)]
            blocks += [(columns == option).sum(axis=1, keepdims=True) for option in range(int(columns.max()) + 1)]
    if not blocks:
        return Features(np.zeros((len(descriptors), 0)), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    widths = [block.shape[1] for block in blocks]
    places = [place if place < descriptors.shape[1] else -1 for place in range(len(blocks))]
    return Features(
        np.concatenate([scale(block) for block in blocks], axis=1),
        np.repeat(np.arange(len(blocks)), widths),
        np.repeat(places, widths),
    )


def scale(block: Array) -> Array:
    """Center columns (n, k) and scale them to a mean squared distance of 1; equal rows become zeros."""
    if (block == block[:1]).all():  # the mean of equal values may differ from them by a rounding error
        return np.zeros(block.shape)
    centered = block - block.mean(axis=0)
    return np.asarray(centered / np.sqrt(2 * float((centered**2).sum(axis=1).mean())))
