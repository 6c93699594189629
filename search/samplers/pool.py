"""A pool of new networks for the sampler: random networks and variations of the best networks so far."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.samplers.candidates import descriptors_of
from search.task import Task
from space import decode
from threshnet.spec import NetworkSpec

POOL_SIZE = 192  # number of networks in a pool, or fewer if the search space is small
RENEWED_PER_ROUND = 24  # number of networks in the pool that are replaced in each round
NEAR_PARENT_SHARE = 0.5  # share of the draws that vary a parent
MAX_CHANGES = 3  # maximum number of parameters in which a variation differs from its parent
DRAWS_PER_NETWORK = 12  # maximum number of draws per new network, including duplicates and infeasible networks


@dataclass(frozen=True)
class PoolEntry:
    """A network in the pool and its descriptors."""

    spec: NetworkSpec
    descriptors: tuple[float, ...]


class Pool:
    """Networks that no trial of the study has proposed yet; some are replaced in each round."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.rng = np.random.default_rng()
        self.entries: dict[str, PoolEntry] = {}

    def reseed(self, seed: tuple[int, ...] | None) -> None:
        """Seed all later draws; with None, they are not reproducible."""
        self.rng = np.random.default_rng(seed)

    def renew(self, seen: Collection[str], parents: Sequence[Mapping[str, int]]) -> dict[str, PoolEntry]:
        """Return the networks of the next round, keyed by fingerprint.

        `seen` contains the fingerprints to exclude. `parents` contains the parameters of the networks to vary.
        """
        kept = [name for name in self.entries if name not in seen]
        kept = [kept[place] for place in sorted(self.rng.permutation(len(kept))[: POOL_SIZE - RENEWED_PER_ROUND])]
        self.entries = {name: self.entries[name] for name in kept}
        for params in self._draws(DRAWS_PER_NETWORK * (POOL_SIZE - len(self.entries)), parents):
            spec = decode(self.task.space, params)
            name = spec.fingerprint()
            if name not in seen and name not in self.entries and self.task.fits(spec):
                self.entries[name] = PoolEntry(spec, descriptors_of(spec, self.task.input_size))
            if len(self.entries) == POOL_SIZE:
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
