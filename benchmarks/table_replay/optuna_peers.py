"""Optuna's samplers as strategies, with every proposal trained to the end or, with rungs, promoted from the lowest one.

With rungs, a sampler sees the errors at the lowest rung only, which all of its proposals have. Of the networks at a
rung, the best quarter by non-dominated rank are trained to the next one.
"""

import warnings
from collections.abc import Callable

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from benchmarks.table_replay.promotion import promotion, rest_promoted
from benchmarks.table_replay.replay import Replay
from search.samplers.successive_halving import order

ETA = 4  # one of every ETA networks at a rung is promoted
REDRAWS = 20  # consecutive proposals of known or missing networks before a random one replaces the next

Values = dict[str, str | float]


class Proposals:
    """Translates between the networks of a replay and the parameters of an Optuna trial.

    A network is proposed by its choices. If the table has none, it is proposed by the values of its descriptors; the
    nearest network that was not yet proposed takes the place of such a proposal.
    """

    def __init__(self, replay: Replay) -> None:
        self.replay, self.table = replay, replay.table
        self.started: set[int] = set()
        self.distributions: dict[str, BaseDistribution]
        if self.table.options:
            self.distributions = {
                name: CategoricalDistribution(options) for name, options in self.table.options.items()
            }
        else:
            columns = self.table.descriptors.T
            self.spread = np.where(np.ptp(columns, axis=1) > 0, np.ptp(columns, axis=1), 1.0)
            self.distributions = {
                name: FloatDistribution(float(column.min()), float(column.max()))
                for name, column in zip(self.table.descriptor_names, columns, strict=True)
            }

    def values_of(self, network: int) -> Values:
        """Return the parameters that stand for a network."""
        if self.table.options:
            codes = self.table.choices[network]
            return {
                name: options[code] for (name, options), code in zip(self.table.options.items(), codes, strict=True)
            }
        described = self.table.descriptors[network].tolist()
        return dict(zip(self.table.descriptor_names, described, strict=True))

    def network_of(self, values: Values) -> int | None:
        """Return the network that parameters stand for, or None if this seed does not have it."""
        if self.table.options:
            codes = tuple(options.index(str(values[name])) for name, options in self.table.options.items())
            network = self.table.by_choices.get(codes)
            return network if network is not None and self.replay.has(network) else None
        wanted = np.array([values[name] for name in self.table.descriptor_names], dtype=np.float64)
        left = np.array(self.left())
        distances = (((self.table.descriptors[left] - wanted) / self.spread) ** 2).sum(axis=1)
        return int(left[distances.argmin()])

    def left(self) -> list[int]:
        """Return the networks that were not yet proposed."""
        return [network for network in self.replay.networks.tolist() if network not in self.started]


def search_with(sampler: BaseSampler, replay: Replay, rng: np.random.Generator, *, rungs: bool) -> None:
    """Search with a sampler. `rungs` trains proposals to the lowest rung first, and promotes the best."""
    proposals, lowest = Proposals(replay), 0 if rungs else replay.top
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)

    def values(network: int) -> tuple[float, float]:
        """Train a network and return what the sampler sees of it."""
        proposals.started.add(network)
        error = replay.train(network, lowest)
        latency, clipped = replay.box.placed((replay.read(network), error))[0].tolist()
        return latency, clipped if lowest == replay.top else error

    def promote() -> None:
        while rungs and replay.open and (step := promotion(replay, order, ETA)):
            replay.train(*step)

    def add(network: int) -> None:
        """Train a network that the sampler did not propose, and show it to the sampler."""
        params = proposals.values_of(network)
        study.add_trial(create_trial(params=params, distributions=proposals.distributions, values=values(network)))

    for start in replay.starts:
        add(start)
        replay.train(start, replay.top)
    fruitless = 0
    while replay.open and (left := proposals.left()):
        trial = study.ask(proposals.distributions)
        network = proposals.network_of(trial.params)
        known = network is None or network in proposals.started
        if network is None:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, values(network))
        fruitless = fruitless + 1 if known else 0
        if fruitless == REDRAWS:
            add(int(rng.choice(left)))
            fruitless = 0
        promote()
    rest_promoted(replay, order)


def tpe(seed: int) -> BaseSampler:
    """Create a multivariate TPE sampler with Optuna's other defaults."""
    return TPESampler(multivariate=True, seed=seed)


def nsga2(seed: int) -> BaseSampler:
    """Create an NSGA-II sampler with Optuna's defaults."""
    return NSGAIISampler(seed=seed)


def random(seed: int) -> BaseSampler:
    """Create a random sampler."""
    return RandomSampler(seed=seed)


def strategy(make: Callable[[int], BaseSampler], *, rungs: bool) -> Callable[[Replay, int], None]:
    """Return the strategy of a sampler."""

    def search(replay: Replay, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = make(seed)
        search_with(sampler, replay, np.random.default_rng(seed), rungs=rungs)

    return search
