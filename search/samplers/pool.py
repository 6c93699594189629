"""New networks for a search to choose from: drawn at random, and near those that did well."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.samplers.candidates import describe
from search.task import Task
from space import decode
from threshnet.spec import NetworkSpec

SIZE = 192  # networks in a pool, as far as the space has them
RENEWED = 24  # of them replaced in each round
NEAR = 0.5  # share of the draws that differ from a parent in a few parameters
CHANGES = 3  # most parameters in which those differ
PATIENCE = 12  # draws for each network wanted, known and costly ones counted; then the pool stays smaller


@dataclass(frozen=True)
class PoolEntry:
    """A network of the pool, and what describes it."""

    spec: NetworkSpec
    described: tuple[float, ...]


class Pool:
    """Networks for a task that no trial had yet, a part of them new in each round."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.rng = np.random.default_rng()
        self.drawn: dict[str, PoolEntry] = {}

    def reseed(self, seed: tuple[int, ...] | None) -> None:
        """Draw from now on as this seed says; None for draws that nobody can repeat."""
        self.rng = np.random.default_rng(seed)

    def renew(self, known: Collection[str], parents: Sequence[Mapping[str, int]]) -> dict[str, PoolEntry]:
        """The next round's networks by fingerprint, none of them `known`; `parents` are parameters to stay near."""
        kept = [name for name in self.drawn if name not in known]
        kept = [kept[place] for place in sorted(self.rng.permutation(len(kept))[: SIZE - RENEWED])]
        self.drawn = {name: self.drawn[name] for name in kept}
        for params in self._draws(PATIENCE * (SIZE - len(self.drawn)), parents):
            spec = decode(self.task.space, params)
            name = spec.fingerprint()
            if name not in known and name not in self.drawn and self.task.fits(spec):
                self.drawn[name] = PoolEntry(spec, describe(spec, self.task.input_size))
            if len(self.drawn) == SIZE:
                break
        return self.drawn

    def _draws(self, number: int, parents: Sequence[Mapping[str, int]]) -> Iterator[dict[str, int]]:
        distributions = self.task.space.distributions()
        for _ in range(number):
            params = {name: int(self.rng.integers(d.low, d.high + 1)) for name, d in distributions.items()}
            if parents and self.rng.random() < NEAR:
                changed = self.rng.permutation(list(params))[: self.rng.integers(1, CHANGES + 1)]
                parent = parents[int(self.rng.integers(len(parents)))]
                params = {name: params[name] if name in changed else parent[name] for name in params}
            yield params
