"""The lowest possible cost: how few trainings can reach a share of the front if all outcomes were known."""

import numpy as np

from benchmarks.table_replay.replay import DIGITS, Replay
from search.pareto import non_dominated


def best_shares(replay: Replay) -> list[float]:
    """Return the largest share that 1, 2, ... networks can reach, up to the size of the true front.

    The result is exact. It uses dynamic programming over the front sorted by latency, since the area that a network
    adds depends only on the previously chosen network (Bringmann et al., 2014, "Two-dimensional subset selection for
    hypervolume and epsilon-indicator"; this implementation takes O(k n^2)).
    """
    table, box = replay.table, replay.box
    points = box.placed(np.column_stack([table.latency[replay.networks], table.errors[replay.networks, -1]]))
    right, top = box.placed(box.reference)[0]
    points = np.unique(points[(points[:, 0] < right) & (points[:, 1] < top)], axis=0)
    x, y = points[non_dominated(points)].T
    # step[i, j]: area that network i covers up to the next chosen network j.
    step = np.where(np.subtract.outer(x, x) < 0, (x[None, :] - x[:, None]) * (top - y[:, None]), -np.inf)
    last = (right - x) * (top - y)
    area = np.zeros(len(x))  # largest area to the left of each network if it is the last one chosen
    shares = []
    for _ in x:
        shares.append(round(float((area + last).max() / replay.full), DIGITS))
        area = (area[:, None] + step).max(axis=0)
    return shares


def fewest(replay: Replay, share: float) -> int:
    """Return the minimum number of fully trained networks that reach a share of the true front's hypervolume."""
    return next(number for number, best in enumerate(best_shares(replay), start=1) if best >= share)
