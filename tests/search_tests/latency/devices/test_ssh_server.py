"""Measurements over ssh against a real sshd on loopback, and everything that goes wrong there."""

import fcntl
import hashlib
import io
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import optuna
import pytest
from click.testing import CliRunner
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import TrialState
from PIL import Image
from search_tests.sshd import Server, known, remote_host, sshd
from search_tests.tiny import NETWORK, QUICK, SIZE, tiny_data, tiny_task

from search import records
from search.latency.check import check
from search.latency.devices.named import device_named
from search.latency.devices.ssh import MAX_MODELS, Ssh, ssh_device
from search.latency.measure import measure_all, measure_on
from search.latency.probes import probe
from search.latency.protocol import ConnectionLost, MeasurementError, Protocol
from search.latency.reading import Latency
from search.latency.reference import REFERENCE
from search.latency.reports import Wait, reporting
from search.objective import FAILURES, NoDisplay, StudyFolders, scorer
from search.samplers.named import sampler_for
from studies.cli.device import device as device_commands
from threshnet.spec import NetworkSpec

pytestmark = pytest.mark.services

# Far Pythons: scripts in ours, whose argv is [itself, probe, token]; PROBE runs the probe as it is.
PROBE = """
import runpy, sys
sys.argv = sys.argv[1:]
def run():
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
HIDING = """
import importlib.metadata
class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Hiding())
version = importlib.metadata.version
def other_version(name):
    if name in hidden:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = other_version
run()
"""
ANSWERING = """
import json, sys
probe, token = sys.argv[1:]
facts = {"runtime_version": "1", "processor": "abacus", "notes": [], "pid": 1, "processors": 4}
facts |= {"priority": 0, "host": "far"}
state = dict.fromkeys(
    ("temperature_c", "clock_mhz", "governor", "throttled", "quota_throttled", "load", "gpu_others_percent")
)
for line in sys.stdin:
    ((command, body),) = json.loads(line).items()
    networks = len(body.get("order", ()))
    rounds = {
        "rounds_ms": [[[1.0] * 16] * 6] * networks, "cpu_ms": None, "switches": 0, "others": None, "ended": "precise",
        "steady": True, "before": state, "after": state
    }
    done = {"load": facts, "measure": rounds, "present": body.get("names")}[command]
    text = json.dumps({"done": done})
    if command == WHICH:
        text = CHANGE(text)
    sys.stdout.buffer.write(b"\\n" + token.encode() + b" " + text.encode() + b"\\n")
    sys.stdout.flush()
"""
CUTTING = """
import os, pathlib, signal, subprocess, sys
counter = pathlib.Path(__file__).with_suffix(".count")
times = int(counter.read_text()) if counter.exists() else 0
counter.write_text(str(times + 1))
probe = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE)
for line in sys.stdin.buffer:
    if times < CUTS and b'"measure"' in line:
        pid = os.getppid()
        while b"sshd" not in pathlib.Path(f"/proc/{pid}/comm").read_bytes():
            pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(pid, signal.SIGKILL)
    probe.stdin.write(line)
    probe.stdin.flush()
probe.stdin.close()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with sshd(remote_host(tmp_path / "far"), tmp_path / "sshd") as running:
        yield running


def measured(device: str | Ssh, protocol: Protocol = QUICK, spec: NetworkSpec = REFERENCE) -> Latency:
    """A measurement; of the reference network, whose file is kept, unless it matters."""
    return measure_on(device_named(device) if isinstance(device, str) else device, spec, SIZE, "onnxruntime", protocol)


def failure(device: str | Ssh, protocol: Protocol = QUICK) -> str:
    """The one-line reason of a failed measurement."""
    with pytest.raises(MeasurementError) as error:
        measured(device, protocol)
    message = str(error.value)
    assert message.isprintable()
    assert len(message) < 600
    return message


def test_full_measurement(server: Server) -> None:
    first, second = measured(server.url, spec=NETWORK), measured(server.url, spec=NETWORK)
    assert first.device == server.url
    assert first.processor == probe.processor_name()
    assert (first.threads, first.batch, first.input_size) == (1, 1, SIZE)
    assert first.rounds >= probe.MIN_CYCLES
    assert second.reference_ms == first.reference_ms  # recorded once
    assert server.log.count("Accepted publickey") == 1  # one connection, shared
    assert len(server.far.models()) == 2  # the network and the reference
    assert sum(".onnx" in command for command in server.far.commands()) == 2  # sent once each
    assert server.far.cache.stat().st_mode & 0o777 == 0o700
    assert {path.suffix for path in server.far.cache.iterdir()} == {".onnx", ".py"}  # nothing half sent


def jpeg() -> bytes:
    """A JPEG whose decoding takes longer than the network."""
    content = io.BytesIO()
    Image.new("RGB", (640, 480), "teal").save(content, "JPEG")
    return content.getvalue()


