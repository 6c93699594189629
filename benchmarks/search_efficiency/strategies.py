"""Search strategies for a recorded table. Each strategy calls `replay.train` while the replay is open."""

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

Strategy = Callable[[Replay, int], None]  # takes a replay and a seed

OURS, UNSEEN = "ours", "ours_unseen"
SLOW = {"gp": 150, "ax": 60}  # maximum number of proposals of strategies that need seconds per proposal


def search_with(sampler: BaseSampler, replay: Replay) -> None:
    """Minimise error and latency with an Optuna sampler. Every proposal is fully trained."""
    distributions = dict[str, BaseDistribution](SPACE.distributions())
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    while replay.open:
        with shared():
            trial = study.ask(distributions)
        index = replay.index_of(trial.params)
        error = replay.train(index, TOP)[-1]
        study.tell(trial, (error, replay.entries[index].latency_ms))


def random(replay: Replay, seed: int) -> None:
    """Random search."""
    search_with(RandomSampler(seed=seed), replay)


def nsga2(replay: Replay, seed: int) -> None:
    """NSGA-II with Optuna's defaults, e.g. a population of 50."""
    search_with(NSGAIISampler(seed=seed), replay)


def tpe(replay: Replay, seed: int) -> None:
    """TPE with Optuna's defaults."""
    search_with(TPESampler(seed=seed), replay)


def tpe_multivariate(replay: Replay, seed: int) -> None:
    """Multivariate TPE with constant_liar, as recommended in Optuna's documentation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = TPESampler(multivariate=True, constant_liar=True, seed=seed)
    search_with(sampler, replay)


def gp(replay: Replay, seed: int) -> None:
    """Gaussian process with expected hypervolume improvement, with Optuna's defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = GPSampler(seed=seed)
    search_with(sampler, replay)


def ax(replay: Replay, seed: int) -> None:
    """BoTorch's qLogNEHVI with Ax's defaults for two objectives. Raises ModuleNotFoundError if Ax is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings that the packages of Ax give about each other
        # Imported here because it takes seconds and is optional.
        search: Strategy = import_module("benchmarks.search_efficiency.ax").search
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
    """Return the maximum number of proposals of a strategy."""
    return SLOW.get(strategy, LIMIT)
