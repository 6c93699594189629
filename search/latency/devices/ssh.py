"""Machines reached over plain OpenSSH: `ssh://[user@]host[:port][/folder][?python=PATH]`.

The user's own configuration and known_hosts decide how; an unknown host key is refused. The far side needs a POSIX
shell, Python 3.9, numpy and onnxruntime. The probe and the models are sent through ssh's standard input into a folder,
each under the SHA-256 of its content: /folder is absolute, /~/folder relative to the far home, and so is PATH, unless
it is absolute or a mere name. What varies reaches the far shell as arguments of a fixed script, never as its text.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote

from search.latency.conversation import CUT_OFF, Conversation, ending, probe
from search.latency.devices.cpu import governor_hints
from search.latency.devices.named import DEVICES
from search.latency.onnx_files import Network, onnx_files
from search.latency.probes import probe as instrument
from search.latency.protocol import ConnectionLost, MeasurementError, Protocol
from search.latency.reading import State
from threshnet.errors import InputError
from threshnet.untrusted import clean

FOLDER = "./.cache/threshnet"  # where files are kept on the far side, relative to its home
PYTHON = "python3"
VENV = ".threshnet"  # a virtual environment in the remote home folder
REMOTE_LEASE = "/tmp/threshnet-measuring.lock"  # between all who measure there over ssh
KEPT = 100  # model files that stay on the far side, the last used
LONGEST_SOCKET = 100 - len("/0123456789abcdef.0123456789abcdef")  # of a folder for sockets: their paths end at 103
WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"  # can be no option of ssh or a shell
PATH = r"(?:[A-Za-z0-9._~/@:,+=-]|%[0-9A-Fa-f]{2})"
NAME = re.compile(
    rf"ssh://(?:({WORD})@)?({WORD}|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?(/{PATH}*)?(?:\?python=({PATH}+))?"
)
# Arguments: folder, name, temporary name, size in bytes, 1 + models kept, names in use. A file whose sender was cut off
# is short. `ls` lists the last used first; the pattern spares all that is no model of ours.
RECEIVE = """\
umask 077; mkdir -p -- "$1" && cd -- "$1" || exit 1; \
if cat > "$3" && test "$(wc -c < "$3")" -eq "$4" && mv -f -- "$3" "$2"; then \
kept="$5"; shift 5; touch -c -- "$@"; \
ls -t | grep -xE "[0-9a-f]{64}[.]onnx" | tail -n "+$kept" | while read -r old; do rm -f -- "$old"; done; exit 0; fi; \
rm -f -- "$3"; exit 1"""
# Arguments: threads, python, probe, token. The shell stays, to tell a death by signal N by the exit status 128 + N.
RUN = 'OMP_NUM_THREADS="$1" OPENBLAS_NUM_THREADS="$1" "$2" "$3" "$4"; exit $?'


@dataclass(frozen=True)
class Ssh:
    """A machine whose CPU is measured over OpenSSH."""

    name: str  # as the user writes it
    host: str  # a name of ssh's configuration or of the network, or an address
    user: str | None = None  # None: as ssh's configuration says
    port: int | None = None  # None: as ssh's configuration says
    folder: str = FOLDER  # begins with / or ./
    python: str = PYTHON  # a name of the far PATH, or begins with / or ./
    runtimes: tuple[str, ...] = ("onnxruntime",)
    remote_lease: str = REMOTE_LEASE
    tries: int = 3

    @property
    def lease(self) -> str:
        """Which lease of this machine a measurement on it holds."""
        return self.name

    def check(self, runtime: str, protocol: Protocol) -> None:
        """InputError where the protocol asks for what this device has not."""
        if protocol.precision != "fp32":
            raise InputError(f"precision {protocol.precision!r}: the device {self.name!r} measures fp32 only")
        if protocol.channels_last:
            raise InputError(f"channels_last: goes with torch, not with {runtime!r}")

    @contextlib.contextmanager
    def probe(self, runtime: str, protocol: Protocol) -> Iterator[Conversation]:
        """The instrument, sent there and started."""
        source = Path(instrument.__file__)
        name = f"{_sha256(source)}.py"
        self._send(source, name, (name,), protocol.timeout_s)
        command = [*self._ssh(), _far_command(RUN, str(protocol.threads), self.python, f"{self.folder}/{name}")]
        with probe(f"{runtime} on {self.name}", command, remote=True) as talk:
            yield talk

    @contextlib.contextmanager
    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> Iterator[Sequence[object]]:
        """Paths of the networks' files on the far side, sent where it has them not yet."""
        with onnx_files(networks, input_size, protocol.batch) as paths:
            names = [f"{_sha256(path)}.onnx" for path in paths]
            files = dict(zip(names, paths, strict=True))  # equal ones once
            missing = self._missing(talk, list(files), protocol)
            for name in missing:
                self._send(files[name], name, tuple(files), protocol.timeout_s)
        if missing and self._missing(talk, missing, protocol):
            raise MeasurementError(f"{self.name}: a model file did not arrive whole, though ssh reports success")
        yield [f"{self.folder}/{name}" for name in names]

    def hints(self, state: State) -> list[str]:
        """What would make its readings better, given the state it reports; one line each."""
        return governor_hints(state)

    def install(self, packages: Sequence[str]) -> tuple[str, str]:
        """The command that installs missing packages, and the device's name after that.

        They go into the Python that the user chose. The system's own refuses them (PEP 668, Raspberry Pi OS since
        bookworm), so there they go into a virtual environment in the remote home folder.
        """
        if "/" in self.python:
            return self.by_hand(shlex.join([self.python, "-m", "pip", "install", *packages])), self.name
        command = f"{self.python} -m venv {VENV} && {VENV}/bin/pip install {shlex.join(packages)}"
        return self.by_hand(command), f"{self.name.partition('?')[0]}?python={VENV}/bin/python"

    def by_hand(self, command: str = "") -> str:
        """What a user would type to get there, and have this command of a POSIX shell run."""
        port = ["-p", str(self.port)] if self.port else []
        place = f"{self.user}@{self.host}" if self.user else self.host
        return shlex.join(["ssh", *port, place, *([command] if command else [])])

    def _missing(self, talk: Conversation, names: Sequence[str], protocol: Protocol) -> list[str]:
        """Those of the files that the far side does not hold whole."""
        answer = talk.ask("present", {"folder": self.folder, "names": names}, protocol.timeout_s)
        if not isinstance(answer, list):
            raise MeasurementError(f"{talk.name} answered nonsense: {clean(repr(answer))}")
        return [name for name in names if name not in answer]

    def _ssh(self) -> list[str]:
        """The command that runs a command there; every word of the user's in it is checked by NAME."""
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "LogLevel": "INFO",
            "ClearAllForwardings": "yes",
            "RemoteCommand": "none",
        }
        if folder := _sockets():
            key = hashlib.sha256(f"{self.user}@{self.host}:{self.port}".encode()).hexdigest()[:16]
            options |= {"ControlMaster": "auto", "ControlPersist": "60", "ControlPath": f"{folder}/{key}"}
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        words += ["-p", str(self.port)] if self.port else []
        words += ["-l", self.user] if self.user else []
        return ["ssh", "-T", *words, "--", self.host]

    def _send(self, file: Path, name: str, used: Sequence[str], timeout_s: float) -> None:
        """Put a file there under a name, whole or not at all; models that are not among the last used make room.

        Raises MeasurementError where that fails, ConnectionLost where another try may succeed.
        """
        size = file.stat().st_size
        part = f"{secrets.token_hex(8)}.part"
        command = [*self._ssh(), _far_command(RECEIVE, self.folder, name, part, str(size), str(KEPT + 1), *used)]
        with file.open("rb") as content, tempfile.TemporaryFile() as errors:
            try:
                done = subprocess.run(
                    command,
                    stdin=content,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    timeout=timeout_s,
                    start_new_session=True,  # Ctrl-C is for us
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise MeasurementError(f"{self.name}: sending {size} bytes took more than {timeout_s:g} s") from None
            except OSError as error:
                raise MeasurementError(f"{self.name}: ssh cannot be started: {error.strerror}") from None
            if done.returncode:
                raise self._refused(done.returncode, _text(errors))

    def _refused(self, status: int, said: str) -> MeasurementError:
        """Why ssh, or the command it ran, ended with a status other than 0."""
        last = clean(next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing"))
        if status != CUT_OFF:
            return MeasurementError(f"{self.name}: no file could be put into {self.folder} ({ending(status)}): {last}")
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
            return MeasurementError(
                f"{self.name}: its host key is another than the one in known_hosts; make sure that it is the machine "
                f"you mean, forget the old key with ssh-keygen -R, then connect once by hand: {self.by_hand()}"
            )
        if "Host key verification failed" in said:
            return MeasurementError(
                f"{self.name}: its host key is not in known_hosts; connect once by hand: {self.by_hand()}"
            )
        if "Permission denied" in said:
            return MeasurementError(f"{self.name}: {last}; this must work without a password: {self.by_hand()}")
        return ConnectionLost(f"{self.name}: {last}")


def ssh_device(name: str) -> Ssh:
    """The device of an ssh:// name; InputError where that is malformed."""
    parsed = NAME.fullmatch(name)
    if not parsed:
        raise InputError(
            f"device {name!r}, must be {DEVICES['ssh'].forms[0]}, special characters of folder and PATH as %20"
        )
    user, host, port, folder, python = parsed.groups()
    if port and not 1 <= int(port) <= 65535:
        raise InputError(f"device {name!r}: port {port}, must be 1 to 65535")
    folder = folder or ""
    try:
        folder = unquote(folder[1:] if folder.startswith("/~/") else folder, errors="strict")
        python = unquote(python or PYTHON, errors="strict")
    except UnicodeDecodeError:
        raise InputError(f"device {name!r}: folder and PATH must be UTF-8") from None
    if not (folder.isprintable() and python.isprintable()):
        raise InputError(f"device {name!r}: folder and PATH must be printable")
    if "/" not in python and not re.fullmatch(WORD, python):
        raise InputError(f"device {name!r}: python {python!r}, must be a path or a command of letters and digits")
    return Ssh(
        name,
        host.strip("[]"),
        user,
        int(port) if port else None,
        _far_path(folder).rstrip("/") if folder.strip("/") else FOLDER,
        _far_path(python) if "/" in python else python,
        remote_lease=REMOTE_LEASE,
    )


def _far_path(path: str) -> str:
    """A path that is no option: from the far root, or from the far home, where ssh starts its commands."""
    return path if path.startswith("/") else f"./{path.removeprefix('~/')}"


def _far_command(script: str, *arguments: str) -> str:
    """A script with arguments as one line for the far login shell, whichever that is; takes another argument."""
    return shlex.join(["sh", "-c", script, "threshnet", *arguments])


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _text(stream: IO[bytes]) -> str:
    """The end of what was written to a file."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 8192))
    return stream.read().decode(errors="replace")


def _sockets() -> Path | None:
    """A folder of this user's alone for the sockets of shared connections; None where there can be none."""
    folder = Path(tempfile.gettempdir()) / f"threshnet-ssh-{os.getuid()}"
    if len(str(folder)) > LONGEST_SOCKET or not re.fullmatch(r"[\w/.+-]+", str(folder), re.ASCII):
        return None  # ssh splits and expands other names
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return folder
    return None