def test_a_jpeg_is_decoded_on_the_remote_host(server: Server) -> None:
    device, networks = device_named(server.url), (NETWORK, NETWORK)
    plain, decoding = measure_all(device, networks, SIZE, "onnxruntime", QUICK, jpeg=jpeg(), from_jpeg=(1,))
    assert decoding.latency_ms > plain.latency_ms
    assert len(server.far.models()) == 2  # the network, once, and the reference


def test_no_pillow(server: Server) -> None:
    server.far.python(f"{PROBE}\nhidden = ['PIL']\n{HIDING}")
    device = device_named(server.url)
    with pytest.raises(MeasurementError, match="No module named 'PIL'"):
        measure_all(device, (NETWORK,), SIZE, "onnxruntime", QUICK, jpeg=jpeg(), from_jpeg=(0,))
    assert measure_all(device, (NETWORK,), SIZE, "onnxruntime", QUICK)[0].latency_ms > 0


NASTY = """it's a "folder"; $(touch dollar) `touch tick` & touch and; cd .. \\ ü!"""


def test_nothing_in_a_path_is_executed(server: Server, tmp_path: Path) -> None:
    interpreter = server.far.python(name=f"-py{NASTY}")
    before = {path for path in tmp_path.rglob("*") if path.name in ("dollar", "tick", "and")}
    for folder, home in ((f"/~/{quote(NASTY)}", server.far.home), (quote(f"{tmp_path}/{NASTY}"), tmp_path)):
        assert measured(f"{server.url}{folder}?python={quote(str(interpreter))}").latency_ms > 0
        assert len(list((home / NASTY).glob("*.onnx"))) == 1
    after = {path for path in tmp_path.rglob("*") if path.name in ("dollar", "tick", "and")}
    assert after == before == set()
    assert not server.far.cache.exists()


def test_harmless_chatter(server: Server) -> None:
    lines = [
        b"Welcome!\r\n\x1b[31mred\x00\xff\xfe\n",
        b'{"done": {"rounds_ms": [[[1.0]], [[1.0]]]}}\n',
        b'0123456789abcdef {"done": []}\n',
        b"x" * 3_000_000 + b"\n",
        b"no end of line",
    ]
    server.far.chatter.write_bytes(b"".join(lines))
    reading = measured(server.url)
    assert reading.runs == reading.rounds * (QUICK.round_runs - QUICK.discard)
    assert all(model.stem == hashlib.sha256(model.read_bytes()).hexdigest() for model in server.far.models())


def test_garbage_only(server: Server) -> None:
    server.far.python("import os\nos.write(1, os.urandom(100_000) + b'{\"done\": {}}\\n')\n")
    assert "died (exit status 0)" in failure(server.url)


def test_endless_garbage(server: Server) -> None:
    server.far.python("while True:\n    print('y' * 1000)\n")
    assert "sent nothing for 6 s" in failure(server.url, replace(QUICK, timeout_s=6.0))


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("load", "lambda text: 'nonsense'"),
        ("load", "lambda text: '[' * 100_000"),
        ("load", "lambda text: '[]'"),
        ("load", "lambda text: text.replace('\"abacus\"', '7')"),
        ("load", "lambda text: text.replace('\"pid\"', '\"PID\"')"),
        ("present", "lambda text: '{\"done\": 5}'"),
        ("measure", "lambda text: text.replace('1.0', 'NaN', 1)"),
        ("measure", "lambda text: text.replace('1.0', 'Infinity', 1)"),
        ("measure", "lambda text: text.replace('1.0', '-1.0', 1)"),
        ("measure", "lambda text: text.replace('1.0', '0', 1)"),
        ("measure", "lambda text: text.replace('1.0', '1' * 400, 1)"),
        ("measure", "lambda text: text.replace('1.0', '\"1.0\"', 1)"),
        ("measure", "lambda text: text.replace('1.0', 'true', 1)"),
        ("measure", "lambda text: text.replace('1.0, ', '', 1)"),
        ("measure", "lambda text: text.replace('[[[', '[[[1.0], [', 1)"),
        ("measure", "lambda text: text.replace('\"precise\"', '\"soon\"')"),
        ("measure", "lambda text: text.replace('null', '\"hot\"', 1)"),
        ("measure", "lambda text: '{\"done\": null}'"),
    ],
)
def test_malformed_answers(server: Server, command: str, change: str) -> None:
    script = ANSWERING.replace("WHICH", repr(command)).replace("CHANGE", f"({change})")
    server.far.python(script)
    assert "malformed reply" in failure(server.url)


def test_answers_of_the_right_form_are_taken(server: Server) -> None:  # or the test above would prove nothing
    server.far.python(ANSWERING.replace("WHICH", "None"))
    assert measured(server.url).latency_ms == 1.0


