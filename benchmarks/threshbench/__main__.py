"""Record a ThreshBench table: `python -m benchmarks.threshbench cifar10 --data FOLDER`.

The command can be rerun to record the missing entries. Two processes train in one thread each. Latencies are measured
at the end, when nothing else is running. On two cores, cifar10 takes about an hour and svhn about 15 minutes.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import digits
from benchmarks.report import table as markdown_table
from benchmarks.threshbench.table import (
    FOLDER,
    INPUT_SIZE,
    PROTOCOL,
    RECIPE,
    RUNGS,
    SPACE,
    Table,
    networks,
    noise,
    read,
)
from benchmarks.workers import pool
from search.data import DataSettings, SearchData, identity, load_search
from search.datasets.named import DATASETS
from search.latency.devices.cpu import Cpu
from search.latency.lease import shared
from search.latency.measure import measure_on
from search.training.evaluate import error_percent
from search.training.train import Training
from studies.environment import environment
from studies.json_lines import append, read_lines
from threshnet.network import build
from threshnet.spec import NetworkSpec

SEED = 0  # seed of all trainings and of the order in which networks are recorded
SEEDS = (1, 2)  # further seeds for some networks, to estimate the variance between seeds
REPEATED = 12  # number of networks trained with these further seeds
QUICK = 4  # --quick: maximum number of trainings and of latencies to record


@dataclass(frozen=True)
class Images:
    """The images used to record a table."""

    train: int
    validation: int
    flip: bool


TABLES = {
    "cifar10": Images(train=5_000, validation=5_000, flip=True),
    "svhn": Images(train=2_000, validation=2_000, flip=False),
}
_data: SearchData  # the images of this worker process, set by `initialise`


def initialise(settings: DataSettings) -> None:
    """Initialise a worker process with one thread, and load the images into memory."""
    global _data
    torch.set_num_threads(1)
    _data = load_search(settings, INPUT_SIZE)


def train(spec: NetworkSpec, seed: int, flip: bool) -> dict[str, Any]:
    """Train one network, score it at every rung, and return its line of the table."""
    start = time.perf_counter()
    training = Training(partial(build, spec), _data.train, RECIPE, flip=flip, seed=seed)
    errors = []
    while not training.finished:
        training.step_epoch(shared_lease=shared)
        if len(training.epochs) in RUNGS:
            errors.append(error_percent(training.current(shared), _data.validation, shared))
    seconds = time.perf_counter() - start
    return {"network": spec.fingerprint(), "seed": seed, "errors": errors, "seconds": round(seconds, 1)}


def missing_trainings(
    specs: dict[str, NetworkSpec], lines: Sequence[dict[str, Any]]
) -> Iterator[tuple[NetworkSpec, int]]:
    """Yield each (network, seed) that is not recorded yet. The random order is the same in every run."""
    done = {(line["network"], line["seed"]) for line in lines if "errors" in line}
    order = sorted(specs)
    random.Random(SEED).shuffle(order)
    every = [(name, SEED) for name in order] + [(name, seed) for seed in SEEDS for name in order[:REPEATED]]
    yield from ((specs[name], seed) for name, seed in every if (name, seed) not in done)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the missing entries, print a summary, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threshbench", description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="an ImageFolder tree [the download]")
    parser.add_argument("--caveat", default="", help="note shown with every number from these images")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the table [the one in the repository]")
    parser.add_argument("--quick", action="store_true", help=f"record at most {QUICK} trainings and {QUICK} latencies")
    parser.add_argument("--check", action="store_true", help="exit status 1 unless the table is complete")
    args = parser.parse_args(arguments)
    images = TABLES[args.table]
    name = "folder" if args.data else args.table
    settings = DataSettings(name, path=args.data, train=images.train, validation=images.validation)
    file = args.output or FOLDER / f"threshbench_{args.table}.jsonl"
    most = QUICK if args.quick else None
    specs, lines = networks(), read_lines(file)
    if not lines:
        data = load_search(settings, INPUT_SIZE)
        about = {
            "table": args.table,
            "caveat": args.caveat or DATASETS[name].caveat,
            "images": identity(data),
            "flip": images.flip,
            "rungs": RUNGS,
            "passes_per_epoch": RECIPE.image_passes(len(data.train)) // RECIPE.epochs,
            "recipe": asdict(RECIPE),
            "space": {"parameters": len(SPACE.distributions()), "networks": len(specs)},
            "protocol": PROTOCOL.to_json(),
            "environment": environment(),
        }
        append(file, about)
    record_trainings(file, settings, list(missing_trainings(specs, lines))[:most], images.flip)
    measured = {line["network"] for line in lines if "latency_ms" in line}
    record_latencies(file, [spec for name, spec in specs.items() if name not in measured][:most])
    try:
        recorded = read(file)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return int(args.check)
    sys.stdout.write(summary(recorded) + "\n")
    return 0


def record_trainings(file: Path, settings: DataSettings, todo: Sequence[tuple[NetworkSpec, int]], flip: bool) -> None:
    """Train in worker processes, append each result to the file, and report progress on standard error."""
    if not todo:
        return
    start = time.monotonic()
    with pool(initialise, settings) as workers:
        futures = [workers.submit(train, spec, seed, flip) for spec, seed in todo]
        for number, future in enumerate(as_completed(futures), start=1):
            line = future.result()
            append(file, line)
            errors = " ".join(f"{error:.1f}" for error in line["errors"])
            left = (time.monotonic() - start) / number * (len(todo) - number) / 60
            sys.stderr.write(f"{number} of {len(todo)}: {errors} %, {line['seconds']} s; {left:.0f} minutes left\n")


def record_latencies(file: Path, todo: Sequence[NetworkSpec]) -> None:
    """Measure the networks and append each latency to the file."""
    for spec in todo:
        latency = measure_on(Cpu(), spec, INPUT_SIZE, "onnxruntime", PROTOCOL)
        interval = (latency.low_ms, latency.high_ms)
        append(file, {"network": spec.fingerprint(), "latency_ms": latency.latency_ms, "interval_ms": interval})
        sys.stderr.write(f"{spec.fingerprint()}: {latency.latency_ms:.3f} ms\n")


def summary(recorded: Table) -> str:
    """Summarise a complete table as Markdown: its size and the ranges of its numbers."""
    latencies = sorted(entry.latency_ms for entry in recorded.entries)
    errors = sorted(entry.errors[-1] for entry in recorded.entries)
    deviation, repeated = noise(recorded.entries)
    row = [
        recorded.about["table"],
        str(len(recorded.entries)),
        str(sum(len(entry.trained) for entry in recorded.entries)),
        f"{digits(latencies[0])} to {digits(latencies[-1])}",
        f"{errors[0]:.2f} to {errors[-1]:.2f}",
        f"{digits(deviation)} (n = {repeated} networks)",
    ]
    header = ["Table", "networks", "trainings", "latency, ms", "error, %", "standard deviation between seeds"]
    return markdown_table(header, [row])


if __name__ == "__main__":
    sys.exit(main())
