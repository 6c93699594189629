"""What a launch shows while it runs: a bar for the study, a bar for the network in training, a line per ended trial."""

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
from search.run import FRUITLESS, Outcome
from search.volume import plural
from space import size
from studies.analysis import StudyAnalysis
from studies.storage import place_options

REFRESH_S = 0.2  # least time between two updates of a bar


class Screen:
    """A Watch on a terminal, and the place where Ctrl-C arrives; where there is no terminal, only lines are printed.

    The first Ctrl-C stops at the next safe moment, by KeyboardInterrupt out of whatever reports here; a second one at
    once. `trials` is the size of the study, None where there is none; `budget`, in full trainings, may end it before.
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
        """Images are being read."""
        self._show(f"reading {what}", done, total)

    def stage(self, number: int, text: str) -> None:
        """Trial `number` begins something."""
        self.doing = f"trial {number}: {text}"
        self._show(self.doing, 0, None)

    def progress(self, done: int, total: int) -> None:
        """Training has come so many steps."""
        self._show(self.doing, done, total)

    def epoch(self, number: int, done: int, total: int) -> None:
        """An epoch of a single training has come so many steps."""
        self._show(f"epoch {number}", done, total)

    def wrote(self, file: str) -> None:
        """A file of an export is there."""
        self._show(f"wrote {file}", 0, None)

    def counted(self, trials: int) -> None:
        """So many trials count towards the study; said in a line when it begins."""
        if not self.begun:
            size = f"{self.trials} networks" if self.budget is None else f"at most {self.trials} networks"
            ends = "" if self.budget is None else f" (the work of {self.budget:g} full trainings ends it)"
            self.console.print(f"{trials} of {size} so far{ends}; Ctrl-C stops", highlight=False)
            self.begun = True
        self.bars.update(self.study, completed=trials)

    def finished(self, record: Record) -> None:
        """A trial has ended: print what came of it."""
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
        over = "" if record.state == "finished" else "  over a limit"
        return f"{start}{record.error:6.2f} %  {record.latency_ms:7.3f} ms  {_params(record)}{name}{over}"
    if record.state == "stopped":
        at, latency = max(record.rungs), next(iter(record.latency.values()))
        score = f"{record.rungs[at]:6.2f} % after {plural(at, 'epoch')}"
        return f"{start}{score}  {latency.latency_ms:7.3f} ms  {_params(record)}{name}  stopped"
    if record.state == "duplicate":
        return f"{start}the network of trial {record.duplicate_of} again"
    return f"{start}{record.state}: {record.reason}"


def _params(record: Record) -> str:
    return f"{record.costs['params'] / 1e6:6.2f} M params"


def closing(analysis: StudyAnalysis, outcome: Outcome) -> str:
    """What a launch says at its end: how it went and what to type next."""
    loaded, spec = analysis.study, analysis.study.spec
    ended = {
        "enough": "done.",
        "spent": "its budget of trainings is spent.",
        "plateau": "its front no longer moves.",
        "timeout": "time is up; launch again to go on.",
        "interrupted": "stopped; launch again to go on.",
        "unreachable": "stopped, as its device cannot be reached; launch again to go on.",
        "fruitless": f"gave up: {FRUITLESS} proposals in a row were known or broke a limit.",
    }[outcome.ended]
    stopped, failed = sum(stopped_at(loaded.records).values()), failures(loaded.records)
    so_far = f"{loaded.trained} networks trained" + (f", {stopped} stopped early" if stopped else "")
    so_far += f", {failed} failed" if failed else ""
    so_far += f", of {spec.trials}" if outcome.trials < spec.trials else ""
    pareto = shlex.join(["threshnet", "pareto", spec.name, *place_options(analysis.storage, loaded.weights.parents[1])])
    counted = size(spec.space)
    room = f"space {spec.space.name}: {counted.points:.1e} points, {counted.networks:.1e} distinct networks\n"
    following = f"\nNext: {pareto} --html front.html" if loaded.trained else ""
    told = "".join(f"\n{sentence}" for sentence in analysis.progress.told) if loaded.trained else ""
    return f"{room}{spec.name}: {so_far}: {ended}{told}{following}"


def failures(records: Sequence[Record]) -> int:
    """How many networks failed to be measured or trained."""
    return sum(record.state == "failed" for record in records)