def test_connection_cut_once(server: Server) -> None:
    server.far.python(CUTTING.replace("CUTS", "1"))
    assert measured(server.url).latency_ms > 0
    assert server.log.count("Accepted publickey") == 2


def test_connection_cut_always(server: Server) -> None:
    server.far.python(CUTTING.replace("CUTS", "100"))
    with pytest.raises(ConnectionLost, match=r"^onnxruntime on ssh://.*$"):
        measured(server.url)
    assert server.log.count("Accepted publickey") == 3


def test_no_server() -> None:
    with pytest.raises(ConnectionLost, match="Connection refused"):
        measured("ssh://127.0.0.1:1")


def test_wrong_host_key(server: Server) -> None:
    known(server.folder, server.port, "stranger")
    message = failure(server.url)
    assert "its host key differs from the one in known_hosts" in message
    assert f"ssh -p {server.port} " in message
    assert server.log.count("Connection from") == 1  # another try would not help
    assert not server.far.commands()


def test_unknown_host_key(server: Server) -> None:
    server.known_hosts.write_text("")
    assert "its host key is not in known_hosts; connect once by hand: ssh -p" in failure(server.url)
    assert server.log.count("Connection from") == 1
    assert server.known_hosts.read_text() == ""
    assert not server.far.commands()


def test_permission_denied(server: Server) -> None:
    (server.folder / "authorized_keys").write_text("")
    message = failure(server.url)
    assert "Permission denied (publickey)" in message
    assert "must work without a password: ssh -p" in message
    assert server.log.count("Connection from") == 1


def test_no_onnxruntime(server: Server) -> None:
    server.far.python(f"{PROBE}\nhidden = ['onnxruntime']\n{HIDING}")
    assert "No module named 'onnxruntime'" in failure(server.url)
    found = check(device_named(server.url), QUICK)
    assert found.problems == ("onnxruntime not installed",)
    assert found.about is not None
    assert found.about.versions.numpy
    assert found.about.versions.onnxruntime is None
    assert found.runtime_version is None
    assert not found.fit


def test_the_command_that_installs_what_is_missing(server: Server) -> None:
    server.far.python(f"{PROBE}\nhidden = ['numpy', 'onnxruntime']\n{HIDING}")
    found = check(device_named(server.url), QUICK)
    assert found.problems == ("numpy and onnxruntime not installed",)
    assert found.install == (
        f"ssh -p {server.port} {server.url.removeprefix('ssh://').partition(':')[0]} "
        "'python3 -m venv .threshnet && .threshnet/bin/pip install numpy onnxruntime'"
    )
    server.far.command(  # a system's Python: makes a virtual environment whose pip installs ours
        "python3",
        '#!/bin/sh\n[ "$*" = "-m venv .threshnet" ] || exit 1\nmkdir -p .threshnet/bin\n'
        "printf '#!/bin/sh\\ncp ../bin/ours .threshnet/bin/python\\necho \"$@\" > installed\\n' > .threshnet/bin/pip\n"
        "chmod +x .threshnet/bin/pip\n",
    )
    server.far.python(name="ours")
    subprocess.run(["sh", "-c", found.install], check=True)
    assert (server.far.home / "installed").read_text() == "install numpy onnxruntime\n"
    assert found.afterwards == f"{server.url}?python=.threshnet/bin/python"
    assert measured(found.afterwards).latency_ms > 0


def test_install_into_the_chosen_python(server: Server) -> None:
    chosen = server.far.python(f"{PROBE}\nhidden = ['numpy']\n{HIDING}", name="it's mine")
    url = f"{server.url}?python={quote(str(chosen))}"
    found = check(device_named(url), QUICK)
    assert found.install
    assert found.afterwards == url
    server.far.command("it's mine", '#!/bin/sh\necho "$@" > installed\n')
    subprocess.run(["sh", "-c", found.install], check=True)
    assert (server.far.home / "installed").read_text() == "-m pip install numpy onnxruntime\n"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_illegal_instruction(server: Server, shell: str) -> None:
    for file in (server.far.shell, server.far.root / "bin/sh"):
        file.unlink(missing_ok=True)
        file.symlink_to(f"/bin/{shell}")  # bash becomes the last command that it runs
    server.far.python(
        f"{PROBE}\nimport onnxruntime, os, signal\n"
        "onnxruntime.InferenceSession.run = lambda *_: os.kill(os.getpid(), signal.SIGILL)\nrun()\n"
    )
    assert "died (SIGILL)" in failure(server.url)
    assert sum("OMP_NUM_THREADS" in command for command in server.far.commands()) == 1  # not tried again
    found = check(device_named(server.url), QUICK)
    assert found.about is not None
    assert "instructions that this processor lacks" in found.problems[0]
    assert (found.runtime_version, found.latency_ms, found.install) == (None, None, None)


