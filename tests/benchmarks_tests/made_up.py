"""Synthetic tables for tests: a few networks at given points, or the whole space with errors that depend on MACs."""

import math
import random
from collections.abc import Sequence
from functools import cache

from benchmarks.threshbench.table import INPUT_SIZE, RUNGS, SPACE, Entry, Table, Trained, networks
from space import encode
from threshnet.costs import count
from threshnet.spec import NetworkSpec

ABOUT = {
    "table": "made_up",
    "caveat": "nothing was trained",
    "images": {"train": 320, "validation": 200, "hash": "0"},
    "rungs": list(RUNGS),
    "passes_per_epoch": 320,
    "environment": {"processor": "abacus"},
}


def entry(spec: NetworkSpec, latency_ms: float, errors: Sequence[float], *further: Sequence[float]) -> Entry:
    """An entry with the errors of one or more trainings."""
    trained = tuple(Trained(seed, tuple(each), seconds=1.0) for seed, each in enumerate((errors, *further)))
    interval = (0.99 * latency_ms, 1.01 * latency_ms)
    return Entry(encode(SPACE, spec), spec, count(spec, INPUT_SIZE), latency_ms, interval, trained)


def table_of(points: Sequence[tuple[float, float]]) -> Table:
    """A table of networks at (latency in ms, final error in percent); each lower rung is 5 points worse."""
    specs = list(all_networks())[: len(points)]
    entries = [
        entry(spec, latency, [error + 5.0 * below for below in reversed(range(len(RUNGS)))])
        for spec, (latency, error) in zip(specs, points, strict=True)
    ]
    return Table(ABOUT, tuple(entries))


@cache
def whole_table(seed: int = 0) -> Table:
    """A table of all networks: latency and error depend on MACs, layers and links, with more noise at lower rungs."""
    rng = random.Random(seed)
    entries = []
    for spec in all_networks():
        size = math.log(count(spec, INPUT_SIZE).macs / 1e6)
        depth = sum(block.depth for block in spec.blocks)
        links = sum(len(layer) for block in spec.blocks for layer in block.links)
        own = rng.gauss(0.0, 1.0)
        errors = [
            38.0 - 9.0 * size - 0.6 * links + 30.0 / epochs + own + rng.gauss(0.0, 3.0 / epochs) for epochs in RUNGS
        ]
        latency = 0.05 + 0.02 * math.exp(size) + 0.015 * depth + 0.004 * links
        entries.append(entry(spec, latency * math.exp(rng.gauss(0.0, 0.02)), errors, [e + 1 for e in errors]))
    return Table(ABOUT, tuple(entries))


@cache
def all_networks() -> tuple[NetworkSpec, ...]:
    """All networks of the space."""
    return tuple(networks().values())
