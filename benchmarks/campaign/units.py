"""Units of the campaign: trainings that are resumed after their last epoch and recorded as one line each.

A unit uses one thread. With more threads, each waits for the others whenever the processor does other work, and
neither wall-clock seconds nor processor seconds are comparable then; processor seconds of one thread are. Two units at
a time also use two idle cores better than one unit with two threads.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.campaign.protocol import Images, Scored
from search.latency.lease import shared
from search.training.checkpoints import load_training, save_training
from search.training.evaluate import error_percent
from search.training.recipes import Recipe
from search.training.train import Training, TrainingFailed, memory_errors
from studies.environment import environment
from studies.json_lines import append, read_lines
from threshnet import strict
from threshnet.errors import InputError
from threshnet.network import ThreshNet, build
from threshnet.spec import NetworkSpec

CHANCE_PERCENT = 90.0  # the error of a failed training: that of naming one of ten classes
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Unit:
    """One training."""

    # Name of the network, and of the recipe among those of the stage.
    network: str
    arm: str
    spec: NetworkSpec
    recipe: Recipe
    seed: int
    # The part of the images that scores the network.
    scored_on: Scored
    # Epochs after which it is scored, ascending; the last one is the end of the training.
    scored_after: tuple[int, ...]

    @property
    def key(self) -> str:
        """The name of the unit, also of its files."""
        return f"{self.network}-{self.arm}-{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """The result of a unit."""

    # Error in percent after each epoch of `scored_after`; empty if the training failed.
    errors: tuple[float, ...]
    # Mean training loss of each epoch.
    losses: tuple[float, ...]
    # Wall-clock seconds of each epoch, including pauses of the process, and processor seconds, without them.
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    # Why the training failed; "" if it did not.
    failed: str = ""

    @property
    def error(self) -> float:
        """The error in percent at the end of the training."""
        return CHANCE_PERCENT if self.failed else self.errors[-1]


Outcomes = Mapping[Unit, Outcome]


@dataclass(frozen=True)
class Line:
    """A finished unit as a line of a file."""

    key: str
    unit: Unit
    outcome: Outcome
    # Hash of the images outside the test part, and their number in training.
    images: str
    train: int
    # A note about the images that is shown with all results on them.
    caveat: str
    # The commit of the program, followed by "+" if files were changed.
    commit: str
    date: str


def read_outcomes(file: Path, images: Images | None = None) -> dict[Unit, Outcome]:
    """Read the finished units of a file. Raises InputError for a wrong line, or one on other images than `images`."""
    found = {}
    for content in read_lines(file):
        known = {name: value for name, value in content.items() if name != "conditions"}
        line = strict.read(known, Line, f"{file}", stored=True)
        if images and line.images != images.identity["hash"]:
            raise InputError(f"{file}: {line.key} was trained on other images (hash {line.images})")
        found[line.unit] = line.outcome
    return found


def record(file: Path, unit: Unit, outcome: Outcome, images: Images) -> None:
    """Append a finished unit to a file, with the conditions of this process."""
    line = Line(
        key=unit.key,
        unit=unit,
        outcome=outcome,
        images=images.identity["hash"],
        train=len(images.train),
        caveat=images.caveat,
        commit=commit(),
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    append(file, strict.plain(line) | {"conditions": environment()})


@cache
def commit() -> str:
    """Return the commit at the time of the first call, with "+" if files were changed; "unknown" outside git."""
    git = partial(subprocess.run, cwd=ROOT, capture_output=True, text=True, check=True)
    try:
        head = git(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    code = [line for line in changed if not line.endswith(".jsonl")]  # the files that this program extends
    return head + ("+" if code else "")


@contextmanager
def between_measurements() -> Iterator[None]:
    """Wait until nothing is measured on this machine.

    Unlike in `shared`, the lease is not held meanwhile: a process that was stopped with SIGSTOP would keep it, and all
    measurements would wait.
    """
    with shared():
        pass
    yield


def train(unit: Unit, images: Images, folder: Path, should_stop: Callable[[], bool]) -> Outcome | None:
    """Train a unit in `folder`, from its checkpoint if there is one. Returns None if it stops after an epoch.

    After each epoch, its seconds and its error, if it is scored, are appended to a file, then the checkpoint is saved.
    """
    checkpoint, journal = folder / f"{unit.key}.pt", folder / f"{unit.key}.jsonl"
    conditions = {
        "network": unit.spec.fingerprint(),
        "recipe": unit.recipe.stored,
        "seed": unit.seed,
        "images": images.identity,
        "processor": environment()["processor"],
    }
    try:
        with memory_errors():
            training = _started(unit, images, checkpoint, journal, conditions)
            while not training.finished:
                if should_stop():
                    return None
                cpu_started = time.process_time()
                epoch = training.step_epoch(shared_lease=between_measurements)
                step = {"epoch": epoch.number, "seconds": epoch.seconds, "cpu": time.process_time() - cpu_started}
                if epoch.number in unit.scored_after:
                    scored = images.scored(unit.scored_on)
                    step["error"] = error_percent(training.result(between_measurements), scored, between_measurements)
                append(journal, step)
                save_training(training, checkpoint, conditions)
                score = f", error {step['error']:.2f} %" if "error" in step else ""
                report(f"{unit.key}: epoch {epoch.number} of {unit.recipe.epochs}, {step['cpu']:.0f} s{score}")
    except TrainingFailed as failure:
        return Outcome((), (), (), (), str(failure))
    steps = {step["epoch"]: step for step in read_lines(journal)}  # the last of an epoch that was trained twice
    every = [steps[number] for number in range(1, unit.recipe.epochs + 1)]
    return Outcome(
        errors=tuple(steps[number]["error"] for number in unit.scored_after),
        losses=tuple(epoch.loss for epoch in training.epochs),
        seconds=tuple(step["seconds"] for step in every),
        cpu_seconds=tuple(step["cpu"] for step in every),
    )


def forget(unit: Unit, folder: Path) -> None:
    """Remove the checkpoint and the journal of a unit."""
    for suffix in (".pt", ".jsonl", ".jsonl.lock"):
        (folder / f"{unit.key}{suffix}").unlink(missing_ok=True)


def report(text: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


def _started(
    unit: Unit, images: Images, checkpoint: Path, journal: Path, conditions: dict[str, Any]
) -> Training[ThreshNet]:
    """Return the training of a unit after its last epoch; it starts over without a fitting checkpoint and journal."""

    def fresh() -> Training[ThreshNet]:
        flip = images.search.flip
        return Training(partial(build, unit.spec), images.train, unit.recipe, flip=flip, seed=unit.seed)

    training = fresh()
    if checkpoint.exists():
        try:
            load_training(training, checkpoint, conditions)
            if {epoch.number for epoch in training.epochs} - {step["epoch"] for step in read_lines(journal)}:
                raise InputError(f"{journal}: lacks an epoch")
            report(f"{unit.key}: resumed after epoch {len(training.epochs)}")
        except InputError as problem:
            report(f"{unit.key}: starts over; {problem}")
            return fresh()
    return training
