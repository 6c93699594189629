"""Freeze-thaw, the default sampler: it stops trainings at rungs and resumes the one with the highest acquisition value.

Each decision compares all new networks and all networks stopped at a rung. It selects the network with the highest
expected hypervolume improvement per remaining training cost. The method follows Swersky, Snoek and Adams, 2014,
"Freeze-Thaw Bayesian Optimization", extended to two objectives. One of the objectives, latency, is measured before any
training.
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
    """Proposes the new or stopped network with the highest acquisition value."""

    def __init__(self, task: Task, seed: int | None) -> None:
        self.task, self.seed = task, seed
        self.pool = Pool(task)
        self.fallback = RandomSampler(seed)
        self.hyperparameters = PRIOR
        self.trial_candidates = TrialCandidates(task.input_size)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of the network with the highest acquisition value.

        The result is empty if the trial was queued or the search space is exhausted.
        """
        if "fixed_params" in trial.system_attrs:
            return {}
        # The seed includes the trial number, so that workers that start together draw different networks.
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
        """Sample a random value; used if the search space is exhausted."""
        return self.fallback.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Draw without a seed from now on; Optuna calls this in each parallel worker."""
        self.seed = None
        self.fallback.reseed_rng()

    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """Return whether a network that was just scored at a rung still has the highest acquisition value."""
        candidates, _ = self._candidates(study, latest_trials(study), current=fingerprint)
        values = self._acquisition(candidates).values()
        return candidates[int(np.argmax(values))].fingerprint == fingerprint

    def can_reach(self, study: Study, fingerprint: str) -> bool:
        """Return whether a measured, untrained network could join the front at its latency."""
        return can_reach(self.trial_candidates, study, self.task, fingerprint)

    def _candidates(
        self, study: Study, trials: Mapping[str, FrozenTrial], current: str | None = None
    ) -> tuple[list[Candidate], Mapping[str, PoolEntry]]:
        """Return the networks of the study and the pool as candidates, and the pool keyed by fingerprint.

        `current` is the fingerprint of the network in the running trial. This network is "open", not "busy".
        """
        pool = self.pool.renew(trials.keys(), [trial.params for trial in study.best_trials if trial.params])
        fresh = [Candidate(name, entry.descriptors, None, {}, True, "open") for name, entry in pool.items()]
        return [*self.trial_candidates.candidates(study, trials, current), *fresh], pool

    def _acquisition(self, candidates: Sequence[Candidate]) -> Acquisition:
        acquisition = Acquisition(candidates, self.task.rungs, self.task.limits.latency_ms, self.hyperparameters)
        self.hyperparameters = acquisition.hyperparameters
        return acquisition
