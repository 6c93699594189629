"""What training and measuring do to each other on one machine: `python -m benchmarks.measurement_interference`.

Two workers train, each in one thread, and pause between steps while the CPU is measured. Networks are measured in turns
with the workers stopped and with them training; the time that workers spend waiting is kept. A typical study is the
built-in cifar10_cpu: for each network that its workers train, one network is measured through each of its runtimes.
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
from benchmarks.report import conditions, digits, options, publish, table
from search.data import Split
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
TRAINED = "threshnet28"  # what the workers train
MEASURED = ("threshnet28", "threshnet79")
REPEATS, QUICK_REPEATS = 10, 6  # six are the fewest that have a 95 % interval of the median
SETTLE_S = 1.0  # after the workers start or stop
CHANGE, LOSS = 0.05, 0.10  # --check: largest change of a latency, largest loss of throughput
PACKAGES = ("torch", "onnxruntime")


@dataclass(frozen=True)
class Worker:
    """What a training process shares with this one."""

    images: "Synchronized[float]"  # trained so far
    waited_s: "Synchronized[float]"  # spent waiting for measurements so far
    go: Event  # it trains while this is set


@dataclass(frozen=True)
class Interference:
    """One network's latency, ms, alone and beside training, in turns."""

    network: str
    alone_ms: tuple[float, ...]
    beside_ms: tuple[float, ...]

    @property
    def change(self) -> tuple[float, float, float]:
        """Beside over alone: the median of the turns, and the ends of its 95 % interval."""
        ratios = [beside / alone for alone, beside in zip(self.alone_ms, self.beside_ms, strict=True)]
        return float(np.median(ratios)), *median_interval(ratios)


@dataclass(frozen=True)
class Pauses:
    """What measuring costs the training of a typical study."""

    pause_s: tuple[float, ...]  # waited by one worker, for one network measured through every runtime
    images_per_s: float  # of one worker while it trains
    images: int  # passes of one training of the study

    @property
    def period_s(self) -> float:
        """Seconds of training between two measured networks, with all workers at work."""
        return self.images / self.images_per_s / WORKERS

    @property
    def loss(self) -> tuple[float, float, float]:
        """Share of the time that training waits: median and the ends of its 95 % interval."""
        shares = [pause / (self.period_s + pause) for pause in self.pause_s]
        return float(np.median(shares)), *median_interval(shares)


