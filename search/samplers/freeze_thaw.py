"""The sampler of this project: trainings are stopped at rungs, and gone on with while they promise most for their cost.

Every decision is one comparison: of all networks that may be trained, new ones and those stopped at a rung, which
promises the most hypervolume per training still to be paid? After Swersky, Snoek and Adams, 2014, "Freeze-Thaw Bayesian
Optimization", for two objectives of which one, latency, is measured before any training.
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
    """Proposes the network of a task that promises most: a new one, or one whose training was stopped at a rung."""

    def __init__(self, task: Task, seed: int | None) -> None:
        self.task, self.seed = task, seed
        self.pool = Pool(task)
        self.spare = RandomSampler(seed)
        self.shape = PRIOR
        self.known = TrialCandidates(task.input_size)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: its parameters are the same in every trial."""
        return dict(self.task.space.distributions())

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The most promising network's parameters; nothing for a queued trial, or where the space is used up."""
        if "fixed_params" in trial.system_attrs:
            return {}
        # By the trial's number: workers that began together must not think alike.
        self.pool.reseed(None if self.seed is None else (self.seed, trial.number))
        trials = latest_trials(study)
        candidates, drawn = self._candidates(study, trials, asking=None)
        if not candidates:
            return {}
        outlook = self._outlook(candidates)
        values = outlook.values()
        if not np.isfinite(values).any():
            return {}
        chosen = candidates[int(np.argmax(values))].fingerprint
        proposal = {"by": type(self).__name__, "among": len(candidates)}
        study._storage.set_trial_user_attr(trial._trial_id, records.PROPOSAL, proposal)
        spec = drawn[chosen].spec if chosen in drawn else network(trials[chosen])
        return dict(encode(self.task.space, spec))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 - Optuna's interface
        """At random, where there was nothing to choose from."""
        return self.spare.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Other draws from now on: Optuna calls this in each of several workers."""
        self.seed = None
        self.spare.reseed_rng()

    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """Whether a network in training, scored at a rung, still promises more than any other."""
        candidates, _ = self._candidates(study, latest_trials(study), asking=fingerprint)
        values = self._outlook(candidates).values()
        return candidates[int(np.argmax(values))].fingerprint == fingerprint

    def can_reach(self, study: Study, fingerprint: str) -> bool:
        """Whether a network, measured but not trained, could join the front at its latency."""
        return can_reach(self.known, latest_trials(study).values(), self.task, fingerprint)

    def _candidates(
        self, study: Study, trials: Mapping[str, FrozenTrial], asking: str | None
    ) -> tuple[list[Candidate], Mapping[str, PoolEntry]]:
        """The networks of a study, the one that is `asking` open, and those of the pool; the latter by name too."""
        drawn = self.pool.renew(trials.keys(), [trial.params for trial in study.best_trials])
        fresh = [Candidate(name, each.described, None, {}, True, "open") for name, each in drawn.items()]
        return [*self.known.candidates(trials.values(), asking), *fresh], drawn

    def _outlook(self, candidates: Sequence[Candidate]) -> Acquisition:
        outlook = Acquisition(candidates, self.task.rungs, self.task.limits.latency_ms, self.shape)
        self.shape = outlook.shape
        return outlook
