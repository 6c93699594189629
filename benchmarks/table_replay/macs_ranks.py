"""A search without a model: all latencies are read, and the fronts of (latency, most MACs) are trained rank by rank."""

import numpy as np

from benchmarks.table_replay.replay import Replay
from search.pareto import non_dominated

SIZES = ("macs", "params", "weights")  # descriptors that tell the size of a network, the best first


def macs_ranks(replay: Replay, _seed: int) -> None:
    """Train the networks that are the largest for their latency, then the next rank, and so on.

    The size is the first of SIZES that the table has as a descriptor, or else the sum of all its descriptors.
    """
    for network in replay.starts:
        replay.train(network, replay.top)
    names, described = replay.table.descriptor_names, replay.table.descriptors
    known = next((names.index(name) for name in SIZES if name in names), None)
    size = described.sum(axis=1) if known is None else described[:, known]
    left = replay.networks
    latency = np.array([replay.read(int(network)) for network in left])
    while replay.open and len(left):
        rank = non_dominated(np.column_stack([latency, -size[left]]))
        for network in left[rank][np.argsort(latency[rank])]:
            if replay.open:
                replay.train(int(network), replay.top)
        left, latency = left[~rank], latency[~rank]
