"""Promotion of networks from rung to rung: the best share of those at a rung are trained to the next one."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.table_replay.replay import Replay

Order = Callable[[NDArray[np.float64]], NDArray[np.intp]]  # the indices of points (n, 2) from best to worst


def promotion(replay: Replay, order: Order, eta: int) -> tuple[int, int] | None:
    """Return the next promotion (network, rung), from the best 1 / `eta` of the highest possible rung, or None.

    Networks that were trained to a higher rung also count as promoted if they skipped a rung.
    """
    for rung in reversed(range(replay.top)):
        members = replay.trained(rung)
        places = len(members) // eta
        if sum(max(replay.errors[member]) > rung for member in members) < places:
            points = points_at(replay, members, rung)
            for place in order(points)[:places]:
                if max(replay.errors[members[place]]) == rung:
                    return members[place], rung + 1
    return None


def points_at(replay: Replay, networks: list[int], rung: int) -> NDArray[np.float64]:
    """Return (latency on the axis of the box, error in percent) of networks that were trained to a rung, (n, 2)."""
    latency = np.array([replay.latency[network] for network in networks])
    errors = np.array([replay.errors[network][rung] for network in networks])
    return np.column_stack([replay.box.position(latency), errors])


def rest_promoted(replay: Replay, order: Order) -> None:
    """Promote the remaining networks in order, once every network was started."""
    while replay.open and (step := promotion(replay, order, 1)):
        replay.train(*step)
