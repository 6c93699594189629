"""Optuna's samplers, with proposals redrawn if the study already has the network."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search.claims import latest_trials, stopped
from search.named import searched_study
from search.records import PROPOSAL
from search.samplers.candidates import TrialCandidates
from search.samplers.known import can_reach
from search.samplers.sampler import Decision, StudySampler
from search.samplers.successive_halving import promoted
from search.task import Task
from space import decode

STARTUP_TRIALS = 12  # random trials before TPE and the Gaussian process use their models
DUPLICATE_REDRAWS = 20  # maximum number of redraws for duplicates; the next duplicate is accepted
INFEASIBLE_REDRAWS = 200  # maximum number of redraws for infeasible networks; the next one is accepted
SAMPLER_DRAWS = 10  # draws from the wrapped sampler; later draws are random, since some samplers repeat themselves


class DistinctSampler(StudySampler):
    """Wraps any sampler and redraws duplicate and infeasible proposals.

    Duplicates are redrawn up to DUPLICATE_REDRAWS times. Networks whose counted costs violate a constraint are redrawn
    up to INFEASIBLE_REDRAWS times. After SAMPLER_DRAWS draws, networks are drawn at random. If the task has rungs, a
    stopped network is proposed again once it is among the best at its rung.
    """

    def __init__(self, inner: BaseSampler, task: Task, seed: int | None) -> None:
        self.inner, self.task = inner, task
        # This sampler needs a different seed, because the seed of the inner sampler would produce the same first
        # proposals.
        self.random = RandomSampler(None if seed is None else seed + 1_000_003)
        self.trial_candidates = TrialCandidates(task.input_size)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose values for all parameters; if every draw is a duplicate or infeasible, the last draw is used."""
        if "fixed_params" in trial.system_attrs:  # the trial was enqueued with its parameters
            return {}
        trials = latest_trials(study)
        for name in self._promoted(study, trials):
            if stopped(trials[name]):
                return dict(trials[name].params)
        duplicates_left, infeasible_left = DUPLICATE_REDRAWS, INFEASIBLE_REDRAWS
        for draw in count(1):
            sampler = self.inner if draw <= SAMPLER_DRAWS else self.random
            params = self._draw(sampler, study, trial, search_space)
            spec = decode(self.task.space, params)
            if spec.fingerprint() in trials and duplicates_left:
                duplicates_left -= 1
            elif not self.task.fits(spec) and infeasible_left:
                infeasible_left -= 1
            else:
                break
        proposal = {"by": type(sampler).__name__, "draws": draw}
        study._storage.set_trial_user_attr(trial._trial_id, PROPOSAL, proposal)
        return params

    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """Return whether a network is among the best at the last rung that it reached."""
        return fingerprint in self._promoted(study, latest_trials(study))

    def _promoted(self, study: Study, trials: Mapping[str, FrozenTrial]) -> Iterator[str]:
        """Yield the fingerprints of the networks among the best at the last rung they reached, highest rung first."""
        candidates = [
            each for each in self.trial_candidates.candidates(study, trials) if each.latency_ms and each.feasible
        ]
        for rung in reversed(self.task.rungs[:-1]):
            at_rung = [each for each in candidates if rung in each.errors]
            for index in promoted([(each.latency_ms or 0.0, each.errors[rung]) for each in at_rung]):
                if max(at_rung[index].errors) == rung:
                    yield at_rung[index].fingerprint

    def decide(self, study: Study, fingerprint: str) -> Decision:
        """Return "never" if a measured network could not join the front; always "train" without rungs."""
        if len(self.task.rungs) == 1 or can_reach(self.trial_candidates, study, self.task, fingerprint):
            return "train"
        return "never"

    def _draw(
        self, sampler: BaseSampler, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw one proposal from a sampler, with a value for every parameter."""
        study = searched_study(study)
        params = sampler.sample_relative(study, trial, search_space)
        rest = {name: distribution for name, distribution in search_space.items() if name not in params}
        return params | {
            name: sampler.sample_independent(study, trial, name, distribution) for name, distribution in rest.items()
        }

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 - Optuna's interface
        """Sample a value for a parameter outside the search space."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Forward to the inner sampler."""
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forward to the inner sampler."""
        self.inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Forward to the inner sampler."""
        self.inner.reseed_rng()
        self.random.reseed_rng()


def tpe(task: Task, seed: int | None) -> DistinctSampler:
    """Create Optuna's multivariate TPE sampler."""
    return DistinctSampler(
        TPESampler(multivariate=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS, seed=seed), task, seed
    )


def gp(task: Task, seed: int | None) -> DistinctSampler:
    """Create Optuna's Gaussian process sampler."""
    return DistinctSampler(GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS), task, seed)


def nsga2(task: Task, seed: int | None) -> DistinctSampler:
    """Create Optuna's NSGA-II sampler."""
    return DistinctSampler(NSGAIISampler(population_size=24, seed=seed), task, seed)


def random(task: Task, seed: int | None) -> DistinctSampler:
    """Create a random sampler."""
    return DistinctSampler(RandomSampler(seed=seed), task, seed)
