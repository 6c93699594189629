"""Test how training and latency measurement affect each other: `python -m benchmarks.measurement_interference`.

Two workers train in one thread each and pause between steps while a latency is measured. Each network is measured
alternately while the workers are stopped and while they train, and the benchmark records how long the workers wait.
The cost is reported for a typical study, the built-in cifar10_cpu, which measures each trained network with each of its
runtimes.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

import numpy as np
import torch

from benchmarks.cells import spec_of
from benchmarks.report import Document, conditions, digits, options, publish, recorded, table
from search.data import Split
from search.latency.devices.named import device_named
from search.latency.lease import shared
from search.latency.measure import measure_on
from search.latency.probes.probe import median_interval, processor_name, usable_processors
from search.training.recipes import FAST
from search.training.train import Training
from studies.spec import StudySpec, find_spec
from threshnet.named import ABOUT
from threshnet.network import build

STUDY = "cifar10_cpu"
WORKERS = 2
TRAINED = "threshnet28"  # the network that the workers train
MEASURED = ("threshnet28", "threshnet79")
REPEATS, QUICK_REPEATS = 10, 6  # at least six are needed for a 95 % interval of the median
SETTLE_S = 1.0  # pause after the workers start or stop
MAX_CHANGE, MAX_LOSS = 0.05, 0.10  # --check: limits for the change in latency and the loss of training throughput
PACKAGES = ("torch", "onnxruntime")


@dataclass(frozen=True)
class Worker:
    """State shared with a training process."""

    images: "Synchronized[float]"  # training images processed so far
    waited_s: "Synchronized[float]"  # seconds spent waiting for measurements so far
    go: Event  # the worker trains while this is set


@dataclass(frozen=True)
class Interference:
    """Latency readings of one network in ms, alternately without and during training."""

    network: str
    alone_ms: tuple[float, ...]
    during_ms: tuple[float, ...]

    @property
    def change(self) -> tuple[float, float, float]:
        """Ratio of the latency during training to the latency without training: median and its 95 % interval."""
        ratios = [during / alone for alone, during in zip(self.alone_ms, self.during_ms, strict=True)]
        return float(np.median(ratios)), *median_interval(ratios)


@dataclass(frozen=True)
class Pauses:
    """Time that the training of a typical study loses to measurements."""

    pause_s: tuple[float, ...]  # seconds that one worker waits while one network is measured with every runtime
    images_per_s: float  # throughput of one worker while it trains
    images: int  # number of training images processed in one training of the study

    @property
    def period_s(self) -> float:
        """Seconds of training between two measurements if all workers train."""
        return self.images / self.images_per_s / WORKERS

    @property
    def loss(self) -> tuple[float, float, float]:
        """Fraction of the time that the workers wait: median and its 95 % interval."""
        fractions = [pause / (self.period_s + pause) for pause in self.pause_s]
        return float(np.median(fractions)), *median_interval(fractions)


def train(worker: Worker) -> None:
    """Train on noise until the parent process ends, and pause for measurements."""
    torch.set_num_threads(1)
    noise = Split(torch.randint(0, 256, (2_000, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 10, (2_000,)))
    training = Training(partial(build, spec_of(TRAINED)), noise, FAST, flip=True, seed=0)

    @contextmanager
    def timed_lease() -> Iterator[None]:
        worker.go.wait()
        start = time.monotonic()
        with shared():
            worker.waited_s.value += time.monotonic() - start
            yield

    def progress(done: int, steps: int) -> None:
        worker.images.value += training.recipe.batch

    parent = multiprocessing.parent_process()
    while parent and parent.is_alive():
        training.epochs.clear()  # repeat the same epoch
        training.step_epoch(progress, timed_lease)


def interference(network: str, study: StudySpec, repeats: int, set_training: Callable[[bool], None]) -> Interference:
    """Measure a network alternately without and during training."""
    latencies: dict[bool, list[float]] = {False: [], True: []}
    device = device_named(study.device)
    for repeat in range(repeats):
        for training in (False, True) if repeat % 2 == 0 else (True, False):
            set_training(training)
            latency = measure_on(device, spec_of(network), study.input_size, study.runtimes[0], study.protocol)
            latencies[training].append(latency.latency_ms)
        alone, during = latencies[False][-1], latencies[True][-1]
        sys.stderr.write(f"{network}: {alone:.3f} ms alone, {during:.3f} ms during training\n")
    return Interference(network, tuple(latencies[False]), tuple(latencies[True]))


def pauses(workers: Sequence[Worker], study: StudySpec, repeats: int, set_training: Callable[[bool], None]) -> Pauses:
    """Measure the training throughput, and how long the workers wait while networks are measured as in the study."""
    set_training(True)
    start, before = time.monotonic(), _sum(workers, "images")
    time.sleep(20 * SETTLE_S)
    rate = (_sum(workers, "images") - before) / (time.monotonic() - start) / WORKERS
    waited = []
    for repeat in range(repeats):
        before = _sum(workers, "waited_s")
        for runtime in study.runtimes:
            name = MEASURED[repeat % len(MEASURED)]
            measure_on(device_named(study.device), spec_of(name), study.input_size, runtime, study.protocol)
        time.sleep(SETTLE_S)  # a worker records its waiting time when it resumes
        waited.append((_sum(workers, "waited_s") - before) / WORKERS)
        sys.stderr.write(f"waited {waited[-1]:.2f} s\n")
    return Pauses(tuple(waited), rate, study.recipe.epochs * (study.dataset.train or 0))


def _sum(workers: Sequence[Worker], counter: str) -> float:
    return sum(float(getattr(worker, counter).value) for worker in workers)


def reached(rows: Sequence[Interference], cost: Pauses) -> bool:
    """True if the change in latency and the loss of training throughput are within the limits of --check."""
    return all(abs(row.change[0] - 1) <= MAX_CHANGE for row in rows) and cost.loss[0] <= MAX_LOSS


def render(document: Document) -> str:
    """Render the page of a recorded run."""
    rows = [
        Interference(
            one["network"], one["alone_ms"], one.get("during_ms") or one["beside_ms"]
        )  # the key that earlier runs used
        for one in document["latency"]
    ]
    return markdown(rows, Pauses(**document["pauses"]), document["conditions"])


def markdown(rows: Sequence[Interference], cost: Pauses, facts: str) -> str:
    """Return the tables of latencies and training throughput, and the conditions."""
    cells = [
        [
            ABOUT[row.network].title,
            digits(float(np.median(row.alone_ms))),
            digits(float(np.median(row.during_ms))),
            "{:.3f} ({:.3f} to {:.3f})".format(*row.change),
        ]
        for row in rows
    ]
    loss = "{:.1%} ({:.1%} to {:.1%})".format(*cost.loss)
    throughput = [
        ABOUT[TRAINED].title,
        f"{cost.images_per_s:.0f}",
        f"{cost.period_s:.0f}",
        f"{float(np.median(cost.pause_s)):.1f}",
        loss,
    ]
    header = ["Training", "images/s per worker", "s between measurements", "s waiting per measurement", "time lost"]
    return "\n".join(
        [
            table(["Latency", "alone, ms", f"during {WORKERS} trainings, ms", "during / alone"], cells),
            "",
            table(header, [throughput]),
            "",
            f"Medians with 95 % intervals; n = {len(rows[0].alone_ms)} alternating readings per network, and "
            f"{len(cost.pause_s)} measured networks for the time lost. {WORKERS} workers train {ABOUT[TRAINED].title} "
            f"in one thread each. A training of the study {STUDY} processes {cost.images:,} training images. "
            f"Conditions: {facts}.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurements, print and write the page, and return the exit status."""
    goal = f"no latency changes by more than {MAX_CHANGE:.0%} and training loses at most {MAX_LOSS:.0%} of its time"
    parser = options("measurement_interference", "Measuring latency during training, as Markdown.", goal)
    args = parser.parse_args(arguments)
    if args.render:
        publish(render, recorded(args.render), args.output)
        return 0
    repeats = QUICK_REPEATS if args.quick else REPEATS
    study = find_spec(STUDY)
    spawn = multiprocessing.get_context("spawn")
    workers = [Worker(spawn.Value("d", 0.0), spawn.Value("d", 0.0), spawn.Event()) for _ in range(WORKERS)]
    processes = [spawn.Process(target=train, args=(worker,), daemon=True) for worker in workers]

    def set_training(training: bool) -> None:
        for worker in workers:
            worker.go.set() if training else worker.go.clear()
        time.sleep(SETTLE_S)

    for process in processes:
        process.start()
    try:
        rows = [interference(network, study, repeats, set_training) for network in MEASURED]
        cost = pauses(workers, study, repeats, set_training)
    finally:
        for process in processes:
            process.kill()
    document = {
        "conditions": conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES),
        "latency": [asdict(row) for row in rows],
        "pauses": asdict(cost),
    }
    publish(render, document, args.output)
    return int(args.check and not reached(rows, cost))


if __name__ == "__main__":
    sys.exit(main())
