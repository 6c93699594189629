"""Training and latency measurement of the compared systems under one protocol.

Each result is stored as a line of a file, together with its conditions. Results that are already in the file are not
computed again, and an interrupted training resumes after its last epoch.
"""

import math
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.cells import CLASSES, INPUT_SIZE
from benchmarks.comparison.systems import System
from search.data import DataSettings, SearchData, Split, identity, load_search, load_test
from search.latency.compare import compare_on
from search.latency.devices.named import device_named
from search.latency.lease import shared
from search.latency.measure import measure_on
from search.latency.onnx_files import Network
from search.latency.probes.probe import processor_name
from search.latency.protocol import DEFAULT_PROTOCOL, Protocol
from search.training.checkpoints import load_training, save_training
from search.training.evaluate import error_percent
from search.training.recipes import Recipe
from search.training.train import Training, TrainingFailed, memory_errors
from studies.json_lines import append, read_lines
from threshnet.export.onnx_file import export_onnx

DEVICE, RUNTIME = "cpu", "onnxruntime"
RATES = (1.0, 1 / 4, 1 / 16)  # learning rates to try, as fractions of the recipe's learning rate
CHANCE = 0.999  # a training loss above this fraction of the chance-level loss counts as chance level


@dataclass(frozen=True)
class Protocols:
    """The protocols for training and measuring all systems."""

    recipe: Recipe
    # Numbers of training and validation images in the training split. The validation images are not used. The numbers
    # are those of the built-in studies, so the training images are the same as in these studies.
    train: int
    validation: int
    latency: Protocol = DEFAULT_PROTOCOL


@dataclass(frozen=True)
class Images:
    """The images of the comparison, decoded on first use."""

    settings: DataSettings

    @cached_property
    def search(self) -> SearchData:
        """Training images."""
        return load_search(self.settings, INPUT_SIZE)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Settings and hash that identify the training images."""
        return identity(self.search)

    @cached_property
    def test(self) -> Split:
        """The whole test split. It is used only once for each system."""
        return load_test(self.settings, INPUT_SIZE)


class NotTaken(RuntimeError):  # noqa: N818 - a choice of the user, not a fault of the program
    """Raised if a result is missing but --only excludes its kind. The message names the kind."""


@dataclass(frozen=True)
class Ledger:
    """The file of results so far, one per line."""

    file: Path
    # Kinds of results to compute if they are missing. Results of other kinds are only read.
    kinds: Collection[str]

    def take(
        self, kind: str, key: str, conditions: Mapping[str, Any], work: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the last result recorded for this kind, system and conditions, or compute and record a new one.

        Raises NotTaken if the result is missing and results of this kind should not be computed.
        """
        entry = {"kind": kind, "key": key, "conditions": dict(conditions)}
        found = [line["outcome"] for line in read_lines(self.file) if {name: line[name] for name in entry} == entry]
        if found:
            outcome: dict[str, Any] = found[-1]
            return outcome
        if kind not in self.kinds:
            raise NotTaken(f"not {kind}")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        outcome = work()
        append(self.file, entry | {"outcome": outcome})
        return outcome


def trained(ledger: Ledger, system: System, protocols: Protocols, images: Images, seed: int) -> dict[str, Any]:
    """Train a system with the recipe and score it on the test split. Raises TrainingFailed if there is no score.

    If a training fails or its loss stays at chance level, it is repeated with lower learning rates, in the order of
    RATES. The result is that of the first successful training, or of the last one if none succeeds.
    """
    for rate in RATES:
        recipe = replace(protocols.recipe, learning_rate=rate * protocols.recipe.learning_rate)
        conditions = {
            "recipe": recipe.stored,
            "images": images.identity,
            "input_size": INPUT_SIZE,
            "network": system.identity,
            "seed": seed,
            "threads": torch.get_num_threads(),
            "processor": processor_name(),
            "torch": str(torch.__version__),
        }
        checkpoint = ledger.file.with_name(f"{system.key}-{seed}-{rate:g}.pt")
        work = partial(_train, system, recipe, images, conditions, checkpoint)
        outcome = ledger.take("trained", system.key, conditions, work)
        checkpoint.unlink(missing_ok=True)
        if "failed" not in outcome and outcome["losses"][-1] < CHANCE * math.log(CLASSES):
            break
    if "failed" in outcome:
        raise TrainingFailed(outcome["failed"])
    return outcome | {"rate": rate}


