"""Who proposes the next network: Optuna's samplers, kept from proposing a network that the study already has."""

from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search.claims import latest_trials, stopped
from search.records import PROPOSAL
from search.samplers.acquisition import can_reach
from search.samplers.candidates import TrialCandidates
from search.samplers.sampler import StudySampler
from search.samplers.successive_halving import promoted
from search.task import Task
from space import decode

STARTUP = 12  # random trials before TPE and the Gaussian process propose by their models
KNOWN_DRAWS = 20  # how often a known network is drawn again before it is let through as a duplicate
OWN_DRAWS = 10  # how many of these draws are the sampler's own; the rest are random, as some samplers repeat themselves
COSTLY_DRAWS = 200  # how often a network that breaks a limit on sight is drawn again before it is let through


class DistinctSampler(StudySampler):
    """Any sampler, its proposals drawn again while the study knows them or they do not fit the task.

    Known networks are drawn again up to KNOWN_DRAWS times, those that counting alone tells to break a limit up to
    COSTLY_DRAWS times, after OWN_DRAWS of either at random. With rungs, a training that was stopped is proposed again
    once it is among the promising ones of its rung.
    """

    def __init__(self, inner: BaseSampler, task: Task, seed: int | None) -> None:
        self.inner, self.task = inner, task
        # Its own seed: with the inner sampler's it would draw that one's first proposals once more.
        self.random = RandomSampler(None if seed is None else seed + 1_000_003)
        self.known = TrialCandidates(task.input_size)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: its parameters are the same in every trial."""
        return dict(self.task.space.distributions())

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for every parameter; the last draw where none of them was new and fitting."""
        if "fixed_params" in trial.system_attrs:  # enqueued: nothing to propose
            return {}
        trials = latest_trials(study)
        for name in self._promoted(trials.values()):
            if stopped(trials[name]):
                return dict(trials[name].params)
        left_known, left_costly = KNOWN_DRAWS, COSTLY_DRAWS
        for draw in count(1):
            sampler = self.inner if draw <= OWN_DRAWS else self.random
            params = self._draw(sampler, study, trial, search_space)
            spec = decode(self.task.space, params)
            if spec.fingerprint() in trials and left_known:
                left_known -= 1
            elif not self.task.fits(spec) and left_costly:
                left_costly -= 1
            else:
                break
        proposal = {"by": type(sampler).__name__, "draws": draw}
        study._storage.set_trial_user_attr(trial._trial_id, PROPOSAL, proposal)
        return params

    def should_continue(self, study: Study, fingerprint: str) -> bool:
        """Whether a network is among the promising ones of the last rung that it reached."""
        return fingerprint in self._promoted(latest_trials(study).values())

    def _promoted(self, trials: Collection[FrozenTrial]) -> Iterator[str]:
        """Networks that are among the promising ones of the last rung that they reached, the highest rung first."""
        known = [each for each in self.known.candidates(trials) if each.latency_ms and each.feasible]
        for rung in reversed(self.task.rungs[:-1]):
            there = [each for each in known if rung in each.errors]
            for index in promoted([(each.latency_ms or 0.0, each.errors[rung]) for each in there]):
                if max(there[index].errors) == rung:
                    yield there[index].fingerprint

    def can_reach(self, study: Study, fingerprint: str) -> bool:
        """With rungs, whether a network, measured but not trained, could join the front at its latency."""
        if len(self.task.rungs) == 1:
            return True
        return can_reach(self.known, latest_trials(study).values(), self.task, fingerprint)

    def _draw(
        self, sampler: BaseSampler, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One proposal of a sampler, with a value for every parameter."""
        params = sampler.sample_relative(study, trial, search_space)
        rest = {name: distribution for name, distribution in search_space.items() if name not in params}
        return params | {
            name: sampler.sample_independent(study, trial, name, distribution) for name, distribution in rest.items()
        }

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 - Optuna's interface
        """One parameter, for whatever asks for more than the space has."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Pass on to the inner sampler."""
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Pass on to the inner sampler."""
        self.inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Pass on to the inner sampler."""
        self.inner.reseed_rng()
        self.random.reseed_rng()


def tpe(task: Task, seed: int | None) -> DistinctSampler:
    """Optuna's TPE, multivariate."""
    return DistinctSampler(
        TPESampler(multivariate=True, constant_liar=True, n_startup_trials=STARTUP, seed=seed), task, seed
    )


def gp(task: Task, seed: int | None) -> DistinctSampler:
    """Optuna's Gaussian process."""
    return DistinctSampler(GPSampler(seed=seed, n_startup_trials=STARTUP), task, seed)


def nsga2(task: Task, seed: int | None) -> DistinctSampler:
    """Optuna's NSGA-II."""
    return DistinctSampler(NSGAIISampler(population_size=24, seed=seed), task, seed)


def random(task: Task, seed: int | None) -> DistinctSampler:
    """Random search."""
    return DistinctSampler(RandomSampler(seed=seed), task, seed)
