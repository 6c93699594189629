"""Latency: statistics on closed forms, the timed loop under a fake clock, and real child processes."""

import dataclasses
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from search.latency import cpu, exchange
from search.latency.cpu import RUNTIMES, measure, measure_onnx_file
from search.latency.devices import measure_on
from search.latency.processor import processor_name
from search.latency.timing import (
    WARMUP_RUNS,
    Latency,
    MeasurementError,
    Protocol,
    median_interval,
    summarise,
    take,
    warm_up,
)
from threshnet.errors import InputError
from threshnet.named import NAMED

QUICK = Protocol(warmup_s=0.0, min_runs=3, max_runs=5, max_s=0.1)
ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """A clock in nanoseconds that only the runs move: run number i takes the i-th of millis, the last one for ever."""

    def __init__(self, *millis: float) -> None:
        self.now, self.runs, self.millis = 0, 0, millis

    def __call__(self) -> int:
        return self.now

    def run(self) -> None:
        self.now += round(self.millis[min(self.runs, len(self.millis) - 1)] * 1e6)
        self.runs += 1


def reading(samples_ms: list[float]) -> Latency:
    return summarise(
        samples_ms, Protocol(), device="cpu", processor="abacus", runtime="torch", runtime_version="2", input_size=32
    )


def conv_file(path: Path, batch: int | str = 1, size: int = 8) -> Path:
    """Write an ONNX file of one 3x3 convolution, (batch, 3, size, size) to (batch, 4, size, size)."""
    kernel = np.ones((4, 3, 3, 3), np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1])],
        "conv",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, 3, size, size])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [batch, 4, size, size])],
        [onnx.numpy_helper.from_array(kernel, "kernel")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Make an importable probe of a program's text and return its module name."""

    def write(program: str) -> str:
        (tmp_path / "stand_in_probe.py").write_text(program)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return "stand_in_probe"

    return write


def test_median_and_iqr_in_closed_form() -> None:
    latency = reading([float(n) for n in (5, 1, 4, 2, 3)])
    assert (latency.median_ms, latency.iqr_ms, latency.relative_iqr) == (3.0, 2.0, 2 / 3)
    assert latency.samples_ms == (5.0, 1.0, 4.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("n", "ranks"),
    # the tabulated ranks of the 95 % interval (binomial, n = 6: 1 and 6; 10: 2 and 9; 20: 6 and 15; 100: 40 and 61)
    [(1, (1, 1)), (5, (1, 5)), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)), (20, (6, 15)), (100, (40, 61))],
)
def test_interval_ranks_are_the_tabulated_ones(n: int, ranks: tuple[float, float]) -> None:
    shuffled = np.random.default_rng(n).permutation(np.arange(1.0, n + 1)).tolist()
    assert median_interval(shuffled) == ranks
    assert (reading(shuffled).low_ms, reading(shuffled).high_ms) == ranks


@pytest.mark.parametrize("n", [16, 75])
def test_interval_covers_the_median_of_a_skewed_distribution(n: int) -> None:
    draws = np.random.default_rng(0).lognormal(0.0, 1.0, (2000, n))  # median 1
    intervals = [median_interval(row) for row in draws.tolist()]
    covered = np.mean([low <= 1.0 <= high for low, high in intervals])
    assert 0.94 <= covered <= 0.985  # at least 95 % by construction; ranks are whole, so a little more


def test_wide_spread_is_a_warning_and_a_narrow_one_is_none() -> None:
    assert reading([1.0, 1.0, 1.02, 1.04, 1.05]).warnings == ()
    (warning,) = reading([1.0, 1.0, 1.1, 1.2, 1.3]).warnings
    assert warning.startswith("wide spread")


@pytest.mark.parametrize("samples", [[], [1.0, 0.0], [1.0, -1.0], [float("nan")], [float("inf")]])
def test_what_is_no_time_is_no_reading(samples: list[float]) -> None:
    with pytest.raises(InputError, match="samples_ms"):
        reading(samples)


def test_json_round_trip_is_exact() -> None:
    latency = dataclasses.replace(reading([1.1, 0.3, 7.123456]), warnings=("a", "b"), threads=2)
    assert Latency.from_json(json.loads(json.dumps(latency.to_json()))) == latency
    assert Protocol.from_json(json.loads(json.dumps(QUICK.to_json()))) == QUICK


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"surprise": 1}, "unknown keys 'surprise'"),
        ({"threads": "1"}, "threads = '1'"),
        ({"threads": True}, "threads = True"),
        ({"batch": 1.0}, "batch = 1.0"),
        ({"median_ms": "1"}, "median_ms = '1'"),
        ({"median_ms": 9.0}, "median_ms = 9.0"),
        ({"iqr_ms": 9.0}, "iqr_ms = 9.0"),
        ({"samples_ms": [1.0, None]}, re.escape("samples_ms[1] = None")),
        ({"samples_ms": "12"}, "samples_ms = '12'"),
        ({"device": None}, "device = None"),
    ],
)
def test_json_is_read_strictly(change: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        Latency.from_json(reading([1.0, 2.0]).to_json() | change, "trial 3")


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(Latency)])
def test_a_missing_key_is_named(key: str) -> None:
    document = reading([1.0, 2.0]).to_json()
    del document[key]
    with pytest.raises(InputError, match=f"trial 3: missing keys '{key}'"):
        Latency.from_json(document, "trial 3")


