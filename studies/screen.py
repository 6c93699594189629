"""The progress of a running command, in a terminal, in a notebook or as plain lines."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.latency.reports import Measuring, Wait, reporting

if TYPE_CHECKING:
    from search.latency.reading import Latency
    from search.progress import Standing
    from search.records import Record

Result = TypeVar("Result")

BAR = 16  # width of a bar in characters
REFRESHES = 4  # updates of the live lines per second
PLAIN_WAIT_S = 10.0  # a wait or a measurement that takes longer is printed, if there are no live lines
PLAIN_STANDING_S = 60.0  # least seconds between two printed standings, if there are no live lines


@dataclass(frozen=True)
class Activity:
    """The work of a command at the moment."""

    text: str
    # Start, in seconds of time.monotonic.
    since: float
    done: int = 0
    # None if the end is unknown.
    total: int | None = None


class Screen:
    """Shows the progress of a command and handles Ctrl-C.

    In a terminal and in a notebook, live lines show what happens now and for how long, and the standing of the study; a
    line per trial stays above them. Elsewhere, all of this is printed as lines. `total` is the number of `units`, None
    if it is unknown or if the study reports it. The first Ctrl-C stops at the next safe moment, by KeyboardInterrupt
    from the next callback; the second one stops at once.
    """

    def __init__(self, console: Console, title: str, total: int | None = None, units: str = "networks") -> None:
        self.console, self.title, self.total, self.units, self.completed = console, title, total, units, 0
        self.began = self.printed = time.monotonic()
        self.activity = Activity("starting", self.began)
        # The wait for a device, and its text if it was printed.
        self.wait: Activity | None = None
        self.wait_text = ""
        self.latest: Standing | None = None
        # The last trials, if they were only measured; not printed yet.
        self.measured: list[Record] = []
        # Share of the study that was done when this run began, and the time after the preparations.
        self.first_share: float | None = None
        self.first_time = self.began
        self.stopping = False
        self.live = _live(console, self._lines)
        self.opened = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            opened.enter_context(self._interruptible())
            opened.enter_context(reporting(self.reported))
            if self.live is not None:
                opened.enter_context(self.live)
            opened.callback(self._print_measured)
            self.opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.opened.close()

    def loading(self, what: str, done: int, total: int) -> None:
        """Show how many images have been read."""
        self._does(f"reading {what}", done, total)

    def doing(self, text: str) -> None:
        """Show what the command does now."""
        self._does(text)

    def stage(self, number: int, text: str) -> None:
        """Show the current stage of trial `number`."""
        self._does(f"trial {number}: {text}")

    def progress(self, done: int, total: int) -> None:
        """Show the progress of the current stage."""
        self._does(self.activity.text, done, total)

    def training(self, text: str, done: int, total: int) -> None:
        """Show the progress of an epoch, which `text` names."""
        self._does(text, done, total)

    def wrote(self, file: str) -> None:
        """Show the last file of an export."""
        self._does(f"wrote {file}")

    def counted(self, done: int) -> None:
        """Show the number of units that are done, with a line at the start of the run."""
        self._check()
        self.completed = done
        if self.total and self.first_share is None:
            self.first_share, self.first_time = self._share(), time.monotonic()
            how = "the stop button" if self.console.is_jupyter else "Ctrl-C"
            self.print(f"{self._size_text()} so far; {how} stops")

    def standing(self, standing: "Standing") -> None:
        """Show the standing of the study."""
        self.latest, self.total = standing, standing.trials
        self.counted(standing.counted)
        now = time.monotonic()
        if self.live is None and now - self.printed > PLAIN_STANDING_S:
            self.printed = now
            so_far = ", ".join(filter(None, [self._size_text(), self._time_left(now)]))
            self.print("; ".join([so_far, *standing_texts(standing)]))

    def finished(self, record: "Record") -> None:
        """Print the result of a trial. Consecutive trials that are only measured share a line, printed at their end."""
        if record.measured_only:
            self.measured.append(record)
        else:
            self.print(line(record))

    def reported(self, report: Wait | Measuring | None) -> None:
        """Show which process holds the device that the command waits for, or how long the measurement takes.

        None means that a wait is over.
        """
        self._check()
        now = time.monotonic()
        if isinstance(report, Wait):
            since = self.wait.since if self.wait else now
            self.wait = Activity(waiting_text(report), since)
            self._print_long(self.wait.text, now - since)
            return
        self.wait = None
        if report is None:
            self.wait_text = ""
            self.activity = replace(self.activity, done=0, total=None)
        else:
            passed, expected = round(report.passed_s), round(report.expected_s)
            self.activity = replace(self.activity, done=min(passed, expected), total=expected or None)
            if report.passed_s == 0:
                self._print_long(f"a measurement takes about {duration_text(report.expected_s)}", report.expected_s)

    def _print_long(self, text: str, seconds: float) -> None:
        """Print what takes long, once, if there are no live lines."""
        if self.live is None and seconds >= PLAIN_WAIT_S and text != self.wait_text:
            self.wait_text = text
            self.print(text)

    def _does(self, text: str, done: int = 0, total: int | None = None) -> None:
        self._check()
        now = time.monotonic()
        same = text == self.activity.text and done > 0
        self.activity, self.wait = Activity(text, self.activity.since if same else now, done, total), None

    def _check(self) -> None:
        """Stop if the user has pressed Ctrl-C."""
        if self.stopping:
            raise KeyboardInterrupt

    def print(self, text: str) -> None:
        """Print a line above the live lines."""
        self._print_measured()
        self.console.print(text, highlight=False, soft_wrap=self.live is None)

    def _print_measured(self) -> None:
        """Print the line of the last trials that were only measured, if there are any."""
        measured, self.measured = self.measured, []
        if measured:
            self.print(measured_line(measured))

    def _lines(self) -> RenderableType:
        """The live lines: the study, what happens now, and the standing."""
        now, activity = time.monotonic(), self.wait or self.activity
        title = self.title if self.total is None else f"{self.title}: {self._size_text()}"
        part = activity.done / activity.total if activity.total else None
        standing = [] if self.latest is None else standing_texts(self.latest)
        return Group(
            _row(title, self._share(), self._time_left(now) or duration_text(now - self.began)),
            _row(activity.text, part, f"for {duration_text(now - activity.since)}"),
            *(Text(text, no_wrap=True, overflow="ellipsis") for text in standing),
        )

    def _size_text(self) -> str:
        """The part of the work that is done, in units or, if a budget ends the study first, in full trainings."""
        standing = self.latest
        if standing is None or standing.budget is None:
            return f"{self.completed} of {self.total} {self.units}"
        networks = f"{self.completed} of {self.total}" if standing.spent < standing.done else f"{self.completed}"
        return f"{networks} networks, {standing.cost:.1f} of {standing.budget:g} full trainings"

    def _share(self) -> float | None:
        """The share of the work that is done, None if it is unknown."""
        if self.latest is not None:
            return self.latest.done
        return self.completed / self.total if self.total else None

    def _time_left(self, now: float) -> str:
        """The time left as text, from the share that this run has done; '' if there is too little to judge."""
        share = self._share()
        if share is None or self.first_share is None or share - self.first_share <= 0:
            return ""
        left = (1 - share) * (now - self.first_time) / (share - self.first_share)
        return f"about {duration_text(left)} left"

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Handle Ctrl-C within the block; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True
        self.print("stopping; press Ctrl-C again to stop at once")


def _live(console: Console, lines: Callable[[], RenderableType]) -> Live | None:
    """Live lines on a console; None if it cannot show them."""
    able = find_spec("ipywidgets") is not None if console.is_jupyter else console.is_terminal
    if not able or console.is_dumb_terminal or console.quiet:
        return None
    return Live(get_renderable=lines, console=console, refresh_per_second=REFRESHES, transient=True)


def _row(text: str, share: float | None, time_text: str) -> Table:
    """One live line: a text, a bar if the share is known, and a time."""
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    bar = [] if share is None else [ProgressBar(total=1.0, completed=share, width=BAR)]
    row.add_column(no_wrap=True)
    if bar:
        row.add_column()
    row.add_row(text, *bar, time_text)
    return row


def duration_text(seconds: float) -> str:
    """Return a duration in the two largest units, e.g. "42 s", "12 min 5 s" or "3 h 20 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def waiting_text(wait: Wait) -> str:
    """Describe a wait for a device and the process that holds it."""
    if wait.holder is None:
        return f"waiting for {wait.device}, in use by other processes"
    since = time.strftime("%H:%M:%S", time.localtime(wait.holder.since))
    return f"waiting for {wait.device}, held by process {wait.holder.pid} since {since}"


