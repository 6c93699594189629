"""MO-ASHA with random proposals: asynchronous successive halving that promotes by non-dominated rank.

Schmucker, Donini, Zafar, Salinas, Archambeau, 2021, "Multi-objective asynchronous successive halving", algorithm 1 with
the epsilon-net of section 4: within a rank, the next point is the one farthest from all previous points. This
implementation uses one worker.
"""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_efficiency.replay import TOP, Replay
from search.pareto import non_dominated

ETA = 2  # one of every ETA networks is promoted; also the factor between rungs


def mo_asha(replay: Replay, seed: int) -> None:
    """Promote a network, starting at the highest rung, or else start the next network in random order.

    Two changes favour MO-ASHA: no network is started twice, and once all networks were started, those not yet promoted
    are promoted in order of rank.
    """
    order = random.Random(seed).sample(range(len(replay.entries)), len(replay.entries))
    rungs: list[list[int]] = [[] for _ in range(TOP + 1)]  # networks trained to at least this rung
    while replay.open:
        step = promotion(replay, rungs, ETA)
        if step is None and len(rungs[0]) < len(order):
            step = (order[len(rungs[0])], 0)
        step = step or promotion(replay, rungs, 1)
        if step is None:
            return
        index, rung = step
        replay.train(index, rung)
        rungs[rung].append(index)


def promotion(replay: Replay, rungs: Sequence[Sequence[int]], eta: int) -> tuple[int, int] | None:
    """Return the next promotion (network, rung) from the top 1 / eta of the highest possible rung, or None."""
    for rung in reversed(range(TOP)):
        known, members = set(rungs[rung + 1]), rungs[rung]
        if len(members) // eta > len(known):
            points = [(replay.entries[index].latency_ms, replay.entries[index].errors[rung]) for index in members]
            for place in ranking(np.array(points))[: len(members) // eta]:
                if members[place] not in known:
                    return members[place], rung + 1
    return None


def ranking(points: NDArray[np.float64]) -> list[int]:
    """Return the indices of points (n, 2), to be minimised, sorted by front and by epsilon-net within each front."""
    remaining = np.arange(len(points))
    ranked: list[int] = []
    while len(remaining):
        front = non_dominated(points[remaining])
        ranked += remaining[front][epsilon_net(points[remaining][front])].tolist()
        remaining = remaining[~front]
    return ranked


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
