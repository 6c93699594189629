"""What the comparison takes of each system: one training by the stated protocol, and one latency reading.

Each outcome is a line of a file, with the conditions it was taken under; what the file holds is not taken again, and a
training that was interrupted goes on after its last epoch.
"""

import math
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.cells import CLASSES, INPUT_SIZE
from benchmarks.comparison.systems import System
from benchmarks.json_lines import append, lines_of
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
from threshnet.export.folder import export_onnx

DEVICE, RUNTIME = "cpu", "onnxruntime"
RATES = (1.0, 1 / 4, 1 / 16)  # learning rates that are tried, as shares of the recipe's
BLIND = 0.999  # a training loss above this share of a blind guess's is one


@dataclass(frozen=True)
class Protocols:
    """How every system is trained and measured."""

    recipe: Recipe
    # Training and validation images taken out of the training split; the latter are not used, and as many as the
    # built-in studies hold out, so that these are the images that their networks are trained on.
    train: int
    validation: int
    latency: Protocol = DEFAULT_PROTOCOL


@dataclass(frozen=True)
class Images:
    """The images of the comparison, decoded when first asked for."""

    settings: DataSettings

    @cached_property
    def search(self) -> SearchData:
        """Training images."""
        return load_search(self.settings, INPUT_SIZE)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Which images the training sees."""
        return identity(self.search)

    @cached_property
    def test(self) -> Split:
        """The whole test split, which scores each system once."""
        return load_test(self.settings, INPUT_SIZE)


class NotTaken(RuntimeError):  # noqa: N818 - a choice of the user, not a fault of the program
    """An outcome that is not there and was not asked for; the message says which."""


@dataclass(frozen=True)
class Ledger:
    """Outcomes so far, a line each."""

    file: Path
    # Kinds of outcomes that may be taken now; of the others only those that are there are told.
    kinds: Collection[str]

    def take(
        self, kind: str, key: str, conditions: Mapping[str, Any], work: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """The last outcome of that kind for that system under these conditions, else what `work` gives, written down.

        NotTaken where there is none and that kind is not taken now.
        """
        wanted = {"kind": kind, "key": key, "conditions": dict(conditions)}
        known = [line["outcome"] for line in lines_of(self.file) if {name: line[name] for name in wanted} == wanted]
        if known:
            outcome: dict[str, Any] = known[-1]
            return outcome
        if kind not in self.kinds:
            raise NotTaken(f"not {kind}")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        outcome = work()
        append(self.file, wanted | {"outcome": outcome})
        return outcome


def trained(ledger: Ledger, system: System, protocols: Protocols, images: Images, seed: int) -> dict[str, Any]:
    """Train a system by the recipe and score it on the test split; TrainingFailed where it gives no score.

    One that fails, or ends with the loss of a blind guess on the training images, is trained anew at a lower learning
    rate, those of RATES in turn; what is told of it is the first that does better, or the last.
    """
    for rate in RATES:
        recipe = replace(protocols.recipe, learning_rate=rate * protocols.recipe.learning_rate)
        conditions = {
            "recipe": asdict(recipe),
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
        if "failed" not in outcome and outcome["losses"][-1] < BLIND * math.log(CLASSES):
            break
    if "failed" in outcome:
        raise TrainingFailed(outcome["failed"])
    return outcome | {"rate": rate}


def _train(
    system: System, recipe: Recipe, images: Images, conditions: dict[str, Any], checkpoint: Path
) -> dict[str, Any]:
    """The outcome of one training, or why it failed."""
    data = images.search
    try:
        with memory_errors():
            training = Training(system.make, data.train, recipe, flip=data.flip, seed=conditions["seed"])
            if checkpoint.exists():
                load_training(training, checkpoint, conditions)
            while not training.finished:
                epoch = training.step_epoch(shared_lease=shared)
                save_training(training, checkpoint, conditions)
                told = f"epoch {epoch.number}, loss {epoch.loss:.3f}, {epoch.seconds:.0f} s"
                sys.stderr.write(f"{system.title}: {told}\n")
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
    """Measure a system's latency by the project's protocol; MeasurementError where that fails."""

    def measure() -> dict[str, Any]:
        with files([system], protocol.batch) as (file,):
            summary = measure_on(DEVICE, file, INPUT_SIZE, RUNTIME, protocol).summary()
        sys.stderr.write(f"{system.title}: {summary['latency_ms']:.3f} ms\n")
        return summary

    return ledger.take("measured", system.key, _measuring(protocol) | {"network": system.identity}, measure)


def paired(ledger: Ledger, ours: System, other: System, protocol: Protocol) -> dict[str, Any]:
    """The ratio of two systems' latencies, `other` over `ours`, measured in turns in one run."""

    def compare() -> dict[str, Any]:
        with files([other, ours], protocol.batch) as networks:
            found = compare_on(device_named(DEVICE), networks, INPUT_SIZE, RUNTIME, protocol)
        (pair,) = found.pairs
        sys.stderr.write(f"{other.title} / {ours.title}: {pair.ratio:.3f} ({pair.low:.3f}-{pair.high:.3f})\n")
        told = {"ratio": pair.ratio, "low": pair.low, "high": pair.high, "verdict": pair.verdict}
        return told | {"cycles": found.cycles, "warnings": list(found.warnings)}

    networks = {"networks": [other.identity, ours.identity]}
    return ledger.take("paired", f"{other.key}/{ours.key}", _measuring(protocol) | networks, compare)


def _measuring(protocol: Protocol) -> dict[str, Any]:
    """The conditions of a measurement, but for the network."""
    return {
        "device": DEVICE,
        "processor": processor_name(),
        "runtime": f"{RUNTIME} {version(RUNTIME)}",
        "input_size": INPUT_SIZE,
        "protocol": protocol.to_json(),
    }


@contextmanager
def files(several: Sequence[System], batch: int) -> Iterator[list[Network]]:
    """ONNX files of untrained systems, whose batch is fixed; gone after the block."""
    with tempfile.TemporaryDirectory(prefix="threshnet-") as folder:
        paths: list[Network] = []
        for system in several:
            path = Path(folder) / f"{system.key}.onnx"
            with shared(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                export_onnx(system.make(), INPUT_SIZE, path, batch)
            paths.append(path)
        yield paths
