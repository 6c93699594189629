"""The interface of a sampler."""

from typing import Protocol as Interface

from optuna import Study
from optuna.samplers import BaseSampler


class Policy(Interface):
    """Decides which networks are trained, and how far."""

    def can_reach(self, study: Study, fingerprint: str) -> bool:
        """True if a measured network that is not trained yet could join the front at its latency."""

    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """True if a network that was just scored at a rung should be trained further."""


class StudySampler(BaseSampler, Policy):
    """An Optuna sampler that also decides how far each network is trained."""
