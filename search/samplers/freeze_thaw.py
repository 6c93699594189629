"""Freeze-thaw, the default sampler: it stops trainings at rungs and resumes the one with the highest acquisition value.

Each decision compares all new networks, those that were only measured and those stopped at a rung. It selects the
network with the highest expected hypervolume improvement per remaining cost. The method follows Swersky, Snoek and
Adams, 2014, "Freeze-Thaw Bayesian Optimization", extended to two objectives. One of the objectives, latency, is
measured before any training, and a network can be measured without being trained.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from search import records
from search.claims import latest_trials
from search.pareto import knee, non_dominated
from search.samplers.acquisition import Acquisition
from search.samplers.candidates import Candidate, TrialCandidates, network
from search.samplers.known import EarlierWork, acquisition_of, box_for, reading_cost, ruled_out
from search.samplers.learner import Memory
from search.samplers.pool import Pool, PoolEntry
from search.samplers.sampler import Decision, StudySampler
from search.task import Task
from space import encode

MAX_READINGS = 5  # number of networks in a row that are measured and not trained
PROMISING = 50  # number of networks of the pool whose variations join it


class FreezeThawSampler(StudySampler):
    """Proposes the network with the highest acquisition value.

    The first network is trained to the end. Unless the study knows earlier work, some random networks are then scored
    at the lowest rung, see Rungs.starts, before acquisition values decide.
    """

    def __init__(self, task: Task, seed: int | None) -> None:
        self.task, self.seed = task, seed
        self.pool = Pool(task)
        self.fallback = RandomSampler(seed)
        self.earlier = EarlierWork(task)
        self.memory: Memory | None = None
        self.worth: dict[str, float] = {}
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
        acquisition = self._acquisition(study, candidates)
        if self._starts(acquisition):
            values = self._start_values(acquisition)
        else:
            values, _ = acquisition.values()
            self.worth = {
                each.fingerprint: float(value)
                for each, value in zip(candidates, values, strict=True)
                if each.fingerprint in pool
            }
            if self._readings(study) >= MAX_READINGS and np.isfinite(values[np.isfinite(acquisition.latency)]).any():
                values[np.isnan(acquisition.latency)] = -np.inf
        self.memory = acquisition.memory
        if not np.isfinite(values).any():
            return {}
        chosen = candidates[int(np.argmax(values))].fingerprint
        proposal = {"by": type(self).__name__, "among": len(candidates)}
        study._storage.set_trial_user_attr(trial._trial_id, records.PROPOSAL, proposal)
        if chosen in pool:
            return dict(pool[chosen].params)
        return dict(encode(self.task.space, network(trials[chosen])))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 - Optuna's interface
        """Sample a random value; used if the search space is exhausted."""
        return self.fallback.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Draw without a seed from now on; Optuna calls this in each parallel worker."""
        self.seed = None
        self.fallback.reseed_rng()

    def decide(self, study: Study, fingerprint: str) -> Decision:
        """Return whether a measured network still has the highest acquisition value, or could join the front at all."""
        acquisition, place = self._current(study, fingerprint)
        if ruled_out(acquisition, place):
            return "never"
        if self._starts(acquisition) or self._readings(study) >= MAX_READINGS:
            return "train"
        return "train" if int(np.argmax(acquisition.values()[0])) == place else "later"

    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """Return whether a network that was just scored at a rung still has the highest acquisition value.

        The first network of a study is trained to the end.
        """
        acquisition, place = self._current(study, fingerprint)
        if acquisition.scored.sum() == 1:
            return True
        return not self._starts(acquisition) and int(np.argmax(acquisition.values()[0])) == place

    def _current(self, study: Study, fingerprint: str) -> tuple[Acquisition, int]:
        """Return the acquisition of all candidates, and the place of the network in the running trial."""
        candidates, _ = self._candidates(study, latest_trials(study), current=fingerprint)
        place = [each.fingerprint for each in candidates].index(fingerprint)
        return self._acquisition(study, candidates), place

    def _starts(self, acquisition: Acquisition) -> bool:
        """Return whether a network is missing of the first one and those that are scored at the lowest rung.

        Earlier work takes the place of those at the lowest rung.
        """
        return int(acquisition.scored.sum()) < 1 + (0 if self.earlier else acquisition.rungs.starts)

    def _start_values(self, acquisition: Acquisition) -> NDArray[np.float64]:
        """Return 1 for one network: the knee of the expected front at first, and then random networks.

        Networks that are expected to exceed the latency limit are left out, unless there are no others.
        """
        (latency, _), (error, _) = acquisition.log_latency(), acquisition.log_error()
        values = np.full(len(latency), -np.inf)
        places = np.flatnonzero(acquisition.open & ~acquisition.busy & ~acquisition.infeasible & ~acquisition.scored)
        if not len(places):
            return values
        limit = np.log(self.task.limits.latency_ms or np.inf)
        within = places[latency[places] <= max(limit, latency[places].min())]
        if acquisition.scored.any():
            values[self.pool.rng.choice(within)] = 1
        else:
            values[within[knee(np.exp(np.column_stack([latency, error])[within]))]] = 1
        return values

    def _readings(self, study: Study) -> int:
        """Return how many trials in a row have measured a network without training it."""
        number = 0
        for trial in reversed(study.get_trials(deepcopy=False)):
            if trial.state.is_finished():
                if not str(trial.user_attrs.get(records.REASON, "")).startswith(records.LATER):
                    break
                number += 1
        return number

    def _candidates(
        self, study: Study, trials: Mapping[str, FrozenTrial], current: str | None = None
    ) -> tuple[list[Candidate], Mapping[str, PoolEntry]]:
        """Return the networks of the study and the pool as candidates, and the pool keyed by fingerprint.

        `current` is the fingerprint of the network in the running trial. This network is "open", not "busy".
        """
        known = self.trial_candidates.candidates(study, trials, current)
        if current is None:
            self.pool.renew(trials.keys(), self._parents(trials), self.worth)
        pool = {name: entry for name, entry in self.pool.entries.items() if name not in trials}
        fresh = [Candidate(name, entry.descriptors, None, {}, True, "open") for name, entry in pool.items()]
        return [*known, *fresh], pool

    def _parents(self, trials: Mapping[str, FrozenTrial]) -> list[dict[str, Any]]:
        """Return the parameters of the networks on the front, and of the most promising networks of the pool."""
        complete = [trial for trial in trials.values() if trial.values and trial.params]
        points = [trial.values for trial in complete]
        front = [trial.params for trial, best in zip(complete, non_dominated(points), strict=True) if best]
        promising = sorted(self.worth, key=lambda name: -self.worth[name])[:PROMISING]
        pool = self.pool.entries
        return front + [dict(pool[name].params) for name in promising if name in pool and np.isfinite(self.worth[name])]

    def _acquisition(self, study: Study, candidates: Sequence[Candidate]) -> Acquisition:
        trials = study.get_trials(deepcopy=False)
        cost = reading_cost(trials, self.task.rungs[-1])
        return acquisition_of(candidates, self.task, box_for(study, self.task), cost, self.earlier, self.memory)