@pytest.mark.parametrize(
    "change",
    [{"threads": 0}, {"batch": 0}, {"min_runs": 0}, {"max_runs": 15}, {"warmup_s": -1.0}, {"max_s": float("nan")}],
)
def test_a_protocol_out_of_range_names_the_field(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        Protocol.from_json(Protocol().to_json() | change)


@pytest.mark.parametrize(
    ("run_ms", "runs"),
    [(0.5, 500), (10.0, 100), (1000.0, 16)],
    ids=["quick: ends at max_runs", "ends when max_s has passed", "slow: ends at min_runs"],
)
def test_the_timed_loop_ends_by_its_three_rules(run_ms: float, runs: int) -> None:
    clock = Clock(run_ms)
    samples = take(clock.run, Protocol(min_runs=16, max_runs=500, max_s=1.0), clock)
    assert samples == [run_ms] * runs
    assert clock.runs == runs


def test_samples_keep_their_order() -> None:
    clock = Clock(3.0, 1.0, 2.0)
    assert take(clock.run, Protocol(min_runs=3, max_runs=3), clock) == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_off_in_the_loop_and_as_before_after_it(enabled: bool) -> None:
    before, seen = gc.isenabled(), []
    try:
        (gc.enable if enabled else gc.disable)()
        take(lambda: seen.append(gc.isenabled()), QUICK)
        after = gc.isenabled()
        with pytest.raises(ZeroDivisionError):
            take(lambda: 1 / 0, QUICK)
        after_error = gc.isenabled()
    finally:
        (gc.enable if before else gc.disable)()
    assert set(seen) == {False}
    assert (after, after_error) == (enabled, enabled)


def test_a_steady_warm_up_lasts_its_time_and_its_least_runs() -> None:
    clock = Clock(10.0)
    assert warm_up(clock.run, Protocol(warmup_s=0.3), clock)
    assert clock.runs == 30
    slow = Clock(1000.0)
    assert warm_up(slow.run, Protocol(warmup_s=0.3), slow)
    assert slow.runs == WARMUP_RUNS


def test_a_warm_up_goes_on_until_the_runs_are_steady() -> None:
    clock = Clock(*[20.0] * 13, 10.0)  # at 0.3 s, run 17, the change lies between the middle and the last third
    assert warm_up(clock.run, Protocol(warmup_s=0.3), clock)
    assert 24 <= clock.runs <= 30  # until it lies before the middle of the middle third


def test_a_warm_up_that_never_settles_is_given_up_and_says_so() -> None:
    clock = Clock(*[10 * 1.05**n for n in range(500)])
    assert not warm_up(clock.run, Protocol(warmup_s=0.3), clock)
    assert 1.2e9 <= clock.now <= 1.4e9


def test_an_onnx_file_is_measured_in_another_process(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    latency = measure_onnx_file(conv_file(tmp_path / "conv.onnx"), 8, QUICK)
    assert QUICK.min_runs <= len(latency.samples_ms) <= QUICK.max_runs
    assert (latency.device, latency.runtime, latency.threads, latency.batch) == ("cpu", "onnxruntime", 1, 1)
    assert (latency.input_size, latency.precision) == (8, "fp32")
    assert re.match(r"\d+\.\d+", latency.runtime_version)
    assert latency.processor
    assert not any("dynamic" in warning for warning in latency.warnings)
    assert torch.get_num_threads() == threads
    answer = exchange.ask(cpu.PROBES["onnxruntime"], str(tmp_path / "conv.onnx"), 8, QUICK)
    assert answer.pid != os.getpid()


def test_a_dynamic_batch_is_measured_with_a_warning(tmp_path: Path) -> None:
    latency = measure_onnx_file(conv_file(tmp_path / "conv.onnx", "n"), 8, dataclasses.replace(QUICK, batch=3))
    assert latency.batch == 3
    assert any(warning.startswith("dynamic shape") for warning in latency.warnings)


def test_a_wrong_size_batch_or_file_is_one_line_with_the_reason(tmp_path: Path) -> None:
    path = conv_file(tmp_path / "conv.onnx")
    with pytest.raises(
        MeasurementError, match=re.escape("[1, 3, 8, 8], not the [1, 3, 16, 16] asked for")
    ) as wrong_size:
        measure_onnx_file(path, 16, QUICK)
    with pytest.raises(MeasurementError, match=re.escape("not the [2, 3, 8, 8]")):
        measure_onnx_file(path, 8, dataclasses.replace(QUICK, batch=2))
    (tmp_path / "broken.onnx").write_bytes(b"not a protobuf")
    with pytest.raises(MeasurementError, match=r"broken\.onnx") as broken:
        measure_onnx_file(tmp_path / "broken.onnx", 8, QUICK)
    assert all("\n" not in str(raised.value) for raised in (wrong_size, broken))
    with pytest.raises(InputError, match=r"absent\.onnx"):
        measure_onnx_file(tmp_path / "absent.onnx", 8, QUICK)
    with pytest.raises(InputError, match="input size 0"):
        measure_onnx_file(path, 0, QUICK)


def test_the_onnxruntime_probe_and_the_records_load_no_torch() -> None:
    program = (
        "import sys, search, search.latency, search.latency.timing, search.latency.onnxruntime_probe\n"
        "print(sorted({'torch', 'optuna', 'pandas', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_untrained_networks_do_not_pay_for_denormals_and_threads_are_fixed() -> None:
    program = (
        "from search.latency.onnxruntime_probe import session_options\n"
        "options = session_options(3)\n"
        "print(options.get_session_config_entry('session.set_denormal_as_zero'),"
        " options.intra_op_num_threads, options.inter_op_num_threads)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "3", "1"]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; print('x', file=sys.stderr); sys.exit('out of luck')", r"exit status 1\): out of luck"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", r"SIGILL\): it said nothing"),
        ("raise KeyError('weights')", "KeyError: 'weights'"),
        ("print('hello')", "nonsense, 'hello'"),
        ("print('[1, 2]')", "nonsense"),
        ("pass", "nonsense"),
        (
            "import json; print(json.dumps(dict(samples_ms=[0.0], runtime_version='1', warnings=[], pid=1)))",
            "no positive times",
        ),
        (
            "from search.latency.exchange import Ready, serve\nserve(lambda *request: Ready(lambda: [][1], '1'))",
            "IndexError: list index out of range",
        ),
    ],
    ids=["exits", "killed", "raises", "chatters", "wrong shape", "silent", "zero time", "run fails"],
)
def test_a_failed_probe_gives_its_reason_in_one_line(child: Callable[[str], str], program: str, reason: str) -> None:
    with pytest.raises(MeasurementError, match=f"stand_in_probe.*{reason}") as raised:
        exchange.ask(child(program), "model", 8, QUICK)
    assert "\n" not in str(raised.value)


def test_a_probe_that_hangs_is_given_up(child: Callable[[str], str]) -> None:
    hang = "import sys, time; print('loading', file=sys.stderr, flush=True); time.sleep(600)"
    with pytest.raises(MeasurementError, match=r"took more than 2 s: "):
        exchange.ask(child(hang), "model", 8, dataclasses.replace(QUICK, timeout_s=2.0))


def test_a_probe_gets_the_request_the_threads_and_may_chatter(child: Callable[[str], str]) -> None:
    program = (
        "import os\n"
        "from search.latency.exchange import Ready, serve\n"
        "def prepare(model, size, protocol):\n"
        "    print('a library says hello')\n"
        "    seen = (str(model), str(size), str(protocol.batch), os.environ['OMP_NUM_THREADS'])\n"
        "    return Ready(lambda: None, '1', seen)\n"
        "serve(prepare)\n"
    )
    answer = exchange.ask(child(program), {"a": 1}, 8, dataclasses.replace(QUICK, threads=3, batch=2))
    assert answer.warnings[:4] == ("{'a': 1}", "8", "2", "3")
    assert len(answer.samples_ms) == QUICK.max_runs


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_named_network_is_measured_and_the_global_random_state_is_left_alone(runtime: str) -> None:
    state = torch.random.get_rng_state()
    latency = measure_on("cpu", NAMED["threshnet28"], 32, runtime, QUICK)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (latency.runtime, latency.input_size) == (runtime, 32)
    assert latency.low_ms <= latency.median_ms <= latency.high_ms
    assert Latency.from_json(json.loads(json.dumps(latency.to_json()))) == latency


def test_more_threads_than_processors_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.latency.cpu.usable_processors", lambda: 1)
    latency = measure_onnx_file(conv_file(tmp_path / "conv.onnx"), 8, dataclasses.replace(QUICK, threads=2))
    assert "2 threads on 1 processors" in latency.warnings


def test_unknown_names_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(InputError, match="runtime 'tflite', must be one of onnxruntime, torch"):
        measure(NAMED["threshnet28"], 32, "tflite", QUICK)
    with pytest.raises(InputError, match="device 'tpu', must be one of cpu"):
        measure_on("tpu", NAMED["threshnet28"], 32, "onnxruntime", QUICK)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no /proc/cpuinfo")
def test_the_processor_is_named_by_cpuinfo(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Abacus 9\nprocessor\t: 1\nmodel name\t: Abacus 9\n")
    assert processor_name(info) == "Abacus 9"
    info.write_text("processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n")
    assert processor_name(info) == "Raspberry Pi 4 Model B Rev 1.4"
    info.write_text("processor\t: 0\n")
    assert processor_name(info)
