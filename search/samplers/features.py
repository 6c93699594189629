"""Features of networks for the surrogate, made by one rule for every finite space of choices with descriptors."""

from collections.abc import Sequence
from dataclasses import dataclass

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

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0


def features_of(
    descriptors: Array, choices: NDArray[np.int64] | None = None, same: Sequence[Sequence[int]] = ()
) -> Features:
    """Return the features of n networks with `descriptors` (n, d) and `choices` (n, c), the indices of options.

    Every descriptor is a group, and every choice is a group of one column for each option. `same` lists the choices
    that have the same options; the numbers of times that each of these options is chosen are further groups.
    """
    blocks = [descriptors[:, [column]] for column in range(descriptors.shape[1])]
    if choices is not None:
        for column in choices.T:
            blocks.append(np.eye(int(column.max()) + 1)[column])
        for alike in same:
            options = int(choices[:, list(alike)].max()) + 1
            counts = np.array([(choices[:, list(alike)] == option).sum(axis=1) for option in range(options)]).T
            blocks += [counts[:, [option]].astype(np.float64) for option in range(options)]
    scaled = [scale(block) for block in blocks]
    kept = [block for block in scaled if block is not None]
    groups = [np.full(block.shape[1], place) for place, block in enumerate(kept)]
    return Features(np.concatenate(kept, axis=1), np.concatenate(groups))


def scale(block: Array) -> Array | None:
    """Center columns (n, k) and scale them to a mean squared distance of 1; returns None if all rows are equal."""
    centered = block - block.mean(axis=0)
    mean_square = 2 * float((centered**2).sum(axis=1).mean())
    return centered / np.sqrt(mean_square) if mean_square > 0 else None
