"""The arms of the recipe stage: the base recipe, and recipes that differ from it in one ingredient.

The ingredients are those of the records for short trainings on CIFAR-10 (Jordan, "94% on CIFAR-10 in 3.29 seconds on a
single GPU", 2024, arXiv:2404.00498, and the programs airbench94 and airbench96 published with it). Three of them are
part of the base recipe: decoupled weight decay, a triangular schedule and averaged weights. Smaller images early cannot
be used: ThreshNet28 leaves no pixels of images below 32x32.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from benchmarks.campaign.protocol import BASE
from search.training.recipes import Recipe

# Muon takes long for each step of a network with wide layers, so it is also tried with larger batches and, in
# proportion, a higher rate. The rate of Nesterov SGD is common for batches of 128 (Page, "How to train your ResNet",
# 2018).
ARMS: dict[str, dict[str, Any]] = {
    "alternating-flips": {"alternating_flips": True},
    "smoothing": {"label_smoothing": 0.2},
    "nesterov": {"optimiser": "nesterov", "learning_rate": 0.1, "weight_decay": 5e-4},
    "muon": {"optimiser": "muon"},
    "muon-large-batches": {"optimiser": "muon", "batch": 512, "learning_rate": 8e-3},
    "whitened": {"whitened": True},
    "identity": {"identity": True},
    "augmentation": {"shift": 4, "cutout": 8},
}
OPTIMISERS = ("nesterov", "muon", "muon-large-batches")  # a recipe has at most one of these


def changed(*arms: str) -> Recipe:
    """Return the base recipe with the changes of some arms."""
    changes: dict[str, Any] = {}
    for arm in arms:
        changes |= ARMS[arm]
    return replace(BASE, **changes)


def described(recipe: Recipe) -> str:
    """Return a recipe in words: the settings that differ from the base recipe, without the number of epochs."""
    changes = [f"{name} {value}" for name, value in vars(recipe).items() if value != vars(BASE)[name]]
    changes = [change for change in changes if not change.startswith("epochs ")]
    return f"{BASE.name} with {', '.join(changes)}" if changes else BASE.name


def combination(gains: Mapping[str, float], least: float) -> tuple[str, ...]:
    """Choose the arms that make up the best recipe by their gains, in points of error.

    These are the arms that gain at least `least`, but only the best one of the optimizers. If there is none, it is
    the arm with the highest gain.
    """
    good = [arm for arm in gains if gains[arm] >= least]
    optimiser = _best([arm for arm in good if arm in OPTIMISERS], gains)
    chosen = [arm for arm in good if arm not in OPTIMISERS or arm in optimiser]
    return tuple(chosen or _best(list(gains), gains))


def _best(arms: Collection[str], gains: Mapping[str, float]) -> list[str]:
    """Return the arm with the highest gain as a list; empty if there is no arm."""
    return [max(arms, key=lambda arm: gains[arm])] if arms else []
