"""The test error of a network, with its confidence interval. It is computed only after the network was chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

from search.data import Split
from search.latency.lease import shared
from search.training.evaluate import BATCH, errors_by_class, scaled
from search.training.metrics import ErrorCounts, error_interval
from threshnet.export.onnx_graph import INPUT, OUTPUT


@dataclass(frozen=True)
class Score:
    """The number of misclassified images out of all images."""

    wrong: int
    images: int
    # The same by class if the balanced error is to be reported, too.
    by_class: ErrorCounts | None = None

    @property
    def percent(self) -> float:
        """The error in percent."""
        return 100 * (self.wrong / self.images)

    @property
    def interval(self) -> tuple[float, float]:
        """The binomial 95 % interval of the error, in percent."""
        return error_interval(self.percent, self.images)

    @property
    def balanced_percent(self) -> float | None:
        """The balanced error in percent; None if it is not reported."""
        return self.by_class.percent("balanced_error") if self.by_class else None

    @property
    def metric_percent(self) -> float:
        """The balanced error in percent if it is reported, otherwise the error."""
        return self.by_class.percent("balanced_error") if self.by_class else self.percent

    @property
    def metric_interval(self) -> tuple[float, float]:
        """The 95 % interval of `metric_percent`."""
        return self.by_class.interval("balanced_error") if self.by_class else self.interval

    def text(self) -> str:
        """Format the error, and the balanced error if it is reported, with their intervals."""
        low, high = self.interval
        plain = (
            f"{self.percent:.2f} % ({self.wrong:,} of {self.images:,} images, 95 % interval {low:.2f} to {high:.2f} %)"
        )
        if self.by_class is None:
            return plain
        low, high = self.by_class.interval("balanced_error")
        return f"{plain}; balanced error {self.balanced_percent:.2f} % (95 % interval {low:.2f} to {high:.2f} %)"

    def to_json(self) -> dict[str, Any]:
        """Convert the score to JSON-ready values."""
        found = {"percent": self.percent, "wrong": self.wrong, "images": self.images, "interval": list(self.interval)}
        if self.by_class is None:
            return found
        interval = list(self.by_class.interval("balanced_error"))
        return found | {"balanced_percent": self.balanced_percent, "balanced_interval": interval}


def score_model(model: nn.Module, split: Split, metric: str = "error") -> Score:
    """Score a torch network in eval mode on the CPU; with the `metric` "balanced_error", report this error as well."""

    def answer(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(images)
        return logits

    return _score(answer, split, metric)


def score_onnx(path: Path, split: Split, metric: str = "error") -> Score:
    """Score an ONNX file with onnxruntime on the CPU; see `score_model` for the `metric`."""
    with shared():
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _score(lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0]), split, metric)


def _score(answer: Callable[[Tensor], Tensor], split: Split, metric: str) -> Score:
    scores = []
    for images in split.images.split(BATCH):
        with shared():
            scores.append(answer(scaled(images)))
    logits = torch.cat(scores)
    counts = errors_by_class(logits.argmax(dim=1) != split.labels, split.labels, logits.shape[1])
    return Score(sum(counts.wrong), len(split), counts if metric == "balanced_error" else None)
