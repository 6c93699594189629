"""The results of a retraining: the errors of each network over its seeds, and the network to export."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from scipy import stats

from search.latency.reading import Latency
from studies.export.score import Score
from studies.retraining.finished import FinishedTraining
from studies.retraining.plan import RetrainingPlan
from threshnet.costs import count
from threshnet.spec_file import ResolvedNetwork

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MeanError:
    """The mean error of a network over seeds, in percent, with a 95 % interval.

    With several seeds, this is Student's t interval of the mean over seeds. With one seed, it is the interval of an
    error rate on so many images, which does not include the variation between trainings.
    """

    mean: float
    low: float
    high: float
    # Number of seeds.
    seeds: int

    def text(self) -> str:
        """Format the mean and the interval."""
        return f"{self.mean:.2f} ({self.low:.2f}-{self.high:.2f})"


def mean_error(scores: Sequence[Score]) -> MeanError:
    """Return the mean error of trainings with different seeds."""
    errors = [score.metric_percent for score in scores]
    if len(errors) == 1:
        return MeanError(errors[0], *scores[0].metric_interval, seeds=1)
    mean = fmean(errors)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(errors) - 1)) * stdev(errors) / math.sqrt(len(errors))
    return MeanError(mean, max(0.0, mean - half), min(100.0, mean + half), len(errors))


@dataclass(frozen=True)
class RetrainedNetwork:
    """A network with its finished trainings and its latency."""

    network: ResolvedNetwork
    # One finished training for each seed, in the order of the seeds; at least one.
    trainings: tuple[FinishedTraining, ...]
    latency: Latency

    @property
    def title(self) -> str:
        """The title of the network."""
        return self.network.title

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the network."""
        return self.network.spec.fingerprint()

    @property
    def params(self) -> int:
        """The number of parameters."""
        return count(self.network.spec, self.network.input_size).params

    @property
    def validation(self) -> MeanError | None:
        """The validation error; None if the validation images were trained on."""
        scores = [training.validation for training in self.trainings if training.validation]
        return mean_error(scores) if scores else None

    @property
    def test(self) -> MeanError | None:
        """The test error; None if the test images were not read."""
        scores = [training.test for training in self.trainings if training.test]
        return mean_error(scores) if scores else None

    def to_json(self) -> dict[str, Any]:
        """Return the results as JSON-serializable values."""
        return {
            "network": self.title,
            "fingerprint": self.fingerprint,
            "params": self.params,
            "seeds": [training.seed for training in self.trainings],
            "validation_error_percent": self.validation and asdict(self.validation),
            "test_error_percent": self.test and asdict(self.test),
            "latency": self.latency.summary(),
        }


def retrained_networks(
    plan: RetrainingPlan, finished: Sequence[FinishedTraining], latency: Mapping[str, Latency]
) -> tuple[RetrainedNetwork, ...]:
    """Return the networks of a plan that have finished trainings, fastest first. `latency` is by fingerprint."""
    by_key = {training.key: training for training in finished}
    found = []
    for network in plan.networks:
        name = network.spec.fingerprint()
        trainings = tuple(by_key[name, seed] for seed in plan.seeds if (name, seed) in by_key)
        if trainings:
            found.append(RetrainedNetwork(network, trainings, latency[name]))
    return tuple(sorted(found, key=lambda one: one.latency.latency_ms))


@dataclass(frozen=True)
class ExportChoice:
    """The network to export, and the reason."""

    network: RetrainedNetwork
    reason: str


def choose(plan: RetrainingPlan, networks: Sequence[RetrainedNetwork], fingerprint: str | None) -> ExportChoice | None:
    """Choose the network to export among those with all seeds.

    This is the one with the `fingerprint` if it is given, the only one of the plan, or the one with the lowest mean
    validation error. The test error never chooses. Returns None if there is no such network.
    """
    complete = [one for one in networks if len(one.trainings) == len(plan.seeds)]
    if fingerprint is not None:
        return next((ExportChoice(one, "as named") for one in complete if one.fingerprint == fingerprint), None)
    if len(plan.networks) == 1 and complete:
        return ExportChoice(complete[0], "the only network")
    validated = [(one.validation.mean, one) for one in complete if one.validation]
    if not validated:
        return None
    error, best = min(validated, key=lambda pair: pair[0])
    return ExportChoice(best, f"lowest mean validation error, {error:.2f} %; test errors are never used to choose")
