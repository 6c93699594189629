"""The networks that a study has seen, as candidates for what to train next."""

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

OCTAVES = 5  # sizes of maps told apart: the input's, half of it and so on; the last also stands for all smaller ones


@dataclass(frozen=True)
class Candidate:
    """A network as the search sees it."""

    fingerprint: str
    # See `describe`.
    descriptors: tuple[float, ...]
    # Milliseconds; None where it was not measured yet.
    latency_ms: float | None
    # Validation error in percent by epochs trained.
    errors: Mapping[int, float]
    # Whether it breaks no limit; of a network that does, only what its errors tell of others counts.
    feasible: bool
    # "open": may be trained, or trained further; "busy": is being trained; "closed": finished, failed or turned away.
    state: Literal["open", "busy", "closed"]


def describe(spec: NetworkSpec, input_size: int) -> tuple[float, ...]:
    """What tells networks apart before any training, as logs.

    Parameters, MACs, memory, layers, links a layer, and of the MACs those at each of the sizes that maps may have.
    """
    layers = [sources for block in spec.blocks for sources in block.links]
    links = sum(map(len, layers)) / len(layers)
    costs = count(spec, input_size)
    at_size = dict.fromkeys(range(OCTAVES), 1000)
    for row in walk(spec, input_size):
        at_size[min(OCTAVES - 1, (input_size // row.size_out).bit_length() - 1)] += macs(row)
    totals = (costs.params, costs.macs, costs.memory_bytes, len(layers) + 2, links)
    return tuple(np.log([*totals, *at_size.values()]).tolist())


class TrialCandidates:
    """Trials as candidates; a network is described once."""

    def __init__(self, input_size: int) -> None:
        self.input_size = input_size
        self.described: dict[str, tuple[float, ...]] = {}

    def candidates(self, trials: Collection[FrozenTrial], asking: str | None = None) -> list[Candidate]:
        """The networks of these trials, one each, as far as their costs are known; the one that is `asking` is open."""
        return [self._candidate(trial, asking) for trial in trials if records.COSTS in trial.user_attrs]

    def _candidate(self, trial: FrozenTrial, asking: str | None) -> Candidate:
        attrs = trial.user_attrs
        name = attrs[records.FINGERPRINT]
        if name not in self.described:
            self.described[name] = describe(network(trial), self.input_size)
        return Candidate(
            fingerprint=name,
            descriptors=self.described[name],
            latency_ms=attrs.get(records.LATENCY_MS),
            feasible=all(excess <= 0 for excess in trial.constraints.values()),
            errors=errors_of(trial),
            state="open" if name == asking or stopped(trial) else "closed" if trial.state.is_finished() else "busy",
        )


def errors_of(trial: FrozenTrial) -> dict[int, float]:
    """Validation errors in percent by epochs trained."""
    return {int(epochs): error for epochs, error in trial.user_attrs.get(records.RUNGS, {}).items()}


def network(trial: FrozenTrial) -> NetworkSpec:
    """The network that a trial stands for."""
    return NetworkSpec.from_json(trial.user_attrs[records.NETWORK])
