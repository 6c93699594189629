"""The networks of a study as candidates for the next training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial

from search import records
from search.claims import resumable
from threshnet.costs import macs, total
from threshnet.shapes import walk
from threshnet.spec import NetworkSpec

# Number of feature-map sizes whose MACs are separate descriptors: the input size, half the input size and so on. The
# last size includes all smaller ones.
MAP_SIZES = 5

DESCRIPTORS = ("params", "macs", "memory", "layers", "links", *(f"macs_at_size_{place}" for place in range(MAP_SIZES)))

# Prior mean slopes per standard deviation of a descriptor: more parameters and MACs lower the error, and more MACs,
# memory and layers raise the latency.
ERROR_SLOPES = (-0.05, -0.1, 0.0, 0.0, 0.0, *(0.0,) * MAP_SIZES)
LATENCY_SLOPES = (0.0, 0.3, 0.1, 0.2, 0.0, *(0.0,) * MAP_SIZES)


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
    rows = walk(spec, input_size)
    costs = total(rows, input_size)
    at_size = dict.fromkeys(range(MAP_SIZES), 1000)
    for row in rows:
        at_size[min(MAP_SIZES - 1, (input_size // row.size_out).bit_length() - 1)] += macs(row)
    totals = (costs.params, costs.macs, costs.memory_bytes, len(layers) + 2, links)
    return tuple(np.log([*totals, *at_size.values()]).tolist())


class TrialCandidates:
    """Converts trials to candidates and caches the descriptors of each network."""

    def __init__(self, input_size: int) -> None:
        self.input_size = input_size
        self.descriptors: dict[str, tuple[float, ...]] = {}

    def candidates(
        self, study: Study, trials: Mapping[str, FrozenTrial], current: str | None = None
    ) -> list[Candidate]:
        """Return one candidate for each of the latest trials of a study with costs, except models of other libraries.

        `trials` is a result of `latest_trials`. `current` is the fingerprint of the network in the running trial. This
        network is "open", not "busy".
        """
        again = records.remeasured(study)
        chosen = [trial for trial in trials.values() if _is_candidate(trial)]
        return [self._candidate(trial, again.get(trial.number, {}), current) for trial in chosen]

    def _candidate(self, trial: FrozenTrial, again: Mapping[str, Any], current: str | None) -> Candidate:
        attrs, verdict = trial.user_attrs, records.verdict(trial, again)
        name = attrs[records.FINGERPRINT]
        state: Literal["busy", "closed"] = "closed" if trial.state.is_finished() else "busy"
        if name not in self.descriptors:
            self.descriptors[name] = descriptors_of(network(trial), self.input_size)
        return Candidate(
            fingerprint=name,
            descriptors=self.descriptors[name],
            latency_ms=verdict.latency_ms,
            feasible=verdict.feasible,
            errors=errors_of(trial),
            state="open" if name == current or resumable(trial, verdict) else state,
        )


def _is_candidate(trial: FrozenTrial) -> bool:
    return records.COSTS in trial.user_attrs and records.NETWORK in records.attributes_of(trial)


def errors_of(trial: FrozenTrial) -> dict[int, float]:
    """Return the validation errors of a trial in percent, keyed by the number of epochs trained."""
    return {int(epochs): error for epochs, error in trial.user_attrs.get(records.RUNGS, {}).items()}


def network(trial: FrozenTrial) -> NetworkSpec:
    """Return the network of a trial."""
    return NetworkSpec.from_json(records.attributes_of(trial)[records.NETWORK])
