"""Talking with a probe: whatever it does, the outcome is an answer or one line, and it is dead afterwards."""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.latency.conversation import Conversation, ending, probe
from search.latency.devices import cpu
from search.latency.protocol import ConnectionLost, MeasurementError
from search.latency.reports import Measuring, Wait, reporting
from threshnet.untrusted import MAX_SHOWN, clean

ANSWER = "import json, sys\ntoken = sys.argv[1]\ndef answer(**what): print(token, json.dumps(what), flush=True)\n"
ECHO = ANSWER + "for line in sys.stdin: answer(done=json.loads(line))\n"


@contextlib.contextmanager
def talking(program: str, *, remote: bool = False) -> Iterator[Conversation]:
    """A conversation with a Python program."""
    with probe("the probe", [sys.executable, "-c", program], remote=remote) as talk:
        yield talk


def refused(program: str, timeout_s: float = 30.0, *, remote: bool = False) -> MeasurementError:
    """With what a program fails its first question."""
    with talking(program, remote=remote) as talk, pytest.raises(MeasurementError) as caught:
        talk.ask("measure", {"a": 1}, timeout_s)
    message = str(caught.value)
    assert message.startswith("the probe")
    assert message.isprintable()
    assert len(message) < 3 * MAX_SHOWN
    return caught.value


def test_questions_are_answered_in_their_order() -> None:
    with talking(ECHO) as talk:
        assert talk.ask("about", {}, 30.0) == {"about": {}}
        assert talk.ask("load", {"models": ["ä", 1, None]}, 30.0) == {"load": {"models": ["ä", 1, None]}}
        assert talk.process.pid != os.getpid()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print('x', file=sys.stderr); sys.exit('out of luck')", r" died \(exit status 1\): out of luck"),
        ("os.kill(os.getpid(), signal.SIGILL)", r" died \(SIGILL\): no message"),
        ("raise KeyError('weights')", r" died \(exit status 1\): KeyError: 'weights'"),
        ("print('hello')", r" died \(exit status 0\): no message"),
        ("pass", r" died \(exit status 0\): no message"),
        ("print('0' * 16, json.dumps({'done': 3}))", r" died \(exit status 0\)"),
        ("print(' ' + token, json.dumps({'done': 3}))", r" died \(exit status 0\)"),
        ("print(token, 'what?')", r" sent a malformed reply: 'what\?'"),
        ("print(token, '[1, 2]')", r" sent a malformed reply: '\[1, 2\]'"),
        ("print(token, '3')", r" sent a malformed reply: '3'"),
        ("print(token, '{}')", r" sent a malformed reply: '\{\}'"),
        ('print(token, \'{"done": 1, "failed": 2}\')', " sent a malformed reply: "),
        ("print(token, '[' * 100_000)", r" sent a malformed reply: '\[{200}\.\.\.'"),
        ("print(token, '{\"done\": 3}'[:-1])", " sent a malformed reply: "),
        ("answer(failed='IndexError: out of range')", " failed: IndexError: out of range"),
        ("answer(failed='a\\x1b[31mb\\nc\\x00')", r" failed: a \[31mb c$"),
        ("answer(failed=['no', 'text'])", r" failed: \['no', 'text'\]"),
        ("answer(failed='x' * 500)", r" failed: x{200}\.\.\.$"),
        ("sys.stdout.buffer.write(bytes(range(256)) + b'\\n')", r" died \(exit status 0\)"),
        ("sys.stderr.buffer.write(b'\\xff\\xfe\\x07 bad\\r\\n\\n'); sys.exit(3)", r" died \(exit status 3\): .* bad$"),
        ("print('x' * (1 << 22))", r" died \(exit status 0\)"),
        ("print('e' * (1 << 20), file=sys.stderr); sys.exit(4)", r" died \(exit status 4\): e{200}\.\.\.$"),
    ],
)
def test_a_failed_probe_gives_its_reason_in_one_line(program: str, reason: str) -> None:
    message = refused(f"import os, signal\n{ANSWER}{program}")
    assert re.search(f"^the probe{reason}", str(message))
    assert not isinstance(message, ConnectionLost)


