"""Measuring the networks of a study on another backend without training, with stubs for both."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from search_tests.tiny import LARGEST, QUICK, SMALLEST, StubMeasurement, failing
from sqlalchemy.exc import OperationalError
from studies_tests.small import name_networks, small_spec

from search.latency.devices.cpu import Cpu
from search.latency.protocol import ConnectionLost, MeasurementError, Protocol
from search.objective import NoDisplay
from search.records import REMEASURED, Record
from space import Limits
from studies import cli
from studies.fronts.front import front_of
from studies.fronts.moves import moves
from studies.remeasure import networks_of, remeasure
from studies.study import LoadedStudy, launch_study, load_study
from threshnet import InputError
from threshnet.spec import NetworkSpec

TORCH = "cpu torch"


@dataclass
class Recorder(NoDisplay):
    """A display that records its calls, and may raise KeyboardInterrupt at a stage."""

    stages: list[int] = field(default_factory=list)
    ended: list[Record] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    stop_at: int | None = None

    def stage(self, number: int, text: str) -> None:
        assert text == f"measuring on {TORCH}"
        if len(self.stages) == self.stop_at:
            raise KeyboardInterrupt
        self.stages.append(number)

    def counted(self, trials: int) -> None:
        self.counts.append(trials)

    def finished(self, record: Record) -> None:
        self.ended.append(record)


@pytest.fixture
def storage(log: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A storage with the study `small`: two named networks and two discovered ones."""
    name_networks(monkeypatch, {"threshnet28": SMALLEST, "hardnet68": LARGEST}, first=True)
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    launch_study(small_spec(trials=4), url, runs=tmp_path / "runs")
    log.clear()
    return url


@pytest.fixture
def measuring(log: list[str], monkeypatch: pytest.MonkeyPatch) -> StubMeasurement:
    """The stub for measuring; torch takes twice as long."""
    measuring = StubMeasurement(log)
    monkeypatch.setattr("studies.remeasure.measure_all", measuring.interleaved)
    return measuring


def on_torch(loaded: LoadedStudy, display: NoDisplay | None = None, *, again: bool = False) -> tuple[int, int, bool]:
    done = remeasure(loaded, Cpu(), "torch", QUICK, display or NoDisplay(), again=again)
    assert done.failed == {}
    return done.taken, done.before, done.interrupted


def fails_for(unlucky: NetworkSpec, error: BaseException) -> Callable[[NetworkSpec], None]:
    """Make a function that raises `error` for one network, whatever its number of classes."""

    def fail(spec: NetworkSpec) -> None:
        if spec.blocks == unlucky.blocks:
            raise error

    return fail


def test_every_trained_network_is_measured_and_none_is_trained(
    storage: str, measuring: StubMeasurement, log: list[str]
) -> None:
    before = load_study("small", storage)
    recorder = Recorder()
    assert on_torch(before, recorder) == (4, 0, False)
    assert log == [f"measure {record.fingerprint} torch" for record in before.records]
    assert (recorder.stages, recorder.counts) == ([0, 1, 2, 3], [0, 1, 2, 3, 4])
    after = load_study("small", storage)
    for old, new in zip(before.records, after.records, strict=True):
        assert list(new.latency) == ["cpu onnxruntime", TORCH]
        assert new.latency[TORCH].latency_ms == pytest.approx(2 * old.latency_ms)  # type: ignore[operator]
        assert new == replace(old, latency=new.latency)
    assert [record.latency_ms for record in recorder.ended] == [r.latency[TORCH].latency_ms for r in after.records]
    assert front_of(after, TORCH).backend == TORCH


def test_networks_already_measured_on_the_backend_are_skipped_unless_again_is_set(
    storage: str, measuring: StubMeasurement, log: list[str]
) -> None:
    assert on_torch(load_study("small", storage)) == (4, 0, False)
    recorder = Recorder()
    assert on_torch(load_study("small", storage), recorder) == (0, 4, False)
    assert (len(log), recorder.counts, recorder.stages) == (4, [4], [])
    assert on_torch(load_study("small", storage), again=True) == (4, 0, False)
    assert len(log) == 8