def test_no_python(server: Server) -> None:
    assert "died (exit status 127)" in failure(f"{server.url}?python=python2.4")


def test_check_of_a_throttled_pi(server: Server) -> None:
    server.far.command("vcgencmd", '#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50005\n')
    found = check(device_named(server.url), QUICK)
    assert found.problems == ("under-voltage now", "throttled now")
    assert set(found.hints) >= {"under-voltage since boot", "throttled since boot"}
    assert found.latency_ms
    assert found.about
    assert found.about.bits == 64


def test_check_command(server: Server) -> None:
    done = CliRunner().invoke(device_commands, ["check", server.url, "--json"])
    document = json.loads(done.stdout)
    assert (done.exit_code, document["fit"], document["problems"]) == (0, True, [])
    assert document["about"]["versions"]["onnxruntime"] == document["runtime_version"]
    (server.folder / "authorized_keys").write_text("")
    stranger = f"{server.url}/~/elsewhere"
    server.cut()
    done = CliRunner().invoke(device_commands, ["check", stranger])
    assert done.exit_code == 1
    assert "not suitable for measuring" in done.stdout
    assert "Permission denied" in done.stdout


def test_remote_lease(server: Server, tmp_path: Path) -> None:
    lock = tmp_path / "lease"
    device = replace(ssh_device(server.url), remote_lease=str(lock))
    assert measured(device).latency_ms > 0
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waits: list[object] = []

        def give_up(report: object) -> None:
            waits.append(report)
            if len(waits) > 8:  # longer than the timeout
                raise TimeoutError

        with pytest.raises(TimeoutError), reporting(give_up):
            measured(device, replace(QUICK, timeout_s=6.0))
        assert set(waits) == {Wait(f"onnxruntime on {device.name}", None), None}
        time.sleep(10 * probe.LEASE_POLL_S)
    with lock.open() as free:
        fcntl.flock(free, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the probe that waited is gone, and never had it


def test_silence(server: Server) -> None:
    server.far.python("import sys, time\nprint('thinking', file=sys.stderr)\ntime.sleep(60)\n")
    assert "sent nothing for 6 s: thinking" in failure(server.url, replace(QUICK, timeout_s=6.0))


def test_damaged_files_are_sent_again(server: Server) -> None:
    measured(server.url)
    for file in server.far.cache.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert measured(server.url).latency_ms > 0
    assert len(server.far.models()) == 1


def test_files_that_never_arrive_whole(server: Server) -> None:
    server.far.command(
        "mv", '#!/bin/sh\nfor to; do :; done\ncase $to in *.onnx) echo x > "$to";; *) exec /bin/mv "$@";; esac\n'
    )
    assert "arrived incomplete" in failure(server.url)


def test_short_files_get_no_name(server: Server) -> None:
    server.far.command("cat", "#!/bin/sh\nhead -c 100\n")  # as when the connection breaks
    assert "cannot write files to ./.cache/threshnet" in failure(server.url)
    assert not list(server.far.cache.iterdir())


def test_folder_that_cannot_be_made(server: Server) -> None:
    server.far.cache.parent.write_text("")
    assert "cannot write files to ./.cache/threshnet (exit status 1): mkdir: " in failure(server.url)


def test_old_models_make_room(server: Server) -> None:
    server.far.cache.mkdir(parents=True)
    ours = [server.far.cache / f"{number:064x}.onnx" for number in range(MAX_MODELS + 5)]
    others = [server.far.cache / name for name in ("mine.onnx", f"{1:064x}.onnx.bak", "-rf")]
    for age, file in enumerate([*ours, *others]):
        file.touch()
        os.utime(file, (time.time() - 1000 - age,) * 2)
    measured(server.url)
    assert len(server.far.models()) == MAX_MODELS + 1  # with mine.onnx
    assert ours[0].exists()
    assert not ours[-1].exists()
    assert all(file.exists() for file in others)


def test_a_study_continues_after_a_failed_measurement(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.far.python(CUTTING.replace("CUTS", "3"))  # all the tries of the first trial
    task = replace(tiny_task(), device=device_named(server.url))
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=0))
    for folder in (weights := tmp_path / "weights", checkpoints := tmp_path / "checkpoints"):
        folder.mkdir()
    kept = StudyFolders(FileSystemArtifactStore(weights), checkpoints)
    score = scorer(task, tiny_data(), sampler_for("random", task, 0), kept, NoDisplay())
    study.optimize(score, n_trials=2, catch=FAILURES)
    first, second = study.trials
    assert first.state is TrialState.FAIL
    assert first.user_attrs[records.REASON].startswith("unreachable: onnxruntime on ssh://")
    assert records.unfinished(first)  # so that it is queued again, see search.run
    assert second.state is TrialState.COMPLETE