def train(worker: Worker) -> None:
    """Train on noise, in turns with measurements, until the benchmark is gone."""
    torch.set_num_threads(1)
    noise = Split(torch.randint(0, 256, (2_000, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 10, (2_000,)))
    training = Training(partial(build, spec_of(TRAINED)), noise, FAST, flip=True, seed=0)

    @contextmanager
    def turn() -> Iterator[None]:
        worker.go.wait()
        asked = time.monotonic()
        with shared():
            worker.waited_s.value += time.monotonic() - asked
            yield

    def progress(done: int, steps: int) -> None:
        worker.images.value += training.recipe.batch

    parent = multiprocessing.parent_process()
    while parent and parent.is_alive():
        training.epochs.clear()  # the same epoch once more
        training.step_epoch(progress, turn)


def beside(network: str, study: StudySpec, repeats: int, set_going: Callable[[bool], None]) -> Interference:
    """Measure a network in turns without and with training beside it."""
    taken: dict[bool, list[float]] = {False: [], True: []}
    for repeat in range(repeats):
        for training in (False, True) if repeat % 2 == 0 else (True, False):
            set_going(training)
            latency = measure_on(study.device, spec_of(network), study.input_size, study.runtimes[0], study.protocol)
            taken[training].append(latency.latency_ms)
        sys.stderr.write(f"{network}: {taken[False][-1]:.3f} ms alone, {taken[True][-1]:.3f} ms beside training\n")
    return Interference(network, tuple(taken[False]), tuple(taken[True]))


def pauses(workers: Sequence[Worker], study: StudySpec, repeats: int, set_going: Callable[[bool], None]) -> Pauses:
    """How long the workers wait while a network is measured as the study does, and how fast they train otherwise."""
    set_going(True)
    began, before = time.monotonic(), _sum(workers, "images")
    time.sleep(20 * SETTLE_S)
    rate = (_sum(workers, "images") - before) / (time.monotonic() - began) / WORKERS
    waited = []
    for repeat in range(repeats):
        before = _sum(workers, "waited_s")
        for runtime in study.runtimes:
            name = MEASURED[repeat % len(MEASURED)]
            measure_on(study.device, spec_of(name), study.input_size, runtime, study.protocol)
        time.sleep(SETTLE_S)  # a worker counts its waiting when it goes on
        waited.append((_sum(workers, "waited_s") - before) / WORKERS)
        sys.stderr.write(f"waited {waited[-1]:.2f} s\n")
    return Pauses(tuple(waited), rate, study.recipe.epochs * (study.data.train or 0))


def _sum(workers: Sequence[Worker], counter: str) -> float:
    return sum(float(getattr(worker, counter).value) for worker in workers)


def reached(rows: Sequence[Interference], cost: Pauses) -> bool:
    """Whether latencies and throughput keep the bounds of --check."""
    return all(abs(row.change[0] - 1) <= CHANGE for row in rows) and cost.loss[0] <= LOSS


def markdown(rows: Sequence[Interference], cost: Pauses, facts: str) -> str:
    """Both tables and the conditions."""
    cells = [
        [
            ABOUT[row.network].title,
            digits(float(np.median(row.alone_ms))),
            digits(float(np.median(row.beside_ms))),
            "{:.3f} ({:.3f} to {:.3f})".format(*row.change),
        ]
        for row in rows
    ]
    loss = "{:.1%} ({:.1%} to {:.1%})".format(*cost.loss)
    pause = [f"{cost.images_per_s:.0f}", f"{cost.period_s:.0f}", f"{float(np.median(cost.pause_s)):.1f}", loss]
    return "\n".join(
        [
            table(["Latency", "alone, ms", f"beside {WORKERS} trainings, ms", "beside / alone"], cells),
            "",
            table(
                ["Training", "images/s a worker", "s between measurements", "s waited for one", "lost"], [["", *pause]]
            ),
            "",
            f"Medians with their 95 % intervals; n = {len(rows[0].alone_ms)} turns and {len(cost.pause_s)} measured "
            f"networks. {WORKERS} workers train {ABOUT[TRAINED].title} in one thread each; the study is {STUDY}: "
            f"{cost.images:,} image passes a training. {facts}.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; the exit status."""
    goal = f"a latency changes by at most {CHANGE:.0%} and training loses at most {LOSS:.0%}"
    given = options("training_beside", "Measuring beside training, as Markdown.", goal).parse_args(arguments)
    repeats = QUICK_REPEATS if given.quick else REPEATS
    study = find_spec(STUDY)
    spawn = multiprocessing.get_context("spawn")
    workers = [Worker(spawn.Value("d", 0.0), spawn.Value("d", 0.0), spawn.Event()) for _ in range(WORKERS)]
    processes = [spawn.Process(target=train, args=(worker,), daemon=True) for worker in workers]

    def set_going(going: bool) -> None:
        for worker in workers:
            worker.go.set() if going else worker.go.clear()
        time.sleep(SETTLE_S)

    for process in processes:
        process.start()
    try:
        rows = [beside(network, study, repeats, set_going) for network in MEASURED]
        cost = pauses(workers, study, repeats, set_going)
    finally:
        for process in processes:
            process.kill()
    facts = conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES)
    page = markdown(rows, cost, facts)
    document = {"conditions": facts, "latency": [asdict(row) for row in rows], "pauses": asdict(cost)}
    publish(page, document, given.output)
    return int(given.check and not reached(rows, cost))


if __name__ == "__main__":
    sys.exit(main())