def test_ctrl_c_keeps_finished_readings_and_a_rerun_measures_the_rest(
    storage: str, measuring: StubMeasurement, log: list[str]
) -> None:
    assert on_torch(load_study("small", storage), Recorder(stop_at=2)) == (2, 0, True)
    assert [TORCH in record.latency for record in load_study("small", storage).records] == [True, True, False, False]
    assert on_torch(load_study("small", storage)) == (2, 2, False)
    assert len(set(log)) == len(log) == 4


def test_ctrl_c_during_a_measurement_loses_only_that_one(storage: str, measuring: StubMeasurement) -> None:
    measuring.fail = fails_for(LARGEST, KeyboardInterrupt())
    assert on_torch(load_study("small", storage)) == (1, 0, True)


def test_a_failed_network_is_reported_and_the_others_are_measured(storage: str, measuring: StubMeasurement) -> None:
    measuring.fail = fails_for(LARGEST, MeasurementError("the probe died"))
    recorder = Recorder()
    done = remeasure(load_study("small", storage), Cpu(), "torch", QUICK, recorder)
    assert (done.taken, done.before, done.failed, done.interrupted) == (3, 0, {1: "the probe died"}, False)
    assert [(record.number, record.reason) for record in recorder.ended if not record.trained] == [
        (1, "the probe died")
    ]
    measuring.fail = lambda spec: None
    assert on_torch(load_study("small", storage)) == (1, 3, False)


def test_a_lost_connection_ends_the_measurements(storage: str, measuring: StubMeasurement, log: list[str]) -> None:
    measuring.fail = fails_for(LARGEST, ConnectionLost("no route"))
    with pytest.raises(ConnectionLost, match="no route"):
        on_torch(load_study("small", storage))
    assert len(log) == 2
    assert TORCH in load_study("small", storage).records[0].latency


def test_a_network_of_two_trials_is_measured_once_and_stored_for_both(
    storage: str, measuring: StubMeasurement, log: list[str]
) -> None:
    loaded = load_study("small", storage)
    twin = replace(loaded.records[0], number=7)
    untrained = replace(loaded.records[0], number=8, state="duplicate")
    made = replace(loaded, records=[*loaded.records, twin, untrained])
    assert [[record.number for record in trials] for _, trials in networks_of(made)] == [[0, 7], [1], [2], [3]]
    assert on_torch(made) == (4, 0, False)
    stored = {int(key.split()[1]) for key in loaded.study.user_attrs if key.startswith(REMEASURED)}
    assert stored == {0, 1, 2, 3, 7}


