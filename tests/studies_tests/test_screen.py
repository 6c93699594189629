"""The progress of a running command: its live lines, its plain lines, and Ctrl-C."""

import io
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from search_tests.leases import holding
from search_tests.tiny import steady_latency
from studies_tests.sample import sample_loaded

from search.latency.lease import exclusive
from search.latency.reports import Holder, Measuring, Wait
from search.progress import Standing
from search.records import LATER, Record
from studies import screen as module
from studies.screen import Screen, duration_text, line, waiting_text

STANDING = Standing(12, 40, 5.25, None, 4, 11, 1, ((0.375, None), (0.75, 14.25), (1.5, 11.0)), 61.24)


def plain() -> Console:
    """A pipe."""
    return Console(file=io.StringIO(), width=110, markup=False)


def printed(console: Console) -> list[str]:
    """The lines that were printed on a console."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def live_lines(screen: Screen, width: int = 80) -> list[str]:
    """The live lines in a terminal of this width."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(screen._lines())
    return [text.rstrip() for text in printed(console)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the time of the screen in seconds; it starts at 0."""
    now = [0.0]
    monkeypatch.setattr("studies.screen.time.monotonic", lambda: now[0])

    def at(seconds: float) -> None:
        now[0] = seconds

    return at


def test_live_lines_show_what_happens_and_for_how_long(clock: Callable[[float], None]) -> None:
    screen = Screen(plain(), "digits")
    assert live_lines(screen)[1].startswith("starting")
    clock(20)  # the preparations do not count
    screen.standing(replace(STANDING, counted=8))
    clock(80)
    screen.standing(STANDING)
    screen.stage(13, "training, 0.73 ms")
    clock(85)
    screen.progress(5, 10)
    clock(95)
    study, now, counts, best = live_lines(screen)
    assert study.startswith("digits: 12 of 40 networks ")
    assert study.endswith("about 8 min 45 s left")
    assert now.startswith("trial 13: training, 0.73 ms ")
    assert now.endswith("for 15 s")
    assert counts == "11 pruned, 4 resumed, 1 failed; hypervolume 61.2 %"
    assert best == "lowest error: none within 0.38 ms, 14.2 % within 0.75 ms, 11.0 % within 1.5 ms"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_live_lines_fit_into_the_terminal(width: int) -> None:
    screen = Screen(plain(), "a_study_with_a_long_name" * 4)
    screen.standing(STANDING)
    screen.stage(1000, "deciding, 12.3 % after 8 epochs " * 5)
    shown = live_lines(screen, width)
    assert len(shown) == 4
    assert max(map(len, shown)) <= width


def test_a_wait_is_shown_instead_of_the_stage() -> None:
    screen = Screen(plain(), "digits")
    screen.stage(3, "measuring with onnxruntime")
    screen.reported(Wait("cpu", Holder(4711, 0.0)))
    assert live_lines(screen)[1].startswith("waiting for cpu, held by process 4711 since ")
    screen.reported(None)
    assert live_lines(screen)[1].startswith("trial 3: measuring")


def test_a_wait_for_a_device_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THRESHNET_LEASES", str(tmp_path))
    monkeypatch.setattr("search.latency.lease.REPORT_S", 0.05)
    monkeypatch.setattr(module, "PLAIN_WAIT_S", 0.0)
    console = plain()
    with holding("exclusive", "cpu") as other, Screen(console, "digits") as screen:
        threading.Timer(0.5, lambda: other.stdin and other.stdin.close()).start()
        with exclusive("cpu"):
            assert screen.wait is None
    (text,) = printed(console)
    assert text.startswith(f"waiting for cpu, held by process {other.pid} since ")


def test_a_pipe_gets_a_line_about_a_long_measurement_once() -> None:
    console = plain()
    screen = Screen(console, "digits")
    for passed in (0.0, 1.0, 2.0):
        screen.reported(Measuring(passed, 3.0))
    for passed in (0.0, 100.0, 700.0):
        screen.reported(Measuring(passed, 560.0))
        assert (screen.activity.done, screen.activity.total) == (min(passed, 560), 560)
    assert printed(console) == ["a measurement takes about 9 min 20 s"]


def test_a_pipe_gets_a_line_about_a_long_wait_once(clock: Callable[[float], None]) -> None:
    console = plain()
    screen = Screen(console, "digits")
    wait = Wait("cpu", None)
    for second in range(30):
        clock(second)
        screen.reported(wait)
    assert printed(console) == ["waiting for cpu, in use by other processes"]
    screen.reported(None)
    clock(100)
    screen.reported(wait)
    assert len(printed(console)) == 1


def test_a_pipe_gets_the_standing_every_minute(clock: Callable[[float], None]) -> None:
    console = plain()
    screen = Screen(console, "digits")
    screen.standing(replace(STANDING, counted=8))
    for second in (10, 70, 80, 90):
        clock(second)
        screen.standing(STANDING)
    first, second_line = printed(console)
    assert first == "8 of 40 networks so far; Ctrl-C stops"
    assert second_line.startswith("12 of 40 networks, about 8 min 10 s left; 11 pruned, 4 resumed, 1 failed; hyper")
    assert second_line.endswith("within 1.5 ms")


@pytest.mark.parametrize(
    ("budget", "size"),
    [
        (None, "12 of 40 networks"),
        (10.0, "12 networks, 5.2 of 10 full trainings"),  # the budget ends the study
        (22.5, "12 of 40 networks, 5.2 of 22.5 full trainings"),  # the trials do
    ],
)
def test_the_size_is_that_of_what_ends_the_study(
    budget: float | None, size: str, clock: Callable[[float], None]
) -> None:
    console = plain()
    screen = Screen(console, "digits")
    screen.standing(replace(STANDING, budget=budget))
    clock(70)
    screen.standing(replace(STANDING, budget=budget))
    first, second_line = printed(console)
    assert first == f"{size} so far; Ctrl-C stops"
    assert second_line.startswith(f"{size}; 11 pruned, ")
    assert live_lines(screen, 100)[0].startswith(f"digits: {size} ")


def measured(number: int, latency_ms: float, *warnings: str) -> Record:
    """A trial whose network was only measured."""
    latency = {"cpu onnxruntime": steady_latency(latency_ms, warnings=warnings)}
    reason = f"{LATER}, {latency_ms:.3g} ms: another network is more promising"
    base = replace(sample_loaded(1, ()).records[0], number=number, state="not trained", reason=reason)
    return replace(base, latency=latency, error=None)


def test_trials_that_are_only_measured_share_a_line() -> None:
    console = plain()
    trained = sample_loaded(1, ()).records[0]
    with Screen(console, "digits") as screen:
        screen.finished(measured(47, 0.103))
        screen.finished(measured(48, 0.109))
        assert printed(console) == []
        screen.finished(trained)
        screen.finished(measured(50, 0.2, "wide spread: 14% of the median"))
        screen.print("front of 1")
        screen.finished(measured(51, 0.3))
    assert printed(console) == [
        "trials 47, 48  measured, 0.103 and 0.109 ms; another network is more promising",
        line(trained),
        "trial  50  measured, 0.200 ms; another network is more promising  ! wide spread",
        "front of 1",
        "trial  51  measured, 0.300 ms; another network is more promising",
    ]


def test_the_first_interrupt_stops_at_the_next_callback() -> None:
    console = plain()
    with Screen(console, "digits") as screen:
        os.kill(os.getpid(), signal.SIGINT)
        assert printed(console) == ["stopping; press Ctrl-C again to stop at once"]
        with pytest.raises(KeyboardInterrupt):
            screen.progress(1, 2)
        with pytest.raises(KeyboardInterrupt):
            screen.reported(Wait("cpu", None))


def test_the_second_interrupt_stops_at_once() -> None:
    with Screen(plain(), "digits"):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_screen_works_in_other_threads() -> None:
    console = plain()

    def work() -> None:
        with Screen(console, "digits", total=3) as screen:
            screen.counted(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert printed(console) == ["1 of 3 networks so far; Ctrl-C stops"]


def test_live_lines_need_a_terminal_or_a_notebook_with_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    notebook = Console(force_jupyter=True)
    assert [Screen(each, "digits").live is not None for each in (plain(), terminal, notebook)] == [False, True, True]
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert [Screen(each, "digits").live is not None for each in (terminal, notebook)] == [True, False]


def test_live_lines_leave_only_the_lines_of_trials() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None, _environ={"TERM": "xterm"})
    with Screen(terminal, "digits") as screen:
        screen.standing(STANDING)
    text = "\n".join(printed(terminal))
    assert "12 of 40 networks so far" in text
    assert text.rstrip().endswith("\x1b[2K")  # the live lines are erased


def test_the_line_of_an_unreliable_reading_says_why() -> None:
    record = sample_loaded(0).records[0]
    warnings = ("wide spread: interquartile range 14% of the median", "the clock fell from 3000 to 2000 MHz")
    latency = steady_latency(0.5, warnings=warnings)
    text = line(replace(record, latency={"cpu onnxruntime": latency}, state="finished"))
    assert " ms! " in text
    assert text.endswith("  ! wide spread, the clock fell from 3000 to 2000 MHz")
    pruned = replace(record, latency={"cpu onnxruntime": latency}, state="not trained", reason="too slow")
    assert line(pruned).endswith(
        "not trained: too slow  threshnet28  ! wide spread, the clock fell from 3000 to 2000 MHz"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (150, "2 min 30 s"), (8000, "2 h 13 min")]
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_wait_names_the_holder() -> None:
    assert waiting_text(Wait("cuda0", None)) == "waiting for cuda0, in use by other processes"
