"""A remote host on this machine, with its own home and commands, reached through a real sshd or a stub of ssh."""

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
LOGIN = """\
#!/bin/sh
# The command that sshd runs in place of the login shell: the remote host has its own home and PATH.
export HOME={home} PATH={bin}:/usr/bin:/bin
cd "$HOME" || exit 9
printf '%s\\n' "$SSH_ORIGINAL_COMMAND" >> {log}
if [ -f {chatter} ]; then cat {chatter}; fi
exec {shell} -c "$SSH_ORIGINAL_COMMAND"
"""


@dataclass(frozen=True)
class Far:
    """The remote host: its home, the folder of its commands, and the log of commands that it ran."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def cache(self) -> Path:
        """The default folder of files."""
        return self.home / ".cache/threshnet"

    @property
    def login(self) -> Path:
        return self.root / "login"

    @property
    def shell(self) -> Path:
        """Its login shell, a link."""
        return self.root / "shell"

    @property
    def chatter(self) -> Path:
        """The output of a careless profile at each login, once this file exists."""
        return self.root / "chatter"

    def commands(self) -> list[str]:
        """The commands that it ran."""
        log = self.root / "commands"
        return log.read_text().splitlines() if log.exists() else []

    def models(self) -> list[Path]:
        return sorted(self.cache.glob("*.onnx"))

    def command(self, name: str, text: str) -> Path:
        """Make a program that the remote host finds by its name."""
        file = self.root / "bin" / name
        file.write_text(text)
        file.chmod(0o755)
        return file

    def python(self, text: str = "", name: str = "python3") -> Path:
        """Make its Python: ours, or a script in ours, whose argv is [itself, probe, token]."""
        script = []
        if text:
            script = [str(self.root / "bin" / f"{name}.py")]
            Path(script[0]).write_text(text)
        return self.command(name, f'#!/bin/sh\nexec {shlex.join([sys.executable, *script])} "$@"\n')


def remote_host(root: Path) -> Far:
    """A remote host below a folder."""
    far = Far(root)
    far.home.mkdir(parents=True)
    (root / "bin").mkdir()
    far.shell.symlink_to("/bin/sh")
    places = {
        "home": far.home,
        "bin": root / "bin",
        "log": root / "commands",
        "chatter": far.chatter,
        "shell": far.shell,
    }
    far.login.write_text(LOGIN.format(**{name: shlex.quote(str(place)) for name, place in places.items()}))
    far.login.chmod(0o755)
    far.python()
    return far


@dataclass(frozen=True)
class Server:
    """A running sshd on loopback, and the configuration of the ssh that reaches it."""

    far: Far
    port: int
    pid: int
    folder: Path  # of its keys and configuration

    @property
    def url(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def cut(self) -> None:
        """End every connection at once, as when the network fails; the far programs live on."""
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        for pid, parent in (map(int, line.split()) for line in table.splitlines()):
            if parent == self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def sshd(far: Far, folder: Path) -> Iterator[Server]:
    """A real sshd with keys of its own, and an `ssh` first in PATH that knows them and nothing of the user's."""
    if SSHD is None:
        pytest.fail("sshd is missing: apt-get install openssh-server")
    folder.mkdir()
    for name in ("host", "client", "stranger"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(keygen, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "authorized_keys").write_text((folder / "client.pub").read_text())
    known(folder, port, "host")
    (folder / "sshd_config").write_text(
        f"""\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder / "host"}
PidFile {folder / "pid"}
AuthorizedKeysFile {folder / "authorized_keys"}
ForceCommand {far.login}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
LogLevel VERBOSE
"""
    )
    (folder / "ssh_config").write_text(
        f"""\
IdentityFile {folder / "client"}
IdentitiesOnly yes
IdentityAgent none
UserKnownHostsFile {folder / "known_hosts"}
GlobalKnownHostsFile /dev/null
"""
    )
    real = shutil.which("ssh")
    assert real
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join([real, "-F", str(folder / "ssh_config")])} "$@"\n')
    wrapper.chmod(0o755)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd chroots there; Debian makes it at boot
    with (
        pytest.MonkeyPatch.context() as patch,
        (folder / "log").open("wb") as log,
        subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log) as process,
    ):
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        server = Server(far, port, process.pid, folder)
        try:
            while "Server listening" not in server.log:
                if process.poll() is not None:
                    pytest.fail(f"sshd ended: {server.log}")
                time.sleep(0.01)
            yield server
        finally:
            server.cut()
            process.kill()


def known(folder: Path, port: int, key: str) -> None:
    """Write the one host key that is known for the server, that of this name."""
    public = " ".join((folder / f"{key}.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
