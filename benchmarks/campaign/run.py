"""The run of the campaign: the next unit that is missing, until none is left or the time is up."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from filelock import FileLock, Timeout

from benchmarks.campaign.protocol import EPOCHS, FULL, Images
from benchmarks.campaign.stage import Stage
from benchmarks.campaign.units import Outcome, Outcomes, Unit, forget, read_outcomes, record, report, train
from benchmarks.cells import INPUT_SIZE
from threshnet.costs import count

WAIT_S = 30.0  # seconds between two looks if other processes train all units that can be trained now
# Processor seconds for each training image and multiply-add of a forward pass, in bf16 on a processor with AVX-512.
SECONDS_PER_MAC = 5.5e-11


@dataclass(frozen=True)
class Places:
    """The folders of the campaign."""

    # A file of lines for each stage.
    results: Path
    # Checkpoints and locks.
    work: Path

    def file(self, stage: Stage) -> Path:
        """Return the file of a stage."""
        return self.results / f"{stage.name}.jsonl"

    def outcomes(self, stages: Sequence[Stage], images: Images | None = None) -> dict[Unit, Outcome]:
        """Read the finished units of all stages; raises InputError as `read_outcomes` does."""
        return {unit: outcome for stage in stages for unit, outcome in read_outcomes(self.file(stage), images).items()}


def run(
    every: Sequence[Stage],
    chosen: Sequence[Stage],
    images: Images,
    places: Places,
    should_stop: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Train the missing units of the `chosen` stages among `every` stage; returns whether all are finished.

    Several processes may run at the same time: each unit is trained by one of them. Raises InputError if a file of
    results is damaged or has results on other images.
    """
    places.work.mkdir(parents=True, exist_ok=True)
    report(f"{len(images.train):,} images to train on, hash {images.identity['hash']}")
    _report_time_left(chosen, places.outcomes(every, images))
    while not should_stop():
        outcomes = places.outcomes(every, images)
        waiting = [(stage, unit) for stage in chosen for unit in stage.missing(outcomes)]
        if not waiting:
            blocked = [stage.name for stage in chosen if not stage.complete(outcomes)]
            if blocked:
                report(f"{', '.join(blocked)}: needs the results of earlier stages; run them first")
            return not blocked
        for stage, unit in waiting:
            with _claimed(places.work / f"{stage.name}-{unit.key}.lock") as ours:
                # Another process may have finished it since the lines were read.
                if ours and unit not in places.outcomes([stage], images):
                    _train_one(stage, unit, images, places, should_stop)
                    break
        else:
            sleep(WAIT_S)
            continue
        _report_time_left(chosen, places.outcomes(every, images))
    return False


def _report_time_left(stages: Sequence[Stage], outcomes: Outcomes) -> None:
    report(f"about {seconds_left(stages, outcomes) / 3600:.1f} processor hours left")


def _train_one(stage: Stage, unit: Unit, images: Images, places: Places, should_stop: Callable[[], bool]) -> None:
    """Train a unit and record it, unless it stops before its end."""
    folder = places.work / stage.name
    folder.mkdir(parents=True, exist_ok=True)
    outcome = train(unit, images, folder, should_stop)
    if outcome is None:
        return
    record(places.file(stage), unit, outcome, images)
    forget(unit, folder)
    result = outcome.failed or f"error {outcome.error:.2f} %"
    report(f"{unit.key}: {result}, {sum(outcome.cpu_seconds) / 60:.1f} processor minutes")


@contextmanager
def _claimed(file: Path) -> Iterator[bool]:
    """Hold the lock of a unit; yields False if another process holds it."""
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def seconds(unit: Unit, outcomes: Outcomes) -> float:
    """Estimate the processor seconds of a unit, from units of the same network and recipe if there are some.

    Otherwise, it is estimated from the multiply-adds; recipes that take longer for an epoch have fewer epochs.
    """
    known = [
        fmean(outcome.cpu_seconds)
        for other, outcome in outcomes.items()
        if outcome.cpu_seconds and (other.spec, other.arm) == (unit.spec, unit.arm)
    ]
    if known:
        return unit.recipe.epochs * fmean(known)
    return EPOCHS * FULL.train * count(unit.spec, INPUT_SIZE).macs * SECONDS_PER_MAC


def seconds_left(stages: Sequence[Stage], outcomes: Outcomes) -> float:
    """Estimate the processor seconds of all units that are not finished."""
    units = [unit for stage in stages for unit in (*stage.missing(outcomes), *stage.later(outcomes))]
    return sum(seconds(unit, outcomes) for unit in units)