def standing_texts(standing: "Standing") -> list[str]:
    """Describe the standing of a study in two parts: its trials, and its front if there is one."""
    counts = f"{standing.pruned} pruned, {standing.resumed} resumed, {standing.failed} failed"
    if standing.hypervolume_percent is None:
        return [counts]
    best = [
        f"{'none' if error is None else f'{error:.1f} %'} within {latency_ms:.2g} ms"
        for latency_ms, error in standing.best
    ]
    return [f"{counts}; hypervolume {standing.hypervolume_percent:.1f} %", f"lowest error: {', '.join(best)}"]


def line(record: "Record") -> str:
    """Describe a trial in one line, with the warnings of its latency reading."""
    latency = next(iter(record.latency.values()), None)
    warnings = "" if latency is None else warnings_text(latency)
    start, name = f"trial {record.number:>3}  ", f"  {record.named}" if record.named else ""
    if latency is not None and record.trained:
        violation = "" if record.state == "finished" else "  infeasible"
        return f"{start}{record.error:6.2f} %{_measured(record, latency)}{name}{violation}{warnings}"
    if latency is not None and record.state == "stopped":
        epochs = max(record.rungs)
        score = f"{record.rungs[epochs]:6.2f} % after {epochs} epoch{'s' if epochs > 1 else ''}"
        return f"{start}{score}{_measured(record, latency)}{name}  stopped{warnings}"
    if record.state == "duplicate":
        return f"{start}duplicate of trial {record.duplicate_of}{name}"
    return f"{start}{record.state}: {record.reason}{name}{warnings}"


