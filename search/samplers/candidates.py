"""The networks of a study as candidates for the next training."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from optuna.trial import FrozenTrial

from search import records
from search.claims import stopped
from threshnet.costs import count, macs
from threshnet.shapes import walk
from threshnet.spec import NetworkSpec

# Number of feature-map sizes whose MACs are separate descriptors: the input size, half the input size and so on. The
# last size includes all smaller ones.
MAP_SIZES = 5


@dataclass(frozen=True)
class Candidate:
    """A network as the search sees it."""

    fingerprint: str
    # See `descriptors_of`.
    descriptors: tuple[float, ...]
    # Milliseconds; None until measured.
    latency_ms: float | None
    # Validation errors in percent, keyed by the number of epochs trained.
    errors: Mapping[int, float]
    # Whether the network satisfies every constraint. An infeasible network is only used to predict the others.
    feasible: bool
    # "open": can be trained, or trained further; "busy": in training; "closed": finished, failed or pruned before
    # training.
    state: Literal["open", "busy", "closed"]


def descriptors_of(spec: NetworkSpec, input_size: int) -> tuple[float, ...]:
    """Return the logs of the features of a network that are known before training.

    They are parameters, MACs, memory, layers, links per layer, and the MACs at each of the MAP_SIZES feature-map sizes.
    """
    layers = [sources for block in spec.blocks for sources in block.links]
    links = sum(map(len, layers)) / len(layers)
    costs = count(spec, input_size)
    at_size = dict.fromkeys(range(MAP_SIZES), 1000)
    for row in walk(spec, input_size):
        at_size[min(MAP_SIZES - 1, (input_size // row.size_out).bit_length() - 1)] += macs(row)
    totals = (costs.params, costs.macs, costs.memory_bytes, len(layers) + 2, links)
    return tuple(np.log([*totals, *at_size.values()]).tolist())


class TrialCandidates:
    """Converts trials to candidates and caches the descriptors of each network."""

    def __init__(self, input_size: int) -> None:
        self.input_size = input_size
        self.descriptors: dict[str, tuple[float, ...]] = {}

    def candidates(self, trials: Collection[FrozenTrial], current: str | None = None) -> list[Candidate]:
        """Return one candidate for each trial with recorded costs, except for models of other libraries.

        `current` is the fingerprint of the network in the running trial. This network is "open", not "busy".
        """
        return [self._candidate(trial, current) for trial in trials if _is_candidate(trial)]

    def _candidate(self, trial: FrozenTrial, current: str | None) -> Candidate:
        attrs = trial.user_attrs
        name = attrs[records.FINGERPRINT]
        if name not in self.descriptors:
            self.descriptors[name] = descriptors_of(network(trial), self.input_size)
        return Candidate(
            fingerprint=name,
            descriptors=self.descriptors[name],
            latency_ms=attrs.get(records.LATENCY_MS),
            feasible=all(excess <= 0 for excess in trial.constraints.values()),
            errors=errors_of(trial),
            state="open" if name == current or stopped(trial) else "closed" if trial.state.is_finished() else "busy",
        )


def _is_candidate(trial: FrozenTrial) -> bool:
    return records.COSTS in trial.user_attrs and records.NETWORK in records.attributes_of(trial)


def errors_of(trial: FrozenTrial) -> dict[int, float]:
    """Return the validation errors of a trial in percent, keyed by the number of epochs trained."""
    return {int(epochs): error for epochs, error in trial.user_attrs.get(records.RUNGS, {}).items()}


def network(trial: FrozenTrial) -> NetworkSpec:
    """Return the network of a trial."""
    return NetworkSpec.from_json(records.attributes_of(trial)[records.NETWORK])
