"""The benchmark programs: tables, files, exit statuses and resuming after an interruption, without measurements."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from search_tests.tiny import steady_latency

from benchmarks import cuda_networks, demo_search, runtimes
from benchmarks.cells import Cell, measure_cell, notes, ratio
from benchmarks.report import conditions, digits, interval, options, publish, recorded, table
from benchmarks.threshbench import __main__ as threshbench
from search.latency.devices.cpu import Cpu
from search.latency.devices.cuda import cuda_device
from search.latency.devices.device import Device
from search.latency.protocol import DEFAULT_PROTOCOL, MeasurementError, Protocol
from search.latency.reading import Latency, State
from studies.json_lines import append
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
RENDERED = (
    "runtimes",
    "latency_repeatability",
    "measurement_interference",
    "training_throughput",
    "balanced_error",
    "demo_search",
    "earlier_work",
)
FAST = {"torch": 4.0, "onnxruntime": 1.0}  # latencies that reach the goal, ms
FACTS = {"gpu": "RTX 9", "torch": "2.15", "driver": "600", "highest_sm_clock_mhz": "2100", "power_limit_w": "130.00"}


class FakeMeasurement:
    """A fake measure_on with a latency for each runtime; records its calls, and raises the errors in `fail`."""

    def __init__(self, **ms: float) -> None:
        self.ms = {runtime.replace("_", "-"): value for runtime, value in ms.items()}
        self.calls: list[tuple[str, int]] = []
        self.fail: dict[str, Exception] = {}

    def __call__(self, device: Device, spec: NetworkSpec, input_size: int, runtime: str, protocol: Protocol) -> Latency:
        self.calls.append((runtime, protocol.batch))
        if runtime in self.fail:
            raise self.fail[runtime]
        milliseconds = self.ms.get(runtime, 1.0) * protocol.batch
        return steady_latency(
            milliseconds,
            runtime=runtime,
            threads=protocol.threads,
            batch=protocol.batch,
            input_size=input_size,
            before=State(clock_mhz=1700.0),
            after=State(clock_mhz=1800.0),
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeMeasurement]:
    """Install a FakeMeasurement with given latencies."""

    def install(**ms: float) -> FakeMeasurement:
        measurement = FakeMeasurement(**ms)
        monkeypatch.setattr("benchmarks.cells.measure_on", measurement)
        return measurement

    return install


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make torch report one GPU, with FACTS."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda_networks, "gpu_facts", lambda device: FACTS)


def test_numbers_have_three_significant_digits() -> None:
    assert [digits(value) for value in (0.01234, 0.5, 1.704, 12.34, 123.4, 1234.0, -0.25, 0.0)] == [
        "0.0123",
        "0.500",
        "1.70",
        "12.3",
        "123",
        "1234",
        "-0.250",
        "0",
    ]
    assert interval(1.704, 0.998, 12.0) == "1.70 (0.998 to 12.0)"


def test_a_table_is_markdown() -> None:
    assert table(["a", "b"], [["x", "1"], ["y", "2"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |"


def test_conditions_name_what_is_installed() -> None:
    line = conditions("abacus", packages=("torch", "no-such-package"))
    assert line.startswith("abacus, torch 2.")
    assert "no-such-package" not in line
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in line


def test_the_page_and_its_json_are_written_to_a_new_folder(tmp_path: Path) -> None:
    publish(lambda document: f"| {document['cells']} |", {"cells": [1.5]}, tmp_path / "new" / "t.md")
    assert (tmp_path / "new" / "t.md").read_text() == "| [1.5] |\n"
    assert recorded(tmp_path / "new" / "t.json") == {"cells": [1.5]}


@pytest.mark.parametrize("name", RENDERED)
def test_recorded_pages_are_current(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """If this fails: `python -m benchmarks.NAME --render benchmarks/results/NAME.json --output .../NAME.md`."""
    program = importlib.import_module(f"benchmarks.{name}")
    assert program.main(["--render", str(RESULTS / f"{name}.json")]) == 0
    assert capsys.readouterr().out == (RESULTS / f"{name}.md").read_text(encoding="utf-8")


def test_every_benchmark_takes_the_same_options() -> None:
    given = options("x", "About.", "it is fast").parse_args(["--quick", "--check", "--output", "a/b.md"])
    assert (given.quick, given.check, given.output, given.render) == (True, True, Path("a/b.md"), None)


@pytest.mark.parametrize(("name", "status"), [("cifar10", 0), ("svhn", 0)])
def test_a_complete_table_is_summarised_and_not_recorded_again(
    name: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = RESULTS / f"threshbench_{name}.jsonl"
    before = file.read_bytes()
    assert threshbench.main([name, "--quick", "--check"]) == status
    assert f"| {name} | 225 | 249 |" in capsys.readouterr().out
    assert file.read_bytes() == before


def test_an_incomplete_table_fails_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "table.jsonl"
    file.write_text("\n".join((RESULTS / "threshbench_svhn.jsonl").read_text().splitlines()[:-30]) + "\n")
    monkeypatch.setattr(threshbench, "record_trainings", lambda *_: None)
    monkeypatch.setattr(threshbench, "record_latencies", lambda *_: None)
    assert threshbench.main(["svhn", "--output", str(file)]) == 0
    assert threshbench.main(["svhn", "--output", str(file), "--check"]) == 1
    assert "networks are not recorded yet" in capsys.readouterr().err


def test_the_interval_of_a_ratio_combines_both_intervals() -> None:
    above = Cell("threshnet28", "torch", 1, {"latency_ms": 6.0, "low_ms": 5.0, "high_ms": 8.0})
    below = Cell("threshnet28", "onnxruntime", 1, {"latency_ms": 2.0, "low_ms": 1.0, "high_ms": 2.5})
    assert ratio(above, below) == (3.0, 2.0, 8.0)
    assert ratio(above, Cell("threshnet28", "onnxruntime", 1, None, "broken")) is None


def test_a_failure_is_a_cell_with_its_reason(
    fake: Callable[..., FakeMeasurement], capsys: pytest.CaptureFixture[str]
) -> None:
    measurement = fake()
    measurement.fail = {"torch-compiled": MeasurementError("no compiler"), "torch": InputError("no such thing")}
    compiled = measure_cell(Cpu(), "threshnet28", "torch-compiled", DEFAULT_PROTOCOL)
    assert (compiled.summary, compiled.reason, compiled.text()) == (None, "no compiler", "failed")
    assert measure_cell(Cpu(), "threshnet28", "torch", DEFAULT_PROTOCOL).reason == "no such thing"
    assert notes([compiled]) == ["- ThreshNet28, torch-compiled, batch 1: no compiler"]
    assert capsys.readouterr().err.splitlines()[0] == "ThreshNet28, torch-compiled, batch 1: failed"


@pytest.mark.parametrize(("eager", "status"), [(3.5, 0), (2.9, 1)])
def test_the_runtimes_are_checked_against_their_goal(
    fake: Callable[..., FakeMeasurement], capsys: pytest.CaptureFixture[str], eager: float, status: int
) -> None:
    fake(torch=eager)
    assert runtimes.main(["--quick", "--check"]) == status
    assert runtimes.main(["--quick"]) == 0
    assert f"{eager:.2f} ({eager:.2f} to {eager:.2f})" in capsys.readouterr().out


def test_one_slow_or_failed_network_misses_the_goal() -> None:
    def cell(network: str, runtime: str, ms: float) -> Cell:
        return Cell(network, runtime, 1, {"latency_ms": ms, "low_ms": 0.99 * ms, "high_ms": 1.01 * ms})

    cells = [cell(network, runtime, ms) for network in runtimes.NETWORKS for runtime, ms in FAST.items()]
    assert runtimes.reached(cells)
    assert not runtimes.reached([*cells, cell("threshnet79", "torch", 3.02)])  # 3.02 x 0.99 / 1.01 < 3
    assert not runtimes.reached([*cells, Cell("threshnet95", "onnxruntime", 1, None, "broken")])


def test_the_runtimes_table_is_written_despite_failures(
    fake: Callable[..., FakeMeasurement],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("benchmarks.cells.find_spec", lambda name: None)
    measurement = fake(torch=4.0)
    measurement.fail = {
        "openvino": InputError("runtime 'openvino' is not installed"),
        "torch-compiled": MeasurementError("no C++ compiler"),
    }
    assert runtimes.main(["--check", "--threads", "1", "--output", str(tmp_path / "out" / "t.md")]) == 0
    page = (tmp_path / "out" / "t.md").read_text()
    assert capsys.readouterr().out == page
    lines = page.splitlines()
    eager = " | ".join(["4.00 (4.00 to 4.00)", "128 (128 to 128)"] * 3)
    assert f"| PyTorch, eager | {eager} |" in lines
    assert f"| OpenVINO | {' | '.join(['not installed'] * 6)} |" in lines
    assert f"| PyTorch, torch.compile | {' | '.join(['failed'] * 6)} |" in lines
    assert "- ThreshNet95, torch-compiled, batch 32: no C++ compiler" in lines
    assert any("1 thread(s) used" in line for line in lines)
    document = json.loads((tmp_path / "out" / "t.json").read_text())
    assert len(document["cells"]) == len(measurement.calls) == 24
    assert document["cells"][0]["summary"]["latency_ms"] == 4.0
    assert document["eager_over_onnxruntime"]["threshnet79"] == [4.0, 4.0, 4.0]
    assert "rounds_ms" not in document["cells"][0]["summary"]


def test_quick_skips_slow_cells(fake: Callable[..., FakeMeasurement], capsys: pytest.CaptureFixture[str]) -> None:
    measurement = fake()
    assert runtimes.main(["--quick"]) == 0
    assert len(measurement.calls) == 21
    assert ("torch-compiled", 32) not in measurement.calls
    compiled = " | ".join(["1.00 (1.00 to 1.00)", "skipped"] * 3)
    assert f"| PyTorch, torch.compile | {compiled} |" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--check", "--threads", "2"], ["--threads", "0"]])
def test_wrong_threads_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        runtimes.main(arguments)
    assert raised.value.code == 2


def test_no_gpu_gives_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert cuda_networks.main(["--quick"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("cuda_networks: device 'cuda': torch")
    assert printed.err.count("\n") == 1
    assert cuda_networks.main(["--device", "cuda:x"]) == 2


@pytest.mark.usefixtures("gpu")
def test_the_cuda_table_has_times_per_image_and_the_published_times(
    fake: Callable[..., FakeMeasurement], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(torch=0.5, torch_graph=0.25)
    assert cuda_networks.main(["--quick", "--check", "--output", str(tmp_path / "new" / "t.md")]) == 0
    page = (tmp_path / "new" / "t.md").read_text()
    header = "| ms per image | batch 1, eager | batch 1, graph | batch 100, eager | batch 100, graph |"
    assert page.startswith(f"{header} published, RTX 3050 |")
    ours = " | ".join(["0.500 (0.500 to 0.500)", "0.250 (0.250 to 0.250)"] * 2)
    assert f"| HarDNet85 | {ours} | 0.500 |" in page
    assert "RTX 9, driver 600, SM clock 1700 to 1800 MHz under load (highest 2100)" in page
    assert "TF32 off, L2 not flushed" in page
    assert len(recorded(tmp_path / "new" / "t.json")["cells"]) == 20
    capsys.readouterr()
    assert cuda_networks.main(["--render", str(tmp_path / "new" / "t.json")]) == 0
    assert capsys.readouterr().out == page


@pytest.mark.usefixtures("gpu")
def test_a_graph_that_is_no_faster_misses_the_goal(fake: Callable[..., FakeMeasurement], tmp_path: Path) -> None:
    fake(torch=0.5, torch_graph=0.5)
    assert cuda_networks.main(["--quick", "--check", "--output", str(tmp_path / "t.md")]) == 1


@pytest.mark.usefixtures("gpu")
def test_an_interrupted_cuda_table_is_completed_by_a_rerun(
    fake: Callable[..., FakeMeasurement], tmp_path: Path
) -> None:
    arguments, lines = ["--quick", "--output", str(tmp_path / "t.md")], tmp_path / "t.jsonl"
    first = fake()
    first.fail = {"torch-graph": MeasurementError("no memory")}
    cuda_networks.main(arguments)
    assert len(first.calls) == 20
    assert len(lines.read_text().splitlines()) == 10  # a failed cell is tried again
    lines.write_text(lines.read_text()[:-20])  # truncated by a crash
    second = fake()
    cuda_networks.main(arguments)
    assert sorted(second.calls) == sorted([("torch-graph", 1), ("torch-graph", 100)] * 5 + [("torch", 100)])
    assert len(lines.read_text().splitlines()) == 20
    third = fake()
    cuda_networks.main(arguments)
    assert third.calls == []


@pytest.mark.usefixtures("gpu")
def test_cells_with_other_conditions_are_measured_again(
    fake: Callable[..., FakeMeasurement], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--quick", "--output", str(tmp_path / "t.md")]
    fake()
    cuda_networks.main(arguments)
    half_precision = fake()
    cuda_networks.main([*arguments, "--precision", "fp16"])
    assert len(half_precision.calls) == 20
    other_driver = fake()
    monkeypatch.setattr(cuda_networks, "gpu_facts", lambda device: FACTS | {"driver": "601"})
    cuda_networks.main(arguments)
    assert len(other_driver.calls) == 20


def searched(seeds: int, gain: float) -> list[demo_search.Search]:
    """Make up searches of both samplers, in which ours is better by `gain` plus or minus one point."""
    return [
        demo_search.Search(name, seed, 2.0, ((0.5, 0.0), (2.0, 30.0 + seed + own)), 9, 8, 5, 1.0, "log")
        for seed in range(seeds)
        for name, own in (("freeze_thaw", gain + (-1) ** seed), ("random", 0.0))
    ]


def test_the_searches_of_the_demo_are_compared_in_pairs() -> None:
    searches = searched(10, gain=4.0)
    mean, half = demo_search.difference(searches[:-1])  # the last seed has one sampler only
    assert mean == pytest.approx(4 + 1 / 9)
    assert half == pytest.approx(2.306 * np.std([1, -1] * 4 + [1], ddof=1) / 3, rel=1e-3)
    text = demo_search.render({"conditions": "made up", "searches": [asdict(one) for one in searches]})
    spread = 2.262 * np.std([35, 34, 37, 36, 39, 38, 41, 40, 43, 42], ddof=1) / 10**0.5
    assert f"| freeze-thaw | 38.5 ± {spread:.1f} | 9 | 8 | 5 |" in text
    assert f"paired by seed: 4.0 ± {2.262 * 1.054 / 10**0.5:.1f} percentage points" in text
    assert len(demo_search.figure(searches).data) == 4


def test_searches_of_the_demo_in_another_box_are_left_out() -> None:
    searches = searched(2, gain=4.0)
    earlier = [asdict(one) | {"axis": "linear"} for one in searches]
    without_axis = [{key: value for key, value in line.items() if key != "axis"} for line in earlier]
    found = demo_search.searches_in([*earlier, *without_axis, *map(asdict, searches)])
    assert {(one.sampler, one.seed, one.axis) for one in found} == {(one.sampler, one.seed, "log") for one in searches}


@pytest.mark.parametrize(("gain", "status"), [(4.0, 0), (0.1, 1)])
def test_the_check_of_the_demo_compares_the_difference_with_its_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gain: float, status: int
) -> None:
    file = tmp_path / "runs.jsonl"
    for one in searched(4, gain):
        append(file, asdict(one))
    assert demo_search.main(["--check", "--seeds", "4", "--file", str(file)]) == status
    assert "Sampler" in capsys.readouterr().out


def test_the_samplers_of_the_demo_have_the_same_rungs_and_budget() -> None:
    ours, other = (demo_search.spec_of(name, 3) for name in ("freeze_thaw", "random"))
    assert ours.rungs == other.rungs == (1, 2, 4)
    assert replace(ours, name="same", sampler="random") == replace(other, name="same")


def test_gpu_facts_are_unknown_without_nvidia_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    properties = SimpleNamespace(name="RTX 9", uuid="abc")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    facts = cuda_networks.gpu_facts(cuda_device("cuda"))
    assert (facts["gpu"], facts["driver"], facts["torch"]) == ("RTX 9", "unknown", torch.__version__)


def test_a_benchmark_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.runtimes", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "usage: python -m benchmarks.runtimes" in done.stdout


PROGRAMS = [
    *(file.stem for file in sorted((ROOT / "benchmarks").glob("*.py")) if "\ndef main(" in file.read_text()),
    *(file.parent.name for file in sorted((ROOT / "benchmarks").glob("*/__main__.py"))),
]


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_of_every_benchmark(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = (ROOT / "benchmarks" / name).is_dir()
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}.__main__" if folder else f"benchmarks.{name}").main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "option_strings" not in out
    assert "%%" not in out
    if name == "table_replay":  # replays any file, and records no page
        assert "FILE" in out
    elif not name.endswith("_pictures"):  # these take screenshots and measure nothing
        assert f"usage: python -m benchmarks.{name} " in out
        assert all(option in out for option in ("--quick", "--check", "--output"))