@pytest.mark.parametrize(
    "chatter",
    [
        "print('a library says hello')",
        "print('0' * 16, json.dumps({'done': 'wrong'}))",
        "print(token + json.dumps({'done': 'wrong'}))",
        "sys.stdout.buffer.write(bytes(range(256)) + b'\\n'); sys.stdout.flush()",
        "print('x' * (1 << 22))",
        "print('\\n\\n')",
        "print('noise', file=sys.stderr)",
        "print(\"{'done': 'wrong'}\")",
    ],
)
def test_chatter_is_no_answer(chatter: str) -> None:
    with talking(f"{ANSWER}sys.stdin.readline()\n{chatter}\nprint()\nanswer(done='right')\n") as talk:
        assert talk.ask("measure", {}, 30.0) == "right"


def test_a_line_longer_than_any_answer_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.latency.conversation.MAX_LINE", 1000)
    with talking(f"{ANSWER}print('x' * 100_000)\nanswer(done='right')\nsys.stdin.read()") as talk:
        assert talk.ask("measure", {}, 30.0) == "right"
        assert talk.lines.qsize() == 0


@pytest.mark.parametrize("remote", [False, True])
def test_an_exit_status_of_ssh_means_a_lost_connection(remote: bool) -> None:
    message = refused("import sys\nprint('closed by 10.0.0.9', file=sys.stderr)\nsys.exit(255)", remote=remote)
    assert isinstance(message, ConnectionLost) is remote
    assert "closed by 10.0.0.9" in str(message)
    assert not isinstance(refused("import sys; sys.exit(254)", remote=True), ConnectionLost)


def test_progress_and_waits_are_reported_before_the_reply() -> None:
    program = (
        f"{ANSWER}sys.stdin.readline()\n"
        "answer(waiting='/tmp/lock')\n"
        "answer(progress={'passed_s': 0.0, 'expected_s': 2.5})\n"
        "answer(progress={'passed_s': 1.0, 'expected_s': 2.5})\n"
        "answer(done='right')\n"
    )
    reports: list[Wait | Measuring | None] = []
    with talking(program) as talk, reporting(reports.append):
        assert talk.ask("measure", {}, 30.0) == "right"
    assert reports == [Wait("the probe", None), Measuring(0.0, 2.5), Measuring(1.0, 2.5), None]


def test_a_long_measurement_needs_no_long_timeout_if_it_reports() -> None:
    program = (
        f"import time\n{ANSWER}sys.stdin.readline()\n"
        "for i in range(8): answer(progress={'passed_s': i / 2, 'expected_s': 4.0}); time.sleep(0.5)\n"
        "answer(done='right')\n"
    )
    with talking(program) as talk:
        assert talk.ask("measure", {}, 2.0) == "right"


@pytest.mark.parametrize(
    ("command", "first"), [("load", ""), ("measure", "answer(progress={'passed_s': 0.0, 'expected_s': 1.0})\n")]
)
def test_only_a_measurement_that_has_not_begun_may_wait(command: str, first: str) -> None:
    program = f"{ANSWER}sys.stdin.readline()\n{first}answer(waiting='/tmp/lock')\n"
    with talking(program) as talk, pytest.raises(MeasurementError, match="malformed reply"):
        talk.ask(command, {}, 30.0)


def test_a_measurement_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.latency.conversation.PATIENCE", 2.0)
    program = "import time\nwhile True: answer(progress={'passed_s': 0.0, 'expected_s': 0.2}); time.sleep(0.1)\n"
    message = refused(f"{ANSWER}{program}", timeout_s=1.0)
    assert str(message).startswith("the probe takes much longer than it expected")


@pytest.mark.parametrize(
    "value", ["3", "{}", "{'passed_s': -1.0, 'expected_s': 1.0}", "{'passed_s': 0.0, 'expected_s': 1e9}"]
)
def test_malformed_progress_is_an_error(value: str) -> None:
    assert "malformed reply" in str(refused(f"{ANSWER}answer(progress={value})"))


def test_a_probe_that_hangs_is_given_up() -> None:
    began = time.monotonic()
    message = refused(
        "import sys, time\nprint('loading', file=sys.stderr, flush=True)\nprint('chatter', flush=True)\n"
        "time.sleep(600)",
        timeout_s=1.0,
    )
    assert re.search("sent nothing for 1 s: ", str(message))
    assert time.monotonic() - began < 15


def test_a_probe_that_chatters_for_ever_is_given_up() -> None:
    began = time.monotonic()
    message = refused("import time\nwhile True:\n    print('busy', flush=True)\n    time.sleep(0.1)", timeout_s=1.0)
    assert "sent nothing for 1 s" in str(message)
    assert time.monotonic() - began < 15


