"""Compare studies of both metrics on classes of 10 : 1: `python -m benchmarks.balanced_error`.

The images are scikit-learn's digits. The odd digits have a tenth of the training and validation images of the even
ones. For each seed, one study minimizes the plain error and one the balanced error. Both train the same random networks
on the same images. Each study's network with the lowest validation error is then scored on all test images.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from sklearn.datasets import load_digits

from benchmarks.report import Document, conditions, options, publish, recorded, table
from search.data import ImageData, as_settings, class_counts, load_search, load_test
from search.latency.probes.probe import processor_name, usable_processors
from search.latency.protocol import Protocol
from search.training.evaluate import count_errors
from search.training.metrics import METRICS, ErrorCounts
from search.training.recipes import FAST
from space import SMALL_IMAGES, Limits
from studies.export.folder import trial_weights
from studies.spec import StudySpec
from studies.study import launch_study

RATIO = 10  # images of a large class for each image of a small class
SHARES = ("test", "train", "validation", "train")  # the part of every fourth image of a digit, in turn
SEEDS, QUICK_SEEDS = (0, 1, 2, 3), (0, 1)
SPACE = replace(
    SMALL_IMAGES,
    activations=("relu",),
    blocks=(2,),
    layers=(1, 2, 3),
    growths=(8, 12, 16, 24),
    transitions=(32, 48, 64),
    block_dropouts=(0.0,),
    head_dropouts=(0.0,),
)
SPEC = StudySpec(
    name="balanced",
    trials=4,
    sampler="random",
    input_size=16,
    named=(),
    space=SPACE,
    limits=Limits(macs=2_000_000),
    flip=False,
    recipe=replace(FAST, epochs=10, batch=32),
    protocol=Protocol(min_s=0.05, max_s=0.1, warmup_s=0.02),
)
PACKAGES = ("torch", "scikit-learn")


@dataclass(frozen=True)
class BestNetwork:
    """The network of a study with the lowest validation error, scored on the test images."""

    metric: str
    seed: int
    # Validation error in percent, by the metric of the study.
    validation_error: float
    # Misclassified test images, and all test images, of each class.
    wrong: tuple[int, ...]
    images: tuple[int, ...]

    @property
    def counts(self) -> ErrorCounts:
        """The test errors by class."""
        return ErrorCounts(tuple(self.wrong), tuple(self.images))

    def group(self, small: bool) -> float:
        """Return the mean error in percent of the small classes, or of the large classes."""
        shares = [100 * wrong / images for wrong, images in zip(self.wrong, self.images, strict=True)]
        return float(np.mean(shares[1::2] if small else shares[::2]))


def unbalanced() -> ImageData:
    """Return the digits; outside the test part, only every RATIO-th image of the odd digits is kept."""
    digits: Any = load_digits()
    labels, pixels = digits.target, np.rint(digits.images * (255 / 16)).astype(np.uint8)
    rank = np.array([np.sum(labels[:index] == label) for index, label in enumerate(labels)])
    part = np.array(SHARES)[rank % len(SHARES)]
    kept = (part == "test") | (labels % 2 == 0) | (rank // len(SHARES) % RATIO == 0)
    parts = {name: (pixels[kept & (part == name)], labels[kept & (part == name)]) for name in set(SHARES)}
    return ImageData(**parts)


def best_network(spec: StudySpec, folder: Path) -> BestNetwork:
    """Run a study and score its network with the lowest validation error."""
    loaded, _ = launch_study(spec, f"journal:{folder / spec.name}.log", runs=folder)
    best = min((record for record in loaded.records if record.trained), key=lambda record: record.point[1])
    counts = count_errors(trial_weights(loaded, best), load_test(spec.dataset, spec.input_size))
    return BestNetwork(spec.metric, spec.seed, best.point[1], counts.wrong, counts.images)


def percents(rows: Sequence[BestNetwork], metric: str) -> list[float]:
    """Return the balanced test errors of the studies of a metric, by seed."""
    return [row.counts.percent("balanced_error") for row in rows if row.metric == metric]


def gains(rows: Sequence[BestNetwork]) -> list[float]:
    """Return by how many points the balanced test error is lower if the study minimizes it, for each seed."""
    plain, balanced = (percents(rows, metric) for metric in METRICS)
    return [a - b for a, b in zip(plain, balanced, strict=True)]


def render(document: Document) -> str:
    """Format the page: the mean of each error over the seeds, and the paired difference."""
    rows = [BestNetwork(**row) for row in document["studies"]]

    def mean(values: Sequence[float]) -> str:
        return f"{np.mean(values):.1f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.1f}"

    cells = []
    for metric in METRICS:
        chosen = [row for row in rows if row.metric == metric]
        groups = ([row.group(small) for row in chosen] for small in (False, True))
        cells.append([f"`{metric}`", mean(percents(rows, metric)), *map(mean, groups)])
    header = ["The study minimizes", "balanced test error, %", "large classes, %", "small classes, %"]
    large, small = document["train"]
    return "\n".join(
        [
            table(header, cells),
            "",
            f"Means with standard errors over {len(gains(rows))} seeds, i.e. over as many studies of {SPEC.trials} "
            f"networks. For the same seed, the balanced test error is lower by {mean(gains(rows))} points if the study "
            f"minimizes it. The networks are trained on about {large} images of each even digit (a large class) and "
            f"{small} of each odd digit (a small class). Conditions: {document['conditions']}.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the studies, print and write the page, and return the exit status."""
    goal = "studies that minimize the balanced error find networks with a lower balanced test error, on average"
    args = options("balanced_error", "Both metrics on unbalanced classes, as Markdown.", goal).parse_args(arguments)
    if args.render:
        publish(render, recorded(args.render), args.output)
        return 0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings, rows = as_settings(unbalanced()), []
    counts = class_counts(load_search(settings, SPEC.input_size))["train"]
    with tempfile.TemporaryDirectory() as folder:
        for seed in QUICK_SEEDS if args.quick else SEEDS:
            for metric in METRICS:
                spec = replace(SPEC, name=f"{metric}-{seed}", data=settings, seed=seed, metric=metric)
                rows.append(best_network(spec, Path(folder)))
                percent = rows[-1].counts.percent("balanced_error")
                sys.stderr.write(f"{spec.name}: balanced test error {percent:.1f} %\n")
    facts = f"{processor_name()} ({usable_processors()} processors)", f"{torch.get_num_threads()} thread(s)"
    document = {
        "conditions": conditions(*facts, packages=PACKAGES),
        "train": [int(np.median(counts[::2])), int(np.median(counts[1::2]))],
        "studies": [asdict(row) for row in rows],
    }
    publish(render, document, args.output)
    return int(args.check and not np.mean(gains(rows)) > 0)


if __name__ == "__main__":
    sys.exit(main())
