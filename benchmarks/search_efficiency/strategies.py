"""Who searches a recorded table: each strategy trains by `replay.train` while the replay is open."""

import warnings
from collections.abc import Callable
from importlib import import_module

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from benchmarks.search_efficiency.freeze_thaw import freeze_thaw, freeze_thaw_unseen
from benchmarks.search_efficiency.mo_asha import mo_asha
from benchmarks.search_efficiency.replay import LIMIT, TOP, Replay
from benchmarks.threshbench.table import SPACE
from search.latency.lease import shared

Strategy = Callable[[Replay, int], None]  # searches with a seed

OURS, UNSEEN = "ours", "ours_unseen"
SLOW = {"gp": 150, "ax": 60}  # proposals after which those are cut short that take seconds for each


def searched(replay: Replay, sampler: BaseSampler) -> None:
    """Search with one of Optuna's samplers, which minimises error and latency; every proposal is trained to the end."""
    distributions = dict[str, BaseDistribution](SPACE.distributions())
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    while replay.open:
        with shared():
            trial = study.ask(distributions)
        index = replay.index_of(trial.params)
        error = replay.train(index, TOP)[-1]
        study.tell(trial, (error, replay.entries[index].latency_ms))


def random(replay: Replay, seed: int) -> None:
    """Draws of every parameter by chance."""
    searched(replay, RandomSampler(seed=seed))


def nsga2(replay: Replay, seed: int) -> None:
    """NSGA-II as Optuna has it by default: a population of 50."""
    searched(replay, NSGAIISampler(seed=seed))


def tpe(replay: Replay, seed: int) -> None:
    """TPE as Optuna has it by default."""
    searched(replay, TPESampler(seed=seed))


def tpe_multivariate(replay: Replay, seed: int) -> None:
    """TPE over all parameters together, with the constant liar, as Optuna's documentation recommends it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = TPESampler(multivariate=True, constant_liar=True, seed=seed)
    searched(replay, sampler)


def gp(replay: Replay, seed: int) -> None:
    """A Gaussian process with the expected hypervolume improvement, as Optuna has it by default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = GPSampler(seed=seed)
    searched(replay, sampler)


def ax(replay: Replay, seed: int) -> None:
    """Ax with its defaults for two objectives: qLogNEHVI of BoTorch; ModuleNotFoundError where Ax is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its packages say of each other
        search: Strategy = import_module(
            "benchmarks.search_efficiency.ax"
        ).search  # seconds to import, and not always installed
    search(replay, seed)


STRATEGIES: dict[str, Strategy] = {
    OURS: freeze_thaw,
    UNSEEN: freeze_thaw_unseen,
    "random": random,
    "nsga2": nsga2,
    "tpe": tpe,
    "tpe_multivariate": tpe_multivariate,
    "gp": gp,
    "ax": ax,
    "mo_asha": mo_asha,
}
TITLES = {
    OURS: "freeze-thaw (ours)",
    UNSEEN: "freeze-thaw (ours), latencies unseen",
    "random": "random",
    "nsga2": "NSGA-II (Optuna)",
    "tpe": "TPE (Optuna)",
    "tpe_multivariate": "TPE, multivariate (Optuna)",
    "gp": "GP (Optuna)",
    "ax": "qLogNEHVI (Ax)",
    "mo_asha": "MO-ASHA, random",
}


def limit(strategy: str) -> int:
    """Proposals after which a strategy is cut short."""
    return SLOW.get(strategy, LIMIT)
