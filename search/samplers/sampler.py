"""The interface of a sampler."""

from abc import abstractmethod
from typing import Literal
from typing import Protocol as Interface

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from search.task import Task

Decision = Literal["train", "later", "never"]


class Policy(Interface):
    """Decides which networks are trained and for how many epochs."""

    @abstractmethod
    def decide(self, study: Study, fingerprint: str) -> Decision:
        """Return whether a measured, untrained network is trained now, may be trained later, or cannot join the front.

        A network that may be trained later can be proposed again. Its latency is not measured again.
        """

    @abstractmethod
    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """Return whether a network that was just scored at a rung should be trained further."""


class StudySampler(BaseSampler, Policy):
    """An Optuna sampler that also decides for how many epochs each network is trained."""

    task: Task

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole search space; every trial has the same parameters."""
        return dict(self.task.space.distributions())
