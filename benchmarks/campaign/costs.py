"""The time of each recipe, and the epochs that take equal time: `python -m benchmarks.campaign.costs`.

An arm and the base recipe train alternately, with one thread, and the ratio of their processor seconds is recorded. It
is measured once, before the campaign, so that the length of each training is fixed beforehand. It takes about 15
minutes.
"""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch

from benchmarks.campaign.arms import ARMS, changed
from benchmarks.campaign.networks import RECIPE_NETWORKS
from benchmarks.campaign.protocol import BASE, EPOCHS, THREADS
from benchmarks.campaign.units import commit, report
from benchmarks.cells import CLASSES, INPUT_SIZE
from search.data import Split
from search.training.recipes import Recipe
from search.training.train import Training
from studies.environment import environment
from threshnet.errors import InputError
from threshnet.network import build
from threshnet.spec import NetworkSpec

FILE = Path(__file__).parents[1] / "results" / "campaign" / "costs.json"
IMAGES = 1024  # images of an epoch, a multiple of each recipe's batch
ROUNDS = 5
MARGIN = (
    1.05  # an arm may take up to this many times the time of the base recipe; a fraction of an epoch is not trained
)


def ratios() -> dict[str, dict[str, float]]:
    """Read the ratios, by network and arm; raises InputError if they are not recorded."""
    try:
        found: dict[str, dict[str, float]] = json.loads(FILE.read_text())["ratios"]
    except (OSError, ValueError, KeyError):
        raise InputError(f"{FILE}: missing or damaged; run python -m benchmarks.campaign.costs") from None
    return found


def ratio_of(network: str, arms: Sequence[str]) -> float:
    """Return the time of a recipe with several arms: each adds to that of the base recipe what it adds alone."""
    known = ratios()[network]
    return 1 + sum(known[arm] - 1 for arm in arms)


def epochs_in_equal_time(ratio: float) -> int:
    """Return the epochs in which a recipe with this ratio takes the time of the base recipe, within MARGIN."""
    return max(1, int(EPOCHS * MARGIN / ratio))


def measured(spec: NetworkSpec, recipe: Recipe, images: Split, rounds: int) -> float:
    """Return the median ratio of the processor seconds of a recipe and of the base recipe, epoch by epoch."""
    make = partial(build, spec)
    pair = [Training(make, images, each, flip=True, seed=0) for each in (recipe, BASE)]
    for training in pair:
        _seconds(training)  # a warm-up
    return median(_seconds(pair[0]) / _seconds(pair[1]) for _ in range(rounds))


def _seconds(training: Training[Any]) -> float:
    started = process_time()
    training.step_epoch()
    training.epochs.clear()  # repeat the same epoch
    return process_time() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all arms on all networks and write the file."""
    if arguments:
        sys.exit("error: takes no arguments")
    torch.set_num_threads(THREADS)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES, 3, INPUT_SIZE, INPUT_SIZE), generator=generator)
    images = Split(pixels.to(torch.uint8), torch.arange(IMAGES) % CLASSES)
    found: dict[str, dict[str, float]] = {}
    for network, spec in RECIPE_NETWORKS.items():
        for arm in ARMS:
            found.setdefault(network, {})[arm] = ratio = round(measured(spec, changed(arm), images, ROUNDS), 3)
            report(f"{network}, {arm}: {ratio:.3f} times the time of {BASE.name}")
    document = {"ratios": found, "rounds": ROUNDS, "images": IMAGES, "commit": commit(), "conditions": environment()}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
