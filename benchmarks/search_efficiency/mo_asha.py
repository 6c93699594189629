"""MO-ASHA with random proposals: asynchronous successive halving that promotes by non-dominated rank.

Schmucker, Donini, Zafar, Salinas, Archambeau, 2021, "Multi-objective asynchronous successive halving", algorithm 1 with
the epsilon-net of section 4: within a rank those come first that lie farthest from the ones before them. One worker.
"""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_efficiency.replay import TOP, Replay
from search.pareto import non_dominated

ETA = 2  # one of so many is promoted; the rungs are as far apart


def mo_asha(replay: Replay, seed: int) -> None:
    """Promote what can be promoted, from the highest rung down, else begin the next network in a random order.

    In its favour no network is begun twice, and once all are begun those not yet promoted follow in their order.
    """
    order = random.Random(seed).sample(range(len(replay.entries)), len(replay.entries))
    rungs: list[list[int]] = [[] for _ in range(TOP + 1)]  # the networks that were trained so far or farther
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
    """A network among the first 1 / eta of its rung that the next rung has not, with that rung; highest rungs first."""
    for rung in reversed(range(TOP)):
        known, members = set(rungs[rung + 1]), rungs[rung]
        if len(members) // eta > len(known):
            points = [(replay.entries[index].latency_ms, replay.entries[index].errors[rung]) for index in members]
            for place in ranking(np.array(points))[: len(members) // eta]:
                if members[place] not in known:
                    return members[place], rung + 1
    return None


def ranking(points: NDArray[np.float64]) -> list[int]:
    """Indices of points (n, 2), both columns minimised: front by front, each as an epsilon-net spreads it."""
    left = np.arange(len(points))
    ranked: list[int] = []
    while len(left):
        first = non_dominated(points[left])
        ranked += left[first][epsilon_net(points[left][first])].tolist()
        left = left[~first]
    return ranked


def epsilon_net(points: NDArray[np.float64]) -> list[int]:
    """Indices of points (n, 2), the fastest first, then always the farthest from those before; axes to their range."""
    spread = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(spread > 0, spread, 1)
    order = [int(np.lexsort((points[:, 1], points[:, 0]))[0])]
    nearest = np.full(len(points), np.inf)
    while len(order) < len(points):
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[order[-1]], axis=1))
        nearest[order] = -1.0
        order.append(int(nearest.argmax()))
    return order
