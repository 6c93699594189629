"""Names of ssh devices, what ssh is given, and a measurement through a stand-in for ssh; and the probe's needs."""

import ast
import os
import shlex
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from search_tests.sshd import Far, remote_host
from search_tests.tiny import QUICK, SIZE

from search.latency.check import check
from search.latency.devices import ssh
from search.latency.devices.named import device_named
from search.latency.devices.ssh import Ssh, ssh_device
from search.latency.measure import measure_on
from search.latency.probes import probe
from search.latency.protocol import ConnectionLost, MeasurementError
from search.latency.reference import REFERENCE
from studies.cli.device import device as device_commands
from studies.spec import find_spec
from threshnet.errors import InputError

STAND_IN = """\
#!/bin/sh
# A stub of ssh that logs its arguments, then runs the command on the remote host of these tests.
printf '%s\\n' "$@" > {noted}
while [ "$1" != -- ]; do shift; done
shift 2
SSH_ORIGINAL_COMMAND="$*" exec {login}
"""


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Far:
    """A remote host reached by a stub of `ssh`, the first in PATH."""
    far = remote_host(tmp_path / "far")
    say(far, STAND_IN.format(noted=shlex.quote(str(tmp_path / "noted")), login=shlex.quote(str(far.login))))
    monkeypatch.setenv("PATH", f"{tmp_path / 'here'}{os.pathsep}{os.environ['PATH']}")
    return far


def say(far: Far, script: str) -> None:
    """Make `ssh` this script."""
    ssh = far.root.parent / "here" / "ssh"
    ssh.parent.mkdir(exist_ok=True)
    ssh.write_text(script)
    ssh.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("ssh://pi", {"host": "pi"}),
        ("ssh://pi/", {"host": "pi"}),
        ("ssh://pi@pi4.local:2222", {"host": "pi4.local", "user": "pi", "port": 2222}),
        ("ssh://a_b@[::1]:22/x", {"host": "::1", "user": "a_b", "port": 22, "folder": "/x"}),
        ("ssh://pi/~/a%20b/", {"host": "pi", "folder": "./a b"}),
        ("ssh://pi/~/", {"host": "pi", "folder": "."}),
        ("ssh://pi/var/tmp/it%27s%24%28x%29", {"host": "pi", "folder": "/var/tmp/it's$(x)"}),
        ("ssh://pi?python=python3.11", {"host": "pi", "python": "python3.11"}),
        ("ssh://pi?python=.threshnet/bin/python", {"host": "pi", "python": "./.threshnet/bin/python"}),
        ("ssh://pi?python=~/v/bin/python", {"host": "pi", "python": "./v/bin/python"}),
        ("ssh://pi/x?python=/opt/%22py%22/-p", {"host": "pi", "folder": "/x", "python": '/opt/"py"/-p'}),
        ("ssh://pi?python=-x/y", {"host": "pi", "python": "./-x/y"}),
    ],
)
def test_names(name: str, device: dict[str, Any]) -> None:
    assert ssh_device(name) == replace(Ssh(name, "pi", remote_lease=ssh.REMOTE_LEASE), **device)
    assert device_named(name) == ssh_device(name)


@pytest.mark.parametrize(
    "name",
    [
        "ssh://",
        "ssh://-oProxyCommand=touch",
        "ssh://-oProxyCommand=touch@pi",
        "ssh://pi@-oProxyCommand=touch",
        "ssh://pi%20-x",
        "ssh://pi:-1",
        "ssh://pi:0",
        "ssh://pi:65536",
        "ssh://pi:22x",
        "ssh://pi:٣",
        "ssh://pï",
        "ssh://pi\n",
        "ssh://pi /x",
        "ssh://pi/a b",
        "ssh://pi/$(x)",
        "ssh://pi/%0a",
        "ssh://pi/%00",
        "ssh://pi/%1b",
        "ssh://pi/%ff",
        "ssh://pi/%zz",
        "ssh://pi/x#y",
        "ssh://pi?python=",
        "ssh://pi?python=-c",
        "ssh://pi?python=a%20b",
        "ssh://pi?python=x%0ay/z",
        "ssh://pi?python=x&python=y",
        "ssh://pi?Python=x",
        "ssh://a@b@c",
        "ssh://user:password@pi",
        "ssh://[pi]",
        "SSH://pi",
    ],
)
def test_malformed_names(name: str) -> None:
    with pytest.raises(InputError, match=r"^device .*must be") as error:
        device_named(name)
    assert str(error.value).isprintable()


