"""MO-ASHA with random proposals: asynchronous successive halving that promotes by non-dominated rank.

Schmucker, Donini, Zafar, Salinas, Archambeau, 2021, "Multi-objective asynchronous successive halving", algorithm 1 with
the epsilon-net of section 4: within a rank, the next point is the one farthest from all previous points. This
implementation uses one worker.
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.table_replay.promotion import promotion, rest_promoted
from benchmarks.table_replay.replay import Replay
from search.pareto import non_dominated

ETA = 2  # one of every ETA networks is promoted


def mo_asha(replay: Replay, seed: int) -> None:
    """Promote a network, starting at the highest rung, or else start the next network in random order.

    Two changes favour MO-ASHA: no network is started twice, and once all networks were started, those not yet promoted
    are promoted in order of rank.
    """
    for network in replay.starts:
        replay.train(network, 0)
        replay.train(network, replay.top)
    order = np.random.default_rng(seed).permutation(replay.networks).tolist()
    while replay.open and order:
        if step := promotion(replay, ranking, ETA):
            replay.train(*step)
        else:
            replay.train(order.pop(), 0)
    rest_promoted(replay, ranking)


def ranking(points: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices of points (n, 2), to be minimized, sorted by front and by epsilon-net within each front."""
    remaining = np.arange(len(points))
    ranked: list[NDArray[np.intp]] = []
    while len(remaining):
        front = non_dominated(points[remaining])
        ranked.append(remaining[front][epsilon_net(points[remaining][front])])
        remaining = remaining[~front]
    return np.concatenate(ranked) if ranked else np.zeros(0, dtype=np.intp)


def epsilon_net(points: NDArray[np.float64]) -> list[int]:
    """Order points (n, 2): the fastest first, then always the point farthest from all previous ones, on scaled axes."""
    spread = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(spread > 0, spread, 1)
    order = [int(np.lexsort((points[:, 1], points[:, 0]))[0])]
    nearest = np.full(len(points), np.inf)
    while len(order) < len(points):
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[order[-1]], axis=1))
        nearest[order] = -1.0
        order.append(int(nearest.argmax()))
    return order
