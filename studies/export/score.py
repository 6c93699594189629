"""The test error of a network, with its confidence interval. It is computed only after the network was chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

from search.data import Split
from search.intervals import error_interval
from search.latency.lease import shared
from search.training.evaluate import BATCH, scaled
from threshnet.export.folder import INPUT, OUTPUT


@dataclass(frozen=True)
class Score:
    """The number of misclassified images out of all images."""

    wrong: int
    images: int

    @property
    def percent(self) -> float:
        """The error in percent."""
        return 100 * (self.wrong / self.images)

    @property
    def interval(self) -> tuple[float, float]:
        """The binomial 95 % interval of the error, in percent."""
        return error_interval(self.percent, self.images)

    def text(self) -> str:
        """Format the error with its interval."""
        low, high = self.interval
        return (
            f"{self.percent:.2f} % ({self.wrong:,} of {self.images:,} images, 95 % interval {low:.2f} to {high:.2f} %)"
        )

    def to_json(self) -> dict[str, Any]:
        """Convert the score to JSON-ready values."""
        return {"percent": self.percent, "wrong": self.wrong, "images": self.images, "interval": list(self.interval)}


def score_model(model: nn.Module, split: Split) -> Score:
    """Score a torch network in eval mode on the CPU."""

    def answer(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(images)
        return logits

    return _score(answer, split)


def score_onnx(path: Path, split: Split) -> Score:
    """Score an ONNX file with onnxruntime on the CPU."""
    with shared():
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _score(lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0]), split)


def _score(answer: Callable[[Tensor], Tensor], split: Split) -> Score:
    wrong = 0
    for images, labels in zip(split.images.split(BATCH), split.labels.split(BATCH), strict=True):
        with shared():
            wrong += int((answer(scaled(images)).argmax(dim=1) != labels).sum())
    return Score(wrong, len(split))