def test_the_latency_limit_of_the_study_does_not_apply_to_another_backend(
    log: list[str], measuring: StubMeasurement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_networks(monkeypatch, {"threshnet28": SMALLEST, "hardnet68": LARGEST}, first=True)
    url = f"journal:{tmp_path / 'limited.log'}"
    launch_study(small_spec(trials=2, limits=Limits(latency_ms=1e-6)), url, runs=tmp_path / "runs")
    assert on_torch(load_study("small", url)) == (2, 0, False)
    loaded = load_study("small", url)
    assert [record.state for record in front_of(loaded).trained] == ["infeasible"] * 2
    assert [record.state for record in front_of(loaded, TORCH).trained] == ["finished"] * 2


@pytest.mark.parametrize(
    ("runtime", "protocol", "rejected"),
    [
        ("onnxruntime", QUICK, True),
        ("onnxruntime", replace(QUICK, tolerance=0.01), True),  # the same backend, only more precise
        ("onnxruntime", replace(QUICK, threads=2), False),
        ("onnxruntime", replace(QUICK, batch=4), False),
        ("torch", QUICK, False),
    ],
)
def test_a_backend_of_the_study_itself_is_rejected(
    runtime: str, protocol: Protocol, rejected: bool, storage: str, measuring: StubMeasurement, log: list[str]
) -> None:
    if not rejected:
        assert remeasure(load_study("small", storage), Cpu(), runtime, protocol, NoDisplay()).taken == 4
        return
    with pytest.raises(InputError, match=r"^study 'small' itself measured on 'cpu onnxruntime'; name another --device"):
        remeasure(load_study("small", storage), Cpu(), runtime, protocol, NoDisplay())
    assert log == []


def test_a_second_runtime_of_the_study_is_rejected_too(
    log: list[str], measuring: StubMeasurement, tmp_path: Path
) -> None:
    url = f"journal:{tmp_path / 'two.log'}"
    launch_study(small_spec(trials=1, runtimes=("onnxruntime", "torch")), url, runs=tmp_path / "runs")
    with pytest.raises(InputError, match="itself measured on 'cpu torch'"):
        on_torch(load_study("small", url))


def test_a_study_without_trained_networks_is_rejected(storage: str, measuring: StubMeasurement) -> None:
    with pytest.raises(InputError, match="has no trained network yet"):
        on_torch(replace(load_study("small", storage), records=[]))


def test_a_storage_that_cannot_be_written_is_reported_in_one_line(
    storage: str, measuring: StubMeasurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_study("small", storage)
    broken = failing(OperationalError("update", {}, Exception("attempt to write a readonly database")))
    monkeypatch.setattr(loaded.study, "set_user_attr", lambda key, value: broken(value))
    with pytest.raises(InputError, match=r"^study 'small' cannot be written: attempt to write a readonly database$"):
        on_torch(loaded)


# The command

Run = Callable[..., tuple[int | str | None, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], storage: str) -> Run:
    """Run `threshnet COMMAND small` on that storage: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *options: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["threshnet", command, "small", "--storage", storage, *options])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    return run


def test_the_command_prints_each_network_the_front_and_the_changes(run: Run, measuring: StubMeasurement) -> None:
    status, out, err = run("remeasure", "--runtime", "torch")
    assert (status, err) == (0, "")
    opening, *lines = out.splitlines()
    assert opening == "0 of 4 networks so far; Ctrl-C stops"
    assert [line.split()[:2] for line in lines[:4]] == [["trial", str(number)] for number in range(4)]
    assert "Pareto front of small on cpu torch" in out
    moved = "On cpu torch: the same networks are on the front; Kendall's tau of 4 latencies 1.00."
    assert lines[-2] == moved
    assert run("remeasure", "--runtime", "torch")[1].startswith("4 of 4 networks so far")


def test_the_command_prints_json_for_scripts(run: Run, measuring: StubMeasurement, storage: str) -> None:
    measuring.fail = fails_for(SMALLEST, MeasurementError("the probe died"))
    status, out, err = run("remeasure", "--runtime", "torch", "--json")
    assert status == 1
    assert re.search(r"^trial +0 +failed: the probe died  threshnet28$", err, re.MULTILINE)
    assert err.endswith("error: 1 of 4 networks could not be measured on cpu torch; see above\n")
    output = json.loads(out)
    assert (output["study"], output["backend"]) == ("small", TORCH)
    assert (output["measured"], output["before"], output["failed"]) == (3, 0, {"0": "the probe died"})
    loaded = load_study("small", storage)
    change = moves(front_of(loaded), front_of(loaded, TORCH))
    assert output["joined"] == [one.here.number for one in change.joined]
    assert (output["unmeasured"], output["tau"]) == ([0], change.tau)


def test_if_no_network_could_be_measured_no_front_is_printed(run: Run, measuring: StubMeasurement) -> None:
    measuring.fail = failing(MeasurementError("the probe died"))
    status, out, err = run("remeasure", "--runtime", "torch")
    assert (status, err) == (1, "error: 4 of 4 networks could not be measured on cpu torch; see above\n")
    assert out.count("failed: the probe died") == 4
    assert "Pareto" not in out


def test_an_interrupted_command_reports_the_finished_measurements(run: Run, measuring: StubMeasurement) -> None:
    measuring.fail = fails_for(LARGEST, KeyboardInterrupt())
    status, out, err = run("remeasure", "--runtime", "torch")
    assert (status, err) == (130, "stopped: 1 of 4 networks measured; rerun the command to resume\n")
    assert "Pareto" not in out


def test_a_lost_connection_is_reported_in_one_line(run: Run, measuring: StubMeasurement) -> None:
    measuring.fail = failing(ConnectionLost("no route"))
    status, _, err = run("remeasure", "--runtime", "torch")
    assert (status, err) == (1, "error: cpu torch: no route; finished readings are kept; rerun the command to resume\n")


def test_a_backend_of_the_study_itself_is_rejected_before_anything_is_printed(
    run: Run, measuring: StubMeasurement
) -> None:
    status, out, err = run("remeasure")
    assert (status, out) == (2, "")
    assert err.startswith("error: study 'small' itself measured on 'cpu onnxruntime'; name another --device or --runti")
    assert err.count("\n") == 1


def test_pareto_shows_both_fronts_and_the_changes(run: Run, measuring: StubMeasurement) -> None:
    alone = run("pareto")[1]
    assert "cpu torch" not in alone
    run("remeasure", "--runtime", "torch")
    status, out, err = run("pareto")
    assert (status, err) == (0, "")
    assert all(line.strip() in out for line in alone.splitlines())
    for part in ("front of small on cpu onnxruntime", "front of small on cpu torch", "On cpu torch: the same"):
        assert part in out
    output = json.loads(run("pareto", "--json")[1])
    assert list(output["backends"]) == [TORCH]
    assert output["backends"][TORCH]["tau"] == pytest.approx(1)


def test_pareto_shows_only_the_chosen_backend(run: Run, measuring: StubMeasurement, storage: str) -> None:
    run("remeasure", "--runtime", "torch")
    status, out, err = run("pareto", "--backend", TORCH, "--html", "torch.html")
    assert (status, err) == (0, "wrote torch.html\n")
    assert "Pareto front of small on cpu torch" in out
    assert "onnxruntime" not in out
    output = json.loads(run("pareto", "--backend", TORCH, "--json")[1])
    assert (output["backend"], output["backends"]) == (TORCH, {})
    assert [entry["trial"] for entry in output["front"]] == [
        record.number for record in front_of(load_study("small", storage), TORCH).front
    ]
    assert run("pareto", "--backend", "tpu")[2].startswith(
        "error: backend 'tpu': study 'small' was measured on 'cpu onnx"
    )
    assert "cannot be combined with --backend" in run("pareto", "--backend", TORCH, "--results", "out")[2]


def test_flagged_readings_are_taken_again_on_the_backend_of_the_study(
    storage: str, measuring: StubMeasurement, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_study("small", storage)
    number = loaded.records[2].number
    place = "cpu onnxruntime"
    marked = replace(loaded.records[2].latency[place], warnings=("busy device",), disturbed=True)
    changed = [replace(one, latency={place: marked}) if one.number == number else one for one in loaded.records]
    loaded = replace(loaded, records=changed)
    with pytest.raises(InputError, match="with --flagged"):
        remeasure(loaded, Cpu(), "onnxruntime", loaded.spec.protocol, NoDisplay())
    measuring.milliseconds = lambda spec: 7.0
    done = remeasure(loaded, Cpu(), "onnxruntime", loaded.spec.protocol, NoDisplay(), flagged=True)
    assert (done.taken, len(log)) == (1, 1)
    after = load_study("small", storage).records
    assert [record.latency_ms == 7.0 for record in after if record.trained].count(True) == 1
    assert (after[2].latency_ms, after[2].latency[place].warnings) == (7.0, ())