def _train(
    system: System, recipe: Recipe, images: Images, conditions: dict[str, Any], checkpoint: Path
) -> dict[str, Any]:
    """Train once and return the result, or the reason if the training fails."""
    data = images.search
    try:
        with memory_errors():
            training = Training(system.make, data.train, recipe, flip=data.flip, seed=conditions["seed"])
            if checkpoint.exists():
                load_training(training, checkpoint, conditions)
            while not training.finished:
                epoch = training.step_epoch(shared_lease=shared)
                save_training(training, checkpoint, conditions)
                line = f"epoch {epoch.number}, loss {epoch.loss:.3f}, {epoch.seconds:.0f} s"
                sys.stderr.write(f"{system.title}: {line}\n")
            error = error_percent(training.result(shared), images.test, shared)
    except TrainingFailed as failure:
        return {"failed": str(failure)}
    return {
        "test_error_percent": error,
        "test_images": len(images.test),
        "losses": [epoch.loss for epoch in training.epochs],
        "seconds": sum(epoch.seconds for epoch in training.epochs),
    }


def measured(ledger: Ledger, system: System, protocol: Protocol) -> dict[str, Any]:
    """Measure a system's latency with the project's protocol. Raises MeasurementError if it fails."""

    def measure() -> dict[str, Any]:
        with onnx_files_of([system], protocol.batch) as (file,):
            summary = measure_on(device_named(DEVICE), file, INPUT_SIZE, RUNTIME, protocol).summary()
        sys.stderr.write(f"{system.title}: {summary['latency_ms']:.3f} ms\n")
        return summary

    return ledger.take("measured", system.key, _conditions(protocol) | {"network": system.identity}, measure)


def paired(ledger: Ledger, ours: System, other: System, protocol: Protocol) -> dict[str, Any]:
    """Measure two systems alternately in one run and return the latency of `other` divided by that of `ours`."""

    def compare() -> dict[str, Any]:
        with onnx_files_of([other, ours], protocol.batch) as networks:
            comparison = compare_on(device_named(DEVICE), networks, INPUT_SIZE, RUNTIME, protocol)
        (pair,) = comparison.pairs
        sys.stderr.write(f"{other.title} / {ours.title}: {pair.ratio:.3f} ({pair.low:.3f}-{pair.high:.3f})\n")
        outcome = {"ratio": pair.ratio, "low": pair.low, "high": pair.high, "verdict": pair.verdict}
        return outcome | {"loads": comparison.loads, "warnings": list(comparison.warnings)}

    networks = {"networks": [other.identity, ours.identity]}
    return ledger.take("paired", f"{other.key}/{ours.key}", _conditions(protocol) | networks, compare)


def _conditions(protocol: Protocol) -> dict[str, Any]:
    """Return the conditions of a measurement, except for the network."""
    return {
        "device": DEVICE,
        "processor": processor_name(),
        "runtime": f"{RUNTIME} {version(RUNTIME)}",
        "input_size": INPUT_SIZE,
        "protocol": protocol.to_json(),
    }


@contextmanager
def onnx_files_of(systems: Sequence[System], batch: int) -> Iterator[list[Network]]:
    """Export untrained systems to temporary ONNX files with a fixed batch size."""
    with tempfile.TemporaryDirectory(prefix="threshnet-") as folder:
        paths: list[Network] = []
        for system in systems:
            path = Path(folder) / f"{system.key}.onnx"
            with shared(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                export_onnx(system.make(), INPUT_SIZE, path, batch)
            paths.append(path)
        yield paths