@given(st.text(min_size=1))
def test_no_name_becomes_an_option(text: str) -> None:
    for name in (f"ssh://{text}", f"ssh://{text}@pi", f"ssh://pi/{text}", f"ssh://pi?python={text}"):
        try:
            device = ssh_device(name)
        except InputError:
            continue
        assert not any(word and str(word).startswith("-") for word in (device.host, device.user, device.python))
        assert device.folder.startswith(("/", "."))
        assert (device.folder + device.python).isprintable()


def test_what_ssh_is_given(far: Far) -> None:
    url = "ssh://pi@host:2222/~/it%27s%20here"
    assert measure_on(ssh_device(url), REFERENCE, SIZE, "onnxruntime", QUICK).device == url
    with device_named(url).probe("onnxruntime", QUICK) as talk:
        assert talk.ask("about", {}, 60.0)["machine"]
    noted = (far.root.parent / "noted").read_text().splitlines()
    options, (separator, host, *command) = noted[: noted.index("--")], noted[noted.index("--") :]
    assert (separator, host) == ("--", "host")
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "ControlMaster=auto"} <= set(options)
    assert options[-4:] == ["-p", "2222", "-l", "pi"]
    (shared,) = (option.partition("=")[2] for option in options if option.startswith("ControlPath="))
    assert stat.S_IMODE(Path(shared).parent.stat().st_mode) == 0o700
    assert len(shared) < 80
    (sent,) = (far.home / "it's here").glob("*.py")
    assert shlex.split(command[0])[3:] == ["threshnet", "1", "python3", f"./it's here/{sent.name}"]
    assert len(command) == 2  # and the token


@pytest.mark.parametrize("folder", ["a b", "x" * 80, "%h"])
def test_no_shared_connection_where_the_socket_has_no_place(
    folder: str, far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(tempfile.mkdtemp(prefix="t")) / folder  # short
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with device_named("ssh://pi").probe("onnxruntime", QUICK):
        pass
    assert "Control" not in (tmp_path / "noted").read_text()


def test_no_shared_connection_in_a_folder_of_others(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="t") as place:
        monkeypatch.setattr(tempfile, "tempdir", place)
        (Path(place) / f"threshnet-ssh-{os.getuid()}").mkdir()
        (Path(place) / f"threshnet-ssh-{os.getuid()}").chmod(0o755)
        with device_named("ssh://pi").probe("onnxruntime", QUICK):
            pass
    assert "Control" not in (tmp_path / "noted").read_text()


@pytest.mark.parametrize(
    ("output", "status", "kind", "message"),
    [
        ("Host key verification failed.\r", 255, MeasurementError, "not in known_hosts; connect once by hand: ssh pi"),
        ("REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.", 255, MeasurementError, "differs"),
        ("pi@pi: Permission denied (publickey).", 255, MeasurementError, "must work without a password: ssh pi"),
        ("ssh: Could not resolve hostname pi", 255, ConnectionLost, "Could not resolve hostname pi"),
        ("", 255, ConnectionLost, "no message"),
        (
            "cat: write error:\x1b[31m No space left",
            1,
            MeasurementError,
            r"exit status 1\): cat: write error: \[31m No",
        ),
    ],
)
def test_reasons(far: Far, output: str, status: int, kind: type[Exception], message: str) -> None:
    say(far, f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(output)} >&2\nexit {status}\n")
    with pytest.raises(MeasurementError, match=message) as error:
        measure_on(ssh_device("ssh://pi"), REFERENCE, SIZE, "onnxruntime", QUICK)
    assert type(error.value) is kind
    assert str(error.value).isprintable()


def test_no_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeasurementError, match="ssh cannot be started: No such file"):
        measure_on(ssh_device("ssh://pi"), REFERENCE, SIZE, "onnxruntime", QUICK)


