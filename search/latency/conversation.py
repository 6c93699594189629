"""Communication with a probe, a local or remote process that replies to each JSON line with a JSON line."""

import contextlib
import json
import math
import os
import queue
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from search.latency.protocol import ConnectionLost, MeasurementError
from search.latency.reports import Measuring, Wait, current_report
from threshnet import strict
from threshnet.untrusted import clean

MAX_LINE = 64 << 20  # maximum number of characters that are read from a line; replies are shorter
PATIENCE = 10.0  # a measurement may take this many times as long as expected
SSH_FAILED = 255  # exit status of ssh if ssh failed, as opposed to the remote command


@dataclass
class Conversation:
    """A running probe; call `ask` within the `probe` block."""

    name: str  # the probe's name in messages
    process: "subprocess.Popen[str]"
    token: str  # marks the replies of the probe
    errors: IO[bytes]  # standard error of the probe
    remote: bool  # whether the exit status may come from ssh
    lines: "queue.SimpleQueue[str | None]" = field(default_factory=queue.SimpleQueue)
    writer: threading.Thread | None = None  # thread that writes the last command

    def ask(self, command: str, body: object, timeout_s: float) -> Any:  # noqa: ANN401 - JSON
        """Send a command and return the reply.

        Waits and progress that the probe reports before the reply are passed on, see `reporting`. Raises
        MeasurementError if the probe fails, dies, sends nothing for `timeout_s` seconds, or takes much longer than it
        expected.
        """
        text = json.dumps({command: body}) + "\n"
        self.writer = threading.Thread(target=_write, args=(self.process.stdin, text), daemon=True)
        self.writer.start()  # in a thread, so that a probe that does not read cannot block this process
        report, until = current_report(), math.inf
        try:
            while True:
                kinds = ("waiting", "progress")[math.isfinite(until) :] if command == "measure" else ()
                match self._next(min(timeout_s, until - time.monotonic()), timeout_s, kinds):
                    case "waiting", _:
                        report(Wait(self.name, None))
                    case "progress", Measuring() as measuring:
                        report(measuring)
                        until = min(until, time.monotonic() + PATIENCE * measuring.expected_s + timeout_s)
                    case _, value:
                        return value
        finally:
            report(None)

    def _next(self, left_s: float, timeout_s: float, kinds: Sequence[str]) -> tuple[str, Any]:
        """Return the kind and the content of the next message: "done", or one of `kinds`."""
        try:
            line = self.lines.get(timeout=max(0.0, left_s))
        except queue.Empty:
            problem = (
                f"sent nothing for {timeout_s:g} s" if left_s == timeout_s else "takes much longer than it expected"
            )
            raise MeasurementError(f"{self.name} {problem}: {self._last_words()}") from None
        if line is None:
            raise self._ended()
        line = line.removeprefix(self.token)
        with contextlib.suppress(ValueError, RecursionError):
            match json.loads(line):
                case {"failed": reason, **others} if not others:
                    raise MeasurementError(f"{self.name} failed: {clean(str(reason))}")
                case {"progress": value, **others} if not others and "progress" in kinds:
                    return "progress", strict.read(value, Measuring, self.name, complete=True)
                case {"waiting": value, **others} if not others and "waiting" in kinds:
                    return "waiting", value
                case {"done": value, **others} if not others:
                    return "done", value
        raise MeasurementError(f"{self.name} sent a malformed reply: {clean(line)!r}")

    def _ended(self) -> MeasurementError:
        """Return the error for a probe that ended before it replied."""
        try:
            status = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return MeasurementError(f"{self.name} closed its output: {self._last_words()}")
        if self.remote and status == SSH_FAILED:
            return ConnectionLost(f"{self.name} lost its connection: {self._last_words()}")
        return MeasurementError(f"{self.name} died ({ending(status)}): {self._last_words()}")

    def _last_words(self) -> str:
        self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, self.errors.tell() - 4096))
        lines = self.errors.read().decode(errors="replace").splitlines()
        return clean(next((line for line in reversed(lines) if line.strip()), "no message"))


@contextlib.contextmanager
def probe(
    name: str, command: Sequence[str], environment: Mapping[str, str] | None = None, *, remote: bool = False
) -> Iterator[Conversation]:
    """Run the command of a probe with a token as the last argument, and end the process after the block."""
    token = secrets.token_hex(8)
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [*command, token],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=environment,
                start_new_session=True,  # Ctrl-C interrupts only this process, which then ends the child
            )
        except OSError as error:
            raise MeasurementError(f"{name} cannot be started: {error.strerror}: {error.filename}") from None
        talk = Conversation(name, process, token, errors, remote)
        reader = threading.Thread(target=_read, args=(process.stdout, token + " ", talk.lines), daemon=True)
        reader.start()
        try:
            yield talk
        finally:
            _end(process, talk.writer)
            reader.join(timeout=10)


def ending(status: int) -> str:
    """Describe how a process ended; the exit status of a shell is 128 + the signal that killed its command."""
    number = -status if status < 0 else status - 128
    with contextlib.suppress(ValueError):
        if number > 0:
            return signal.Signals(number).name
    return f"exit status {status}"


def _write(stream: IO[str], text: str) -> None:
    """Write a command; if the probe ends in the meantime, the reader reports it."""
    with contextlib.suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()


def _read(stream: IO[str], mark: str, lines: "queue.SimpleQueue[str | None]") -> None:
    """Queue all lines that start with the mark, then None; other output is discarded."""
    with contextlib.suppress(ValueError):  # the stream was closed in the meantime
        while line := stream.readline(MAX_LINE):
            if line.startswith(mark):
                lines.put(line)
    lines.put(None)


def _end(process: "subprocess.Popen[str]", writer: threading.Thread | None) -> None:
    """End a process and its children; a process that is waiting for a command ends by itself."""
    assert process.stdin
    assert process.stdout
    if writer is None or not writer.is_alive():
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if writer:
        writer.join(timeout=10)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
