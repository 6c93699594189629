"""The frozen protocol of the campaign: which images are for training, for recipes and searches, and for challengers.

CIFAR-10's 50,000 training images are split once, stratified and with a fixed seed: 40,000 to train, 5,000 (part A) for
recipes and searches, 5,000 (part B) to choose the challengers of the finals. The finals train on all of them. Nothing
but the finals reads the test images.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.cells import INPUT_SIZE
from search.data import DataSettings, SearchData, Split, identity, load_search
from search.training.recipes import Recipe

EPOCHS = 10  # epochs of a full training before the finals
THREADS = 1  # see `benchmarks.campaign.units`
Scored = Literal["a", "b", "ab"]

# The recipe that the others are compared with: `fast` as it was before the campaign, whatever it is today.
BASE = Recipe(
    name="fast",
    epochs=EPOCHS,
    batch=128,
    optimiser="adamw",
    learning_rate=2e-3,
    schedule="one_cycle",
    weight_decay=0.05,
    label_smoothing=0.1,
    flip="where_allowed",
    shift=2,
    averaged=True,
    mixed=True,
)


@dataclass(frozen=True)
class Parts:
    """Numbers of images in the three parts, and the seed of the split."""

    train: int = 40_000
    a: int = 5_000
    b: int = 5_000
    seed: int = 0


FULL = Parts()
QUICK = Parts(train=200, a=50, b=50)


@dataclass(frozen=True)
class Images:
    """The images of the campaign, decoded on first use."""

    # An ImageFolder tree. If None, the CIFAR-10 download.
    path: Path | None
    parts: Parts
    # A note about the images that is shown with all results on them.
    caveat: str = ""

    @cached_property
    def search(self) -> SearchData:
        """The images to train on, and both other parts."""
        parts = self.parts
        name = "folder" if self.path else "cifar10"
        held_out = parts.a + parts.b
        return load_search(DataSettings(name, self.path, parts.train, held_out, seed=parts.seed), INPUT_SIZE)

    @property
    def train(self) -> Split:
        """The images to train on."""
        return self.search.train

    @property
    def a(self) -> Split:
        """Part A, for recipes and searches."""
        return self._held_out(0, self.parts.a)

    @property
    def b(self) -> Split:
        """Part B, to choose challengers."""
        return self._held_out(self.parts.a, self.parts.a + self.parts.b)

    def scored(self, on: Scored) -> Split:
        """Return the images that a training is scored on: part A, part B, or both ("ab")."""
        match on:
            case "a":
                return self.a
            case "b":
                return self.b
            case "ab":
                a, b = self.a, self.b
                return Split(torch.cat([a.images, b.images]), torch.cat([a.labels, b.labels]))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The number of images and a hash that identify the images."""
        return identity(self.search)

    def _held_out(self, first: int, stop: int) -> Split:
        """Return some of the images that are not for training; every prefix of them is stratified."""
        held_out = self.search.validation
        return Split(held_out.images[first:stop], held_out.labels[first:stop])
