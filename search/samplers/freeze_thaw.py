"""Freeze-thaw, the default sampler: trainings are stopped at rungs and resumed if their acquisition value is highest.

Every decision is one comparison: among new networks and those stopped at a rung, which has the highest expected
hypervolume improvement per cost of the training that is left? After Swersky, Snoek and Adams, 2014, "Freeze-Thaw
Bayesian Optimization", for two objectives of which one, latency, is measured before any training.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from search import records
from search.claims import latest_trials
from search.samplers.acquisition import Acquisition, can_reach
from search.samplers.candidates import Candidate, TrialCandidates, network
from search.samplers.pool import Pool, PoolEntry
from search.samplers.sampler import StudySampler
from search.samplers.surrogate import PRIOR
from search.task import Task
from space import encode


class FreezeThawSampler(StudySampler):
    """Proposes the network with the highest acquisition value: a new one, or one that was stopped at a rung."""

    def __init__(self, task: Task, seed: int | None) -> None:
        self.task, self.seed = task, seed
        self.pool = Pool(task)
        self.fallback = RandomSampler(seed)
        self.hyperparameters = PRIOR
        self.trial_candidates = TrialCandidates(task.input_size)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space, whose parameters are the same in every trial."""
        return dict(self.task.space.distributions())

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Parameters of the network with the highest acquisition value.

        Empty for a queued trial, and if the space is exhausted.
        """
        if "fixed_params" in trial.system_attrs:
            return {}
        # Seeded by the trial's number: workers that started together must draw different networks.
        self.pool.reseed(None if self.seed is None else (self.seed, trial.number))
        trials = latest_trials(study)
        candidates, pool = self._candidates(study, trials)
        if not candidates:
            return {}
        values = self._acquisition(candidates).values()
        if not np.isfinite(values).any():
            return {}
        chosen = candidates[int(np.argmax(values))].fingerprint
        proposal = {"by": type(self).__name__, "among": len(candidates)}
        study._storage.set_trial_user_attr(trial._trial_id, records.PROPOSAL, proposal)
        spec = pool[chosen].spec if chosen in pool else network(trials[chosen])
        return dict(encode(self.task.space, spec))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 - Optuna's interface
        """A random value, used if there was nothing to choose from."""
        return self.fallback.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Draw without a seed from now on; Optuna calls this in each parallel worker."""
        self.seed = None
        self.fallback.reseed_rng()

    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """True if a network that was just scored at a rung still has the highest acquisition value."""
        candidates, _ = self._candidates(study, latest_trials(study), current=fingerprint)
        values = self._acquisition(candidates).values()
        return candidates[int(np.argmax(values))].fingerprint == fingerprint

    def can_reach(self, study: Study, fingerprint: str) -> bool:
        """True if a measured network that is not trained yet could join the front at its latency."""
        return can_reach(self.trial_candidates, latest_trials(study).values(), self.task, fingerprint)

    def _candidates(
        self, study: Study, trials: Mapping[str, FrozenTrial], current: str | None = None
    ) -> tuple[list[Candidate], Mapping[str, PoolEntry]]:
        """The networks of a study and those of the pool as candidates, and the pool by fingerprint.

        `current` is the network that the running trial asks about; it is open, not busy.
        """
        pool = self.pool.renew(trials.keys(), [trial.params for trial in study.best_trials])
        fresh = [Candidate(name, entry.descriptors, None, {}, True, "open") for name, entry in pool.items()]
        return [*self.trial_candidates.candidates(trials.values(), current), *fresh], pool

    def _acquisition(self, candidates: Sequence[Candidate]) -> Acquisition:
        acquisition = Acquisition(candidates, self.task.rungs, self.task.limits.latency_ms, self.hyperparameters)
        self.hyperparameters = acquisition.hyperparameters
        return acquisition
