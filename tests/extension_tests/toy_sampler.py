"""A sampler that proposes small networks."""

import math
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from search.samplers.distinct import DistinctSampler
from search.task import Task
from space import decode

DRAWS = 10  # random networks per proposal


class SmallestOfTen(RandomSampler):
    """Draws ten networks at random and proposes the one with the fewest parameters."""

    def __init__(self, task: Task, seed: int | None) -> None:
        super().__init__(seed)
        self.task = task

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One integer for each parameter of the space."""
        draws = [
            {name: self.sample_independent(study, trial, name, each) for name, each in search_space.items()}
            for _ in range(DRAWS)
        ]
        return min(draws, key=self._params)

    def _params(self, draw: dict[str, Any]) -> float:
        costs, _ = self.task.counted(decode(self.task.space, draw))
        return math.inf if costs is None else costs.params


def smallest(task: Task, seed: int | None) -> DistinctSampler:
    """The sampler of a study: it never proposes a network twice."""
    return DistinctSampler(SmallestOfTen(task, seed), task, seed)
