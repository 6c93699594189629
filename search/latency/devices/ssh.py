"""Remote machines that are measured over OpenSSH: `ssh://[user@]host[:port][/folder][?python=PATH]`.

The connection uses the ssh configuration and known_hosts of the user, and refuses unknown host keys. The remote host
needs a POSIX shell, Python 3.9, numpy and onnxruntime. The probe and the models are sent over the standard input of
ssh. They are stored in a folder, and the file names are the SHA-256 of the content. /folder is an absolute path, and
/~/folder is relative to the remote home. PATH is also relative to the remote home, unless it is absolute or a command
name. User input is passed to the remote shell only as arguments of a fixed script and never becomes part of the script.
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

from search.latency.conversation import SSH_FAILED, Conversation, ending, probe
from search.latency.devices.cpu import governor_hints
from search.latency.devices.named import DEVICES
from search.latency.onnx_files import Network, onnx_files
from search.latency.probes import probe as instrument
from search.latency.protocol import ConnectionLost, MeasurementError, Protocol
from search.latency.reading import State
from threshnet.errors import InputError
from threshnet.untrusted import clean

FOLDER = "./.cache/threshnet"  # folder of the files on the remote host, relative to the home folder
PYTHON = "python3"
VENV = ".threshnet"  # a virtual environment in the remote home folder
REMOTE_LEASE = "/tmp/threshnet-measuring.lock"  # lock file for all measurements over ssh on the remote host
MAX_MODELS = 100  # number of model files that are kept on the remote host; the most recently used files are kept
MAX_SOCKET_FOLDER = 100 - len("/0123456789abcdef.0123456789abcdef")  # characters; a socket path has at most 103
WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"  # does not match any option of ssh or a shell
PATH = r"(?:[A-Za-z0-9._~/@:,+=-]|%[0-9A-Fa-f]{2})"
NAME = re.compile(
    rf"ssh://(?:({WORD})@)?({WORD}|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?(/{PATH}*)?(?:\?python=({PATH}+))?"
)
# Arguments: folder, name, temporary name, size in bytes, 1 + MAX_MODELS, names in use. A file is too short if its
# sender was interrupted. `ls` lists the most recently used files first. The pattern only matches model files of this
# project.
RECEIVE = """\
umask 077; mkdir -p -- "$1" && cd -- "$1" || exit 1; \
if cat > "$3" && test "$(wc -c < "$3")" -eq "$4" && mv -f -- "$3" "$2"; then \
kept="$5"; shift 5; touch -c -- "$@"; \
ls -t | grep -xE "[0-9a-f]{64}[.]onnx" | tail -n "+$kept" | while read -r old; do rm -f -- "$old"; done; exit 0; fi; \
rm -f -- "$3"; exit 1"""
# Arguments: threads, python, probe, token. The shell keeps running, so that a probe killed by signal N results in the
# exit status 128 + N.
RUN = 'OMP_NUM_THREADS="$1" OPENBLAS_NUM_THREADS="$1" "$2" "$3" "$4"; exit $?'


@dataclass(frozen=True)
class Ssh:
    """The CPU of a remote machine, measured over OpenSSH."""

    name: str  # the name as the user writes it
    host: str  # a host in the ssh configuration, a host name or an address
    user: str | None = None  # None: use the ssh configuration
    port: int | None = None  # None: use the ssh configuration
    folder: str = FOLDER  # begins with / or ./
    python: str = PYTHON  # a command on the remote PATH, or a path that begins with / or ./
    runtimes: tuple[str, ...] = ("onnxruntime",)
    remote_lease: str = REMOTE_LEASE
    tries: int = 3

    @property
    def lease(self) -> str:
        """The name of the lease that is held on this machine during a measurement."""
        return self.name

    def check(self, runtime: str, protocol: Protocol) -> None:
        """Raise InputError if the device does not support the protocol with this runtime."""
        if protocol.precision != "fp32":
            raise InputError(f"precision {protocol.precision!r}: the device {self.name!r} measures fp32 only")
        if protocol.channels_last:
            raise InputError(f"channels_last: only with torch, not with {runtime!r}")

    @contextlib.contextmanager
    def probe(self, runtime: str, protocol: Protocol) -> Iterator[Conversation]:
        """Send the probe to the remote host and start it."""
        source = Path(instrument.__file__)
        name = f"{_sha256(source)}.py"
        self._send(source, name, (name,), protocol.timeout_s)
        command = [*self._ssh(), _remote_command(RUN, str(protocol.threads), self.python, f"{self.folder}/{name}")]
        with probe(f"{runtime} on {self.name}", command, remote=True) as talk:
            yield talk

    @contextlib.contextmanager
    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> Iterator[Sequence[object]]:
        """Return the paths of the models on the remote host after sending the missing files."""
        with onnx_files(networks, input_size, protocol.batch) as paths:
            names = [f"{_sha256(path)}.onnx" for path in paths]
            files = dict(zip(names, paths, strict=True))  # identical files are sent only once
            missing = self._missing(talk, list(files), protocol)
            for name in missing:
                self._send(files[name], name, tuple(files), protocol.timeout_s)
        if missing and self._missing(talk, missing, protocol):
            raise MeasurementError(f"{self.name}: a model file arrived incomplete, though ssh reports success")
        yield [f"{self.folder}/{name}" for name in names]

    def hints(self, state: State) -> list[str]:
        """Return hints for more reliable readings, based on the reported state, one line each."""
        return governor_hints(state)

    def install(self, packages: Sequence[str]) -> tuple[str, str]:
        """Return the command that installs missing packages, and the name of the device after the installation.

        If the user specified a Python, the packages are installed for this Python. The system Python refuses to install
        packages (PEP 668, Raspberry Pi OS since bookworm). By default, they are therefore installed into a virtual
        environment in the remote home folder.
        """
        if "/" in self.python:
            return self.by_hand(shlex.join([self.python, "-m", "pip", "install", *packages])), self.name
        command = f"{self.python} -m venv {VENV} && {VENV}/bin/pip install {shlex.join(packages)}"
        return self.by_hand(command), f"{self.name.partition('?')[0]}?python={VENV}/bin/python"

    def by_hand(self, command: str = "") -> str:
        """Return the ssh command that a user would type to run a POSIX shell command on the remote host."""
        port = ["-p", str(self.port)] if self.port else []
        place = f"{self.user}@{self.host}" if self.user else self.host
        return shlex.join(["ssh", *port, place, *([command] if command else [])])

    def _missing(self, talk: Conversation, names: Sequence[str], protocol: Protocol) -> list[str]:
        """Return the names of the files that are missing or incomplete on the remote host."""
        answer = talk.ask("present", {"folder": self.folder, "names": names}, protocol.timeout_s)
        if not isinstance(answer, list):
            raise MeasurementError(f"{talk.name} sent a malformed reply: {clean(repr(answer))}")
        return [name for name in names if name not in answer]

    def _ssh(self) -> list[str]:
        """Return the ssh command prefix for the remote host; all words from the user have been checked by NAME."""
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
        """Send a file to the remote host atomically and delete old models.

        Raises MeasurementError if sending fails, or ConnectionLost if a retry may succeed.
        """
        size = file.stat().st_size
        part = f"{secrets.token_hex(8)}.part"
        command = [
            *self._ssh(),
            _remote_command(RECEIVE, self.folder, name, part, str(size), str(MAX_MODELS + 1), *used),
        ]
        with file.open("rb") as content, tempfile.TemporaryFile() as errors:
            try:
                done = subprocess.run(
                    command,
                    stdin=content,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    timeout=timeout_s,
                    start_new_session=True,  # Ctrl-C interrupts only this process
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise MeasurementError(f"{self.name}: sending {size} bytes took more than {timeout_s:g} s") from None
            except OSError as error:
                raise MeasurementError(f"{self.name}: ssh cannot be started: {error.strerror}") from None
            if done.returncode:
                raise self._refused(done.returncode, _text(errors))

    def _refused(self, status: int, output: str) -> MeasurementError:
        """Return the error for a nonzero exit status of ssh or the remote command."""
        last = clean(next((line for line in reversed(output.splitlines()) if line.strip()), "no message"))
        if status != SSH_FAILED:
            return MeasurementError(f"{self.name}: cannot write files to {self.folder} ({ending(status)}): {last}")
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in output:
            return MeasurementError(
                f"{self.name}: its host key differs from the one in known_hosts; make sure that it is the right "
                f"machine, remove the old key with ssh-keygen -R, then connect once by hand: {self.by_hand()}"
            )
        if "Host key verification failed" in output:
            return MeasurementError(
                f"{self.name}: its host key is not in known_hosts; connect once by hand: {self.by_hand()}"
            )
        if "Permission denied" in output:
            return MeasurementError(f"{self.name}: {last}; this must work without a password: {self.by_hand()}")
        return ConnectionLost(f"{self.name}: {last}")


def ssh_device(name: str) -> Ssh:
    """Parse an ssh:// name and return the device; raises InputError if the name is malformed."""
    parsed = NAME.fullmatch(name)
    if not parsed:
        raise InputError(
            f"device {name!r}: must be {DEVICES['ssh'].forms[0]}, special characters of folder and PATH as %20"
        )
    user, host, port, folder, python = parsed.groups()
    if port and not 1 <= int(port) <= 65535:
        raise InputError(f"device {name!r}: port {port}: must be 1 to 65535")
    folder = folder or ""
    try:
        folder = unquote(folder[1:] if folder.startswith("/~/") else folder, errors="strict")
        python = unquote(python or PYTHON, errors="strict")
    except UnicodeDecodeError:
        raise InputError(f"device {name!r}: folder and PATH must be UTF-8") from None
    if not (folder.isprintable() and python.isprintable()):
        raise InputError(f"device {name!r}: folder and PATH must be printable")
    if "/" not in python and not re.fullmatch(WORD, python):
        raise InputError(f"device {name!r}: python {python!r}: must be a path or a command of letters and digits")
    return Ssh(
        name,
        host.strip("[]"),
        user,
        int(port) if port else None,
        _remote_path(folder).rstrip("/") if folder.strip("/") else FOLDER,
        _remote_path(python) if "/" in python else python,
        remote_lease=REMOTE_LEASE,
    )


def _remote_path(path: str) -> str:
    """Return a path that cannot be an option: an absolute path, or a path relative to the remote home folder."""
    return path if path.startswith("/") else f"./{path.removeprefix('~/')}"


def _remote_command(script: str, *arguments: str) -> str:
    """Return a script and its arguments as one line for any login shell; another argument may be appended."""
    return shlex.join(["sh", "-c", script, "threshnet", *arguments])


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _text(stream: IO[bytes]) -> str:
    """Return the last 8 KiB of a file as text."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 8192))
    return stream.read().decode(errors="replace")


def _sockets() -> Path | None:
    """Return a private folder for the sockets of shared connections, or None if it cannot be created."""
    folder = Path(tempfile.gettempdir()) / f"threshnet-ssh-{os.getuid()}"
    if len(str(folder)) > MAX_SOCKET_FOLDER or not re.fullmatch(r"[\w/.+-]+", str(folder), re.ASCII):
        return None  # ssh would split or expand such a name
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return folder
    return None
