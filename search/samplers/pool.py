"""A pool of new networks for the sampler: random networks and variations of the most promising networks."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.samplers.candidates import descriptors_of
from search.task import Task
from space import decode
from threshnet.spec import NetworkSpec

POOL_SIZE = 2000  # maximum number of networks in a pool
FIRST_ROUND = 150  # number of networks that are added in the first round
ADDED_PER_ROUND = 50  # number of networks that are added in every other round
NEAR_PARENT_SHARE = 0.7  # share of the draws that vary a parent
MAX_CHANGES = 3  # maximum number of parameters in which a variation differs from its parent
DRAWS_PER_NETWORK = 12  # maximum number of draws per new network, including duplicates and infeasible networks


@dataclass(frozen=True)
class PoolEntry:
    """A network in the pool, its parameters and its descriptors."""

    spec: NetworkSpec
    params: Mapping[str, int]
    descriptors: tuple[float, ...]


class Pool:
    """Networks that no trial of the study has proposed yet. The pool grows in each round until it is full."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.rng = np.random.default_rng()
        self.entries: dict[str, PoolEntry] = {}

    def reseed(self, seed: tuple[int, ...] | None) -> None:
        """Seed all later draws; with None, they are not reproducible."""
        self.rng = np.random.default_rng(seed)

    def renew(
        self, seen: Collection[str], parents: Sequence[Mapping[str, int]], worth: Mapping[str, float]
    ) -> dict[str, PoolEntry]:
        """Return the networks of the next round, keyed by fingerprint.

        `seen` contains the fingerprints to exclude. `parents` contains the parameters of the networks to vary. If the
        pool is full, the networks of least `worth` leave it; networks without a worth stay.
        """
        self.entries = {name: entry for name, entry in self.entries.items() if name not in seen}
        added = ADDED_PER_ROUND if self.entries else FIRST_ROUND
        excess = max(0, len(self.entries) + added - POOL_SIZE)
        for name in sorted(self.entries, key=lambda name: worth.get(name, np.inf))[:excess]:
            del self.entries[name]
        most = len(self.entries) + added
        for params in self._draws(DRAWS_PER_NETWORK * added, parents):
            spec = decode(self.task.space, params)
            name = spec.fingerprint()
            if name not in seen and name not in self.entries and self.task.fits(spec):
                self.entries[name] = PoolEntry(spec, params, descriptors_of(spec, self.task.input_size))
            if len(self.entries) == most:
                break
        return self.entries

    def _draws(self, number: int, parents: Sequence[Mapping[str, int]]) -> Iterator[dict[str, int]]:
        distributions = self.task.space.distributions()
        for _ in range(number):
            params = {name: int(self.rng.integers(d.low, d.high + 1)) for name, d in distributions.items()}
            if parents and self.rng.random() < NEAR_PARENT_SHARE:
                changed = self.rng.permutation(list(params))[: self.rng.integers(1, MAX_CHANGES + 1)]
                parent = parents[int(self.rng.integers(len(parents)))]
                params = {name: params[name] if name in changed else parent[name] for name in params}
            yield params