def test_sending_takes_too_long(far: Far) -> None:
    say(far, "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(MeasurementError, match=r"^ssh://pi: sending \d+ bytes took more than 0.5 s$"):
        measure_on(ssh_device("ssh://pi"), REFERENCE, SIZE, "onnxruntime", replace(QUICK, timeout_s=0.5))


@pytest.mark.parametrize("protocol", [replace(QUICK, precision="fp16"), replace(QUICK, channels_last=True)])
def test_what_it_has_not(protocol: object) -> None:
    with pytest.raises(InputError):
        measure_on(ssh_device("ssh://pi"), REFERENCE, SIZE, "onnxruntime", protocol)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="runtime 'torch': must be one of onnxruntime"):
        measure_on(ssh_device("ssh://pi"), REFERENCE, SIZE, "torch", QUICK)


def test_the_probe_needs_python_3_9_numpy_and_onnxruntime_and_pillow_for_jpegs_only() -> None:
    tree = ast.parse(Path(probe.__file__).read_text(), feature_version=(3, 9))
    (jpegs,) = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "PIL"]
    assert jpegs not in tree.body  # imported inside the function that decodes
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy", "onnxruntime", "PIL"}


def test_the_probe_reports_facts_without_numpy() -> None:
    program = "import sys; sys.modules['numpy'] = None; sys.argv = ['', 'token']; "
    program += f"import runpy; runpy.run_path({probe.__file__!r}, run_name='__main__')"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input='{"about": {}}\n', capture_output=True, text=True, check=True)
    assert 'token {"done": {"python": ' in done.stdout


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_lease_is_for_every_user(tmp_path: Path, mask: int) -> None:
    file = tmp_path / "lease"
    before = os.umask(mask)
    try:
        with probe.leased(str(file)):
            pass
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o644
    file.chmod(0o444)
    with probe.leased(str(file)), file.open() as other:
        assert not probe.locked(other.fileno())


def test_a_lease_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="link"), probe.leased(str(tmp_path / "link")):
        pass
    assert not (tmp_path / "target").exists()


def test_check_of_a_throttled_pi(far: Far) -> None:
    far.command("vcgencmd", '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50005\n')
    done = CliRunner().invoke(device_commands, ["check", "ssh://pi"])
    assert done.exit_code == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "ssh://pi: not suitable for measuring"
    assert {"problem under-voltage now", "problem throttled now", "hint throttled since boot"} <= set(lines)
    assert any(line.startswith("runtime onnxruntime ") and "survives" in line for line in lines)


def test_check_of_an_unknown_device() -> None:
    with pytest.raises(InputError, match="device 'ssh://-x': must be"):
        CliRunner().invoke(device_commands, ["check", "ssh://-x"], catch_exceptions=False)


def test_check_removes_control_characters(far: Far) -> None:
    far.python(
        "import json, sys\n"
        "state = dict.fromkeys(('temperature_c', 'clock_mhz', 'throttled', 'quota_throttled', 'gpu_others_percent'))\n"
        "state |= {'governor': 'x\\x1b[2J', 'load': 3.0}\n"
        "about = {'python': '3', 'machine': 'arm', 'bits': 32, 'processor': 'a\\n\\x07b', 'processors': 1}\n"
        "about |= {'versions': {'numpy': '1\\x1b', 'onnxruntime': None}, 'free_mib': 100, 'state': state}\n"
        "input()\n"
        "print('\\n' + sys.argv[2], json.dumps({'done': about}))\n"
    )
    found = check(device_named("ssh://pi"), QUICK)
    assert found.about
    assert (found.about.processor, found.about.versions.numpy, found.about.state.governor) == ("a b", "1", "x [2J")
    assert found.problems[0] == "its Python is 32-bit (arm), for which there is no onnxruntime"
    assert found.hints[1].startswith("busy: 3.0 processes on 1 processor(s) in the last minute")
    assert found.hints[2] == "only 100 MiB of memory are free"
    assert found.hints[0].startswith("the clock's governor is x [2J, performance is steadier")


@pytest.mark.parametrize("name", ["cifar10_pi", "svhn_pi"])
def test_studies_on_a_pi(name: str) -> None:
    spec = find_spec(name)
    assert isinstance(device_named(spec.device), Ssh)
    assert spec.limits.latency_ms
