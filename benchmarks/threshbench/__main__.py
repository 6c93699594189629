"""Records a ThreshBench table: `python -m benchmarks.threshbench cifar10 --data FOLDER`.

Resumable: a table under way is gone on with. Two processes train, one thread each; latencies are taken at the end, with
nothing else running. About an hour for cifar10 and a quarter for svhn on two cores.
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

from benchmarks.json_lines import append, lines_of
from benchmarks.threshbench.table import FOLDER, INPUT_SIZE, PROTOCOL, RECIPE, RUNGS, SPACE, networks
from benchmarks.workers import pool
from search.data import DATASETS, DataSettings, SearchData, identity, load_search
from search.latency.lease import shared
from search.latency.measure import measure_on
from search.training.evaluate import error_percent
from search.training.train import Training
from studies.environment import environment
from threshnet.network import build
from threshnet.spec import NetworkSpec

SEED = 0  # of every network's training, and of the order in which networks are recorded
SEEDS = (1, 2)  # further ones of the networks that tell the noise
REPEATED = 12  # how many those are


@dataclass(frozen=True)
class Images:
    """Images of a table."""

    train: int
    validation: int
    flip: bool


TABLES = {
    "cifar10": Images(train=5_000, validation=5_000, flip=True),
    "svhn": Images(train=2_000, validation=2_000, flip=False),
}
_data: SearchData  # of a worker process, set once by `begin`


def begin(settings: DataSettings) -> None:
    """Prepare a worker process: one thread, the images in memory."""
    global _data
    torch.set_num_threads(1)
    _data = load_search(settings, INPUT_SIZE)


def train(spec: NetworkSpec, seed: int, flip: bool) -> dict[str, Any]:
    """Train one network and score it at every rung; its line of the table."""
    began = time.perf_counter()
    training = Training(partial(build, spec), _data.train, RECIPE, flip=flip, seed=seed)
    errors = []
    while not training.finished:
        training.step_epoch(shared_lease=shared)
        if len(training.epochs) in RUNGS:
            errors.append(error_percent(training.current(shared), _data.validation, shared))
    seconds = time.perf_counter() - began
    return {"network": spec.fingerprint(), "seed": seed, "errors": errors, "seconds": round(seconds, 1)}


def trainings(specs: dict[str, NetworkSpec], lines: Sequence[dict[str, Any]]) -> Iterator[tuple[NetworkSpec, int]]:
    """What is still to be trained, in a random order that does not depend on what is already there."""
    done = {(line["network"], line["seed"]) for line in lines if "errors" in line}
    order = sorted(specs)
    random.Random(SEED).shuffle(order)
    wanted = [(name, SEED) for name in order] + [(name, seed) for seed in SEEDS for name in order[:REPEATED]]
    yield from ((specs[name], seed) for name, seed in wanted if (name, seed) not in done)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record what is missing; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threshbench", description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="an ImageFolder tree, instead of the download")
    parser.add_argument("--caveat", default="", help="what to say beside every number made with these images")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the table; default: the one in the repository")
    given = parser.parse_args(arguments)
    images = TABLES[given.table]
    name = "folder" if given.data else given.table
    settings = DataSettings(name, path=given.data, train=images.train, validation=images.validation)
    file = given.output or FOLDER / f"threshbench_{given.table}.jsonl"
    specs, lines = networks(), lines_of(file)
    if not lines:
        data = load_search(settings, INPUT_SIZE)
        about = {
            "table": given.table,
            "caveat": given.caveat or DATASETS[name].caveat,
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
    todo = list(trainings(specs, lines))
    began = time.monotonic()
    with pool(begin, settings) as workers:
        asked = [workers.submit(train, spec, seed, images.flip) for spec, seed in todo]
        for number, future in enumerate(as_completed(asked), start=1):
            line = future.result()
            append(file, line)
            errors = " ".join(f"{error:.1f}" for error in line["errors"])
            left = (time.monotonic() - began) / number * (len(todo) - number) / 60
            sys.stderr.write(f"{number} of {len(todo)}: {errors} %, {line['seconds']} s; {left:.0f} minutes left\n")
    measured = {line["network"] for line in lines if "latency_ms" in line}
    for fingerprint, spec in specs.items():
        if fingerprint not in measured:
            taken = measure_on("cpu", spec, INPUT_SIZE, "onnxruntime", PROTOCOL)
            interval = (taken.low_ms, taken.high_ms)
            append(file, {"network": fingerprint, "latency_ms": taken.latency_ms, "interval_ms": interval})
            sys.stderr.write(f"{fingerprint}: {taken.latency_ms:.3f} ms\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
