"""The display of a running launch: a bar for the study, a bar for the current network, a line per ended trial."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from search.records import Record
from search.volume import plural

Handler = Callable[[int, FrameType | None], Any] | int

REFRESH_S = 0.2  # least time between two updates of a bar


class Screen:
    """Shows progress in a terminal or a notebook and handles Ctrl-C; elsewhere, only lines are printed.

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
            disable=not (console.is_terminal or console.is_jupyter),
        )
        self.study = self.bars.add_task(name, total=trials, visible=trials is not None)
        self.work = self.bars.add_task("starting", total=None)
        self.updated = 0.0
        self.stopping = False
        self.before: Handler | None = None
        self.begun = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other thread can handle signals
            self.before = signal.signal(signal.SIGINT, self._stop)
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()
        if self.before is not None:
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


def console(progress: bool) -> Console:
    """Return the console of the terminal or the notebook, or one that prints nothing."""
    return Console(markup=False, highlight=False, quiet=not progress)


def printer(console: Console) -> Callable[[str], None]:
    """Return a function that prints a line on a console without wrapping it."""
    return lambda line: console.print(line, highlight=False, soft_wrap=True)
