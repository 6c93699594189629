"""Ax with the default settings of its Client for two objectives: Sobol, then BoTorch's qLogNEHVI with GPs."""

import logging
import warnings

from ax.api.client import Client
from ax.api.configs import RangeParameterConfig
from ax.utils.common.logger import set_ax_logger_levels
from ax.utils.common.random import with_rng_seed

from benchmarks.search_efficiency.replay import TOP, Replay
from benchmarks.threshbench.table import SPACE
from search.latency.lease import shared


def search(replay: Replay, seed: int) -> None:
    """Minimise error and latency with Ax. Every proposal is fully trained."""
    set_ax_logger_levels(logging.ERROR)
    with with_rng_seed(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numerical warnings from the models of Ax
        client = Client()
        client.configure_experiment(
            parameters=[
                RangeParameterConfig(name=name, bounds=(each.low, each.high), parameter_type="int")
                for name, each in SPACE.distributions().items()
            ]
        )
        client.configure_optimization(objective="-error, -latency_ms")
        client.configure_generation_strategy(initialization_random_seed=seed)
        while replay.open:
            with shared():
                trials = client.get_next_trials(max_trials=1)
            for number, params in trials.items():
                index = replay.index_of({name: int(value) for name, value in params.items()})
                error = replay.train(index, TOP)[-1]
                client.complete_trial(number, {"error": error, "latency_ms": replay.entries[index].latency_ms})
