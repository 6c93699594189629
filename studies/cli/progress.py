"""The display of a running launch: a bar for the study, a bar for the current network, a line per ended trial."""

import shlex
import signal
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from search.convergence import stopped_at
from search.records import Record
from search.run import MAX_REJECTED, Outcome
from search.volume import plural
from space import size
from studies.analysis import StudyAnalysis
from studies.storage import place_options

REFRESH_S = 0.2  # least time between two updates of a bar


class Screen:
    """Callbacks that show progress in a terminal and handle Ctrl-C; without a terminal, only lines are printed.

    The first Ctrl-C stops at the next safe moment, by KeyboardInterrupt from the next callback; the second one stops
    at once. `trials` is the size of the study, None if unlimited; `budget`, in full trainings, may end it earlier.
    """

    def __init__(self, console: Console, name: str, trials: int | None = None, budget: float | None = None) -> None:
        self.console, self.trials, self.budget = console, trials, budget
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.study = self.bars.add_task(name, total=trials, visible=trials is not None)
        self.work = self.bars.add_task("starting", total=None)
        self.updated = 0.0
        self.stopping = False
        self.begun = False

    def __enter__(self) -> Self:
        self.before = signal.signal(signal.SIGINT, self._stop)
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()
        signal.signal(signal.SIGINT, self.before)

    def loading(self, what: str, done: int, total: int) -> None:
        """Show how many images have been read."""
        self._show(f"reading {what}", done, total)

    def stage(self, number: int, text: str) -> None:
        """Show the current stage of trial `number`."""
        self.doing = f"trial {number}: {text}"
        self._show(self.doing, 0, None)

    def progress(self, done: int, total: int) -> None:
        """Show the progress of the current stage."""
        self._show(self.doing, done, total)

    def epoch(self, number: int, done: int, total: int) -> None:
        """Show the progress of an epoch of a single training."""
        self._show(f"epoch {number}", done, total)

    def wrote(self, file: str) -> None:
        """Show the last file of an export."""
        self._show(f"wrote {file}", 0, None)

    def counted(self, trials: int) -> None:
        """Show the number of trials that count towards the study, with a line at the start."""
        if not self.begun:
            size = f"{self.trials} networks" if self.budget is None else f"at most {self.trials} networks"
            ends = "" if self.budget is None else f", within the cost of {self.budget:g} full trainings"
            self.console.print(f"{trials} of {size} so far{ends}; Ctrl-C stops", highlight=False)
            self.begun = True
        self.bars.update(self.study, completed=trials)

    def finished(self, record: Record) -> None:
        """Print the result of a trial."""
        self.console.print(line(record), highlight=False)

    def _show(self, what: str, done: int, total: int | None) -> None:
        if self.stopping:
            raise KeyboardInterrupt
        now = time.monotonic()
        if done in (0, total) or now - self.updated > REFRESH_S:
            self.bars.update(self.work, description=what, completed=done, total=total)
            self.updated = now

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True
        self.console.print("stopping; press Ctrl-C again to stop at once", highlight=False)


def line(record: Record) -> str:
    """One trial in one line."""
    start = f"trial {record.number:>3}  "
    name = f"  {record.named}" if record.named else ""
    if record.trained:
        violation = "" if record.state == "finished" else "  infeasible"
        return f"{start}{record.error:6.2f} %  {record.latency_ms:7.3f} ms  {_params(record)}{name}{violation}"
    if record.state == "stopped":
        at, latency = max(record.rungs), next(iter(record.latency.values()))
        score = f"{record.rungs[at]:6.2f} % after {plural(at, 'epoch')}"
        return f"{start}{score}  {latency.latency_ms:7.3f} ms  {_params(record)}{name}  stopped"
    if record.state == "duplicate":
        return f"{start}duplicate of trial {record.duplicate_of}"
    return f"{start}{record.state}: {record.reason}"


def _params(record: Record) -> str:
    return f"{record.costs['params'] / 1e6:6.2f} M params"


def closing(analysis: StudyAnalysis, outcome: Outcome) -> str:
    """The closing lines of a launch: its result and the next command."""
    loaded, spec = analysis.study, analysis.study.spec
    ended = {
        "enough": "done.",
        "spent": "its training budget is spent.",
        "plateau": "its front has plateaued.",
        "timeout": "time limit reached; rerun the command to resume.",
        "interrupted": "stopped; rerun the command to resume.",
        "unreachable": "stopped, its device cannot be reached; rerun the command to resume.",
        "fruitless": f"gave up: {MAX_REJECTED} consecutive duplicates or infeasible proposals.",
    }[outcome.ended]
    stopped, failed = sum(stopped_at(loaded.records).values()), failures(loaded.records)
    so_far = f"{loaded.trained} networks trained" + (f", {stopped} stopped early" if stopped else "")
    so_far += f", {failed} failed" if failed else ""
    so_far += f", of {spec.trials}" if outcome.trials < spec.trials else ""
    pareto = shlex.join(["threshnet", "pareto", spec.name, *place_options(analysis.storage, loaded.weights.parents[1])])
    counted = size(spec.space)
    space = f"space {spec.space.name}: {counted.points:.1e} points, {counted.networks:.1e} distinct networks\n"
    following = f"\nNext: {pareto} --html front.html" if loaded.trained else ""
    summary = "".join(f"\n{sentence}" for sentence in analysis.progress.sentences) if loaded.trained else ""
    return f"{space}{spec.name}: {so_far}: {ended}{summary}{following}"


def failures(records: Sequence[Record]) -> int:
    """The number of networks that failed to be measured or trained."""
    return sum(record.state == "failed" for record in records)
