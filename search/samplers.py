"""Who proposes the next network: Optuna's samplers, kept from proposing a network that the study already has."""

from collections.abc import Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search.records import FINGERPRINT, INTERRUPTED, REASON
from space import Space, decode
from threshnet.errors import InputError

SAMPLERS = ("tpe", "gp", "nsga2", "random")
DRAWS = 20  # how often a known network is drawn again before it is let through as a duplicate


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
    """Any sampler, its proposals drawn again (up to DRAWS times) while they decode to a network the study knows."""

    def __init__(self, inner: BaseSampler, space: Space) -> None:
        self.inner, self.space = inner, space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: its parameters are the same in every trial."""
        return dict(self.space.distributions())

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for every parameter; the last draw where all of them were known."""
        if "fixed_params" in trial.system_attrs:  # enqueued: nothing to propose
            return {}
        known = set(known_trials(study))
        params: dict[str, Any] = {}
        for _ in range(DRAWS):
            params = self.inner.sample_relative(study, trial, search_space)
            params |= {
                name: self.inner.sample_independent(study, trial, name, distribution)
                for name, distribution in search_space.items()
                if name not in params
            }
            if decode(self.space, params).fingerprint() not in known:
                break
        return params

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


def known_trials(study: Study) -> dict[str, FrozenTrial]:
    """The first trial of each fingerprint; interrupted trials are forgotten, so that they can be repeated."""
    known: dict[str, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        fingerprint = trial.user_attrs.get(FINGERPRINT)
        if fingerprint is not None and trial.user_attrs.get(REASON) != INTERRUPTED:
            known.setdefault(fingerprint, trial)
    return known
