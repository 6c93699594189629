"""The interface of a sampler."""

from abc import abstractmethod
from typing import Protocol as Interface

from optuna import Study
from optuna.samplers import BaseSampler


class Policy(Interface):
    """Decides which networks are trained and for how many epochs."""

    @abstractmethod
    def can_reach(self, study: Study, fingerprint: str) -> bool:
        """Return whether a measured, untrained network could join the front at its latency."""

    @abstractmethod
    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """Return whether a network that was just scored at a rung should be trained further."""


class StudySampler(BaseSampler, Policy):
    """An Optuna sampler that also decides for how many epochs each network is trained."""
