"""The interface of a sampler."""

from typing import Protocol as Interface

from optuna import Study
from optuna.samplers import BaseSampler


class Policy(Interface):
    """Decides which networks are trained, and how far."""

    def can_reach(self, study: Study, fingerprint: str) -> bool:
        """Whether a network, measured but not trained, could join the front at its latency."""

    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """Whether a network in training, scored at a rung, is to be trained further."""


class StudySampler(BaseSampler, Policy):
    """An Optuna sampler that also decides how far each network is trained."""
