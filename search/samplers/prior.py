"""Predictions from earlier work for the networks of a search: trainings on other data, latencies of another device.

Gaussian processes of the earlier values predict the log latency and the error of every network of the search. Each
prediction is a feature of the search, which is expected to matter at first. The search learns from its own values how
much it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.earlier import Outcome
from search.samplers.features import Features
from search.samplers.learner import Learner, Memory
from search.samplers.warp import warped

Array = NDArray[np.float64]

TRANSFER = 0.8  # expected change of a value of the search per change of its prediction


@dataclass(frozen=True)
class Prediction:
    """The prediction of earlier work for n networks. By default, there is none."""

    # Log latencies (n,) and warped errors (n,), each up to a constant.
    latency: Array | None = None
    error: Array | None = None


class Prior:
    """The outcomes of earlier work, and the hyperparameters learnt from them."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = outcomes
        self.memory = Memory()

    def predict(self, features: Features, slopes: tuple[Array, Array], edge: float) -> Prediction:
        """Return the prediction for n networks from the features of these and of the m networks of the outcomes.

        `slopes` are those of an Acquisition. `edge` is the upper edge of the error in percent.
        """
        first = len(features.columns) - len(self.outcomes)
        latency = Learner(features, slopes[0], 0.0, self.memory.latency)
        error = Learner(features, slopes[1], 0.0, self.memory.error)
        for source in sorted({each.source for each in self.outcomes}):
            own = [(first + place, each) for place, each in enumerate(self.outcomes) if each.source == source]
            read = [(network, 0.0, np.log(each.latency_ms)) for network, each in own if each.latency_ms]
            scored = [
                (network, -np.log2(share), warped(value, edge))
                for network, each in own
                for share, value in sorted(each.errors.items())
            ]
            for learner, values in ((latency, read), (error, scored)):
                nearest_end = min((to_go for _, to_go, _ in values), default=0.0)
                level = np.mean([log for _, to_go, log in values if to_go == nearest_end] or [0.0])
                for network, to_go, log in values:
                    learner.add(network, float(to_go), float(log - level))
        found = Prediction(
            latency.posterior().mean[:first] if latency.values else None,
            error.posterior().mean[:first] if error.values else None,
        )
        self.memory = Memory(latency.learnt, error.learnt)
        return found


def informed(features: Features, slopes: Array, prediction: Array | None) -> tuple[Features, Array]:
    """Return the features and slopes (k + 1,) of a search with this prediction (n,) as a further feature.

    The slopes (k,) of the other features become 0, since the prediction already has them.
    """
    if prediction is None:
        return features, slopes
    extended = features.extended(prediction)
    spread = extended.columns[:, -1].std()
    slope = TRANSFER * prediction.std() / spread if spread > 0 else 0.0
    return extended, np.append(np.zeros(len(slopes)), slope)