def measured_line(records: Sequence["Record"]) -> str:
    """Describe consecutive trials that were only measured in one line, with the warnings of their readings."""
    readings = [next(iter(record.latency.values())) for record in records]
    numbers = ", ".join(str(record.number) for record in records)
    start = f"trials {numbers}" if len(records) > 1 else f"trial {records[0].number:>3}"
    *others, last = [f"{latency.latency_ms:.3f}" for latency in readings]
    values = f"{', '.join(others)} and {last}" if others else last
    warnings = dict.fromkeys(map(warnings_text, readings))
    return f"{start}  measured, {values} ms; another network is more promising{''.join(warnings)}"


def warnings_text(latency: "Latency") -> str:
    """Return the warnings of a reading in short, after an exclamation mark; '' if there are none."""
    short = [warning.partition(":")[0] for warning in latency.warnings]
    return f"  ! {', '.join(short)}" if short else ""


def _measured(record: "Record", latency: "Latency") -> str:
    flag = "!" if latency.warnings else " "
    return f"  {latency.latency_ms:7.3f} ms{flag} {record.costs['params'] / 1e6:6.2f} M params"


def console(progress: bool) -> Console:
    """Return the console of the terminal or the notebook, or one that prints nothing."""
    return Console(markup=False, highlight=False, quiet=not progress)


def run_steps(steps: Generator[str, None, Result], tell: Callable[[str], None]) -> Result:
    """Run a generator to its end, pass the lines that it yields to `tell`, and return its result."""
    while True:
        try:
            tell(next(steps))
        except StopIteration as end:
            result: Result = end.value
            return result


def printer(console: Console) -> Callable[[str], None]:
    """Return a function that prints a line on a console without wrapping it."""
    return lambda line: console.print(line, highlight=False, soft_wrap=True)
