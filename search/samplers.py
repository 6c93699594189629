"""Who proposes the next network: Optuna's samplers, kept from proposing a network that the study already has."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search.records import FINGERPRINT, PROPOSAL, unfinished
from space import Space, decode
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec

SAMPLERS = ("tpe", "gp", "nsga2", "random")
KNOWN_DRAWS = 20  # how often a known network is drawn again before it is let through as a duplicate
OWN_DRAWS = 10  # how many of these draws are the sampler's own; the rest are random, as some samplers repeat themselves
COSTLY_DRAWS = 200  # how often a network that breaks a limit on sight is drawn again before it is let through


def sampler_named(name: str, seed: int | None) -> BaseSampler:
    """The sampler called `name`: multivariate TPE, Gaussian process, NSGA-II or random; InputError lists them."""
    match name:
        case "tpe":
            return TPESampler(multivariate=True, constant_liar=True, n_startup_trials=12, seed=seed)
        case "gp":
            return GPSampler(seed=seed, n_startup_trials=12)
        case "nsga2":
            return NSGAIISampler(population_size=24, seed=seed)
        case "random":
            return RandomSampler(seed=seed)
        case _:
            raise InputError(f"no sampler is named {name!r}; the samplers are {', '.join(SAMPLERS)}")


class DistinctSampler(BaseSampler):
    """Any sampler, its proposals drawn again while the study knows them or they do not fit.

    `fits` tells by counting alone whether a network keeps the study's limits. Known networks are drawn again up to
    KNOWN_DRAWS times, costly ones up to COSTLY_DRAWS times, after OWN_DRAWS of either at random.
    """

    def __init__(self, inner: BaseSampler, space: Space, fits: Callable[[NetworkSpec], bool], seed: int | None) -> None:
        self.inner, self.space, self.fits = inner, space, fits
        # Its own seed: with the inner sampler's it would draw that one's first proposals once more.
        self.random = RandomSampler(None if seed is None else seed + 1_000_003)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: its parameters are the same in every trial."""
        return dict(self.space.distributions())

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for every parameter; the last draw where none of them was new and fitting."""
        if "fixed_params" in trial.system_attrs:  # enqueued: nothing to propose
            return {}
        known = set(known_trials(study))
        left_known, left_costly = KNOWN_DRAWS, COSTLY_DRAWS
        for draw in count(1):
            sampler = self.inner if draw <= OWN_DRAWS else self.random
            params = self._draw(sampler, study, trial, search_space)
            spec = decode(self.space, params)
            if spec.fingerprint() in known and left_known:
                left_known -= 1
            elif not self.fits(spec) and left_costly:
                left_costly -= 1
            else:
                break
        proposal = {"by": type(sampler).__name__, "draws": draw}
        study._storage.set_trial_user_attr(trial._trial_id, PROPOSAL, proposal)
        return params

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


def known_trials(study: Study) -> dict[str, FrozenTrial]:
    """The first trial of each fingerprint; interrupted and lost trials are forgotten, so that they can be repeated."""
    known: dict[str, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        fingerprint = trial.user_attrs.get(FINGERPRINT)
        if fingerprint is not None and not unfinished(trial):
            known.setdefault(fingerprint, trial)
    return known