def test_a_probe_that_closes_its_output_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = "import os, sys, time\nprint('bye', file=sys.stderr, flush=True)\nos.close(1)\ntime.sleep(600)"
    with talking(wait) as talk:
        patient = talk.process.wait
        monkeypatch.setattr(talk.process, "wait", lambda timeout=None: patient(timeout and min(timeout, 0.1)))
        with pytest.raises(MeasurementError, match=r"the probe closed its output: bye"):
            talk.ask("measure", {}, 30.0)


@pytest.mark.parametrize("command", ["nowhere/python", os.devnull])
def test_a_probe_that_cannot_be_started_is_an_error(command: str) -> None:
    with (
        pytest.raises(MeasurementError, match=rf"the probe cannot be started: .*: {command}"),
        probe("the probe", [command]),
    ):
        pass


def test_a_question_to_a_dead_probe_fails_with_its_last_words() -> None:
    with talking("import sys\nsys.exit('gone')") as talk:
        talk.process.wait(timeout=30)
        for _ in range(2):
            with pytest.raises(MeasurementError, match=r"died \(exit status 1\): gone"):
                talk.ask("measure", {"long": "x" * 200_000}, 5.0)
            talk.lines.put(None)  # as the end of its output had been heard


STUBBORN = """\
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(sys.argv[1], '{"done": %d}' % child.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    """True if a process runs and is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] in "ZX")


@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt])
def test_a_probe_and_what_it_started_are_dead_after_the_block(error: type[BaseException] | None) -> None:
    with pytest.raises(error) if error else contextlib.nullcontext(), talking(STUBBORN) as talk:
        grandchild = talk.ask("measure", {}, 30.0)
        assert alive(talk.process.pid)
        assert alive(grandchild)
        if error:
            raise error
    assert talk.process.returncode == -signal.SIGKILL
    for _ in range(100):  # its parent is no longer there to bury it
        if not alive(grandchild):
            break
        time.sleep(0.05)
    assert not alive(grandchild)


def test_a_probe_that_waits_for_a_question_ends_by_itself() -> None:
    with talking(ECHO) as talk:
        talk.ask("about", {}, 30.0)
    assert talk.process.returncode == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (1, "exit status 1"),
        (0, "exit status 0"),
        (127, "exit status 127"),
        (128, "exit status 128"),
        (-9, "SIGKILL"),
        (-4, "SIGILL"),
        (137, "SIGKILL"),
        (132, "SIGILL"),
        (139, "SIGSEGV"),
        (254, "exit status 254"),
        (255, "exit status 255"),
        (-200, "exit status -200"),
    ],
)
def test_the_end_of_a_process_as_text(status: int, words: str) -> None:
    assert ending(status) == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("  two\n\tlines\r\n", "two lines"),
        ("\x1b]0;owned\x07red\x1b[31m", "]0;owned red [31m"),
        ("\u202eevil\u2028end", "evil end"),
        ("x" * (MAX_SHOWN + 1), "x" * MAX_SHOWN + "..."),
        ("x" * MAX_SHOWN, "x" * MAX_SHOWN),
        ("\x00", ""),
    ],
)
def test_foreign_text_is_one_short_line(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_child_gets_the_threads_and_finds_this_project_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "__init__.py").write_text("raise SystemExit('the wrong folder')")
    (tmp_path / "stand_in.py").write_text(
        "import os, sys\n"
        "from search.latency.probes.probe import Loaded, serve\n"
        "def load(models, settings):\n"
        "    print('a library says hello')\n"
        "    seen = [models[0], *(os.environ[name] for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'COLOUR'))]\n"
        "    return Loaded([lambda: 1.0], '1', notes=seen)\n"
        "serve(load)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "stand_in.py").rename(tmp_path / "elsewhere" / "stand_in.py")
    with cpu.child("stand_in", "the probe", 3, {"COLOUR": "red"}) as talk:
        facts = talk.ask("load", {"models": ["a model"], "settings": {}}, 30.0)
    assert facts["notes"] == ["a model", "3", "3", "red"]
    assert facts["runtime_version"] == "1"
    assert facts["pid"] == talk.process.pid


def test_a_probe_that_does_not_read_is_given_up() -> None:
    deaf = [sys.executable, "-c", "import time; time.sleep(600)"]
    began = time.monotonic()
    with pytest.raises(MeasurementError, match=r"sent nothing for 1 s"), probe("deaf", deaf) as talk:
        talk.ask("load", "x" * (1 << 20), 1.0)
    assert time.monotonic() - began < 30
