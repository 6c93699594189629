"""The benchmarks' programs: tables, files, exit statuses and going on after an interruption; nothing is measured."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from search_tests.tiny import steady_latency

from benchmarks import cuda_networks, runtimes
from benchmarks.cells import Cell, measured, ratio, remarks
from benchmarks.report import conditions, digits, interval, options, publish, table
from search.latency.devices.cuda import cuda_device
from search.latency.devices.device import Device
from search.latency.protocol import DEFAULT_PROTOCOL, MeasurementError, Protocol
from search.latency.reading import Latency, State
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec

ROOT = Path(__file__).parents[2]
FAST = {"torch": 4.0, "onnxruntime": 1.0}  # ms, within the goal
FACTS = {"gpu": "RTX 9", "torch": "2.15", "driver": "600", "highest_sm_clock_mhz": "2100", "power_limit_w": "130.00"}


class Measuring:
    """A stand-in for measure_on: so many ms by runtime; remembers what it measured, and fails where told to."""

    def __init__(self, **ms: float) -> None:
        self.ms = {runtime.replace("_", "-"): value for runtime, value in ms.items()}
        self.asked: list[tuple[str, int]] = []
        self.fail: dict[str, Exception] = {}

    def __call__(
        self, device: Device | str, spec: NetworkSpec, input_size: int, runtime: str, protocol: Protocol
    ) -> Latency:
        self.asked.append((runtime, protocol.batch))
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
def measuring(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Measuring]:
    def put(**ms: float) -> Measuring:
        stand_in = Measuring(**ms)
        monkeypatch.setattr("benchmarks.cells.measure_on", stand_in)
        return stand_in

    return put


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make torch see one GPU, of which FACTS are known."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda_networks, "gpu_facts", lambda device: FACTS)


def test_numbers_are_told_in_the_digits_that_are_known() -> None:
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


def test_files_are_written_beside_each_other_in_a_new_folder(tmp_path: Path) -> None:
    publish("| a |", {"cells": [1.5]}, tmp_path / "new" / "t.md")
    assert (tmp_path / "new" / "t.md").read_text() == "| a |\n"
    assert json.loads((tmp_path / "new" / "t.json").read_text()) == {"cells": [1.5]}


def test_every_benchmark_takes_the_same_options() -> None:
    given = options("x", "About.", "it is quick").parse_args(["--quick", "--check", "--output", "a/b.md"])
    assert (given.quick, given.check, given.output) == (True, True, Path("a/b.md"))


def test_a_ratio_sets_the_intervals_against_each_other() -> None:
    above = Cell("threshnet28", "torch", 1, {"latency_ms": 6.0, "low_ms": 5.0, "high_ms": 8.0})
    below = Cell("threshnet28", "onnxruntime", 1, {"latency_ms": 2.0, "low_ms": 1.0, "high_ms": 2.5})
    assert ratio(above, below) == (3.0, 2.0, 8.0)
    assert ratio(above, Cell("threshnet28", "onnxruntime", 1, None, "broken")) is None


def test_a_failure_is_a_cell_with_its_reason(
    measuring: Callable[..., Measuring], capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in = measuring()
    stand_in.fail = {"torch-compiled": MeasurementError("no compiler"), "torch": InputError("no such thing")}
    compiled = measured("cpu", "threshnet28", "torch-compiled", DEFAULT_PROTOCOL)
    assert (compiled.summary, compiled.reason, compiled.told()) == (None, "no compiler", "failed")
    assert measured("cpu", "threshnet28", "torch", DEFAULT_PROTOCOL).reason == "no such thing"
    assert remarks([compiled]) == ["- ThreshNet28, torch-compiled, batch 1: no compiler"]
    assert capsys.readouterr().err.splitlines()[0] == "ThreshNet28, torch-compiled, batch 1: failed"


@pytest.mark.parametrize(("eager", "status"), [(3.5, 0), (2.9, 1)])
def test_the_runtimes_are_checked_against_their_goal(
    measuring: Callable[..., Measuring], capsys: pytest.CaptureFixture[str], eager: float, status: int
) -> None:
    measuring(torch=eager)
    assert runtimes.main(["--quick", "--check"]) == status
    assert runtimes.main(["--quick"]) == 0
    assert f"{eager:.2f} ({eager:.2f} to {eager:.2f})" in capsys.readouterr().out


def test_one_slow_network_or_a_failed_one_misses_the_goal(measuring: Callable[..., Measuring]) -> None:
    def cell(network: str, runtime: str, ms: float) -> Cell:
        return Cell(network, runtime, 1, {"latency_ms": ms, "low_ms": 0.99 * ms, "high_ms": 1.01 * ms})

    cells = [cell(network, runtime, ms) for network in runtimes.NETWORKS for runtime, ms in FAST.items()]
    assert runtimes.reached(cells)
    assert not runtimes.reached([*cells, cell("threshnet79", "torch", 3.02)])  # 3.02 x 0.99 / 1.01 < 3
    assert not runtimes.reached([*cells, Cell("threshnet95", "onnxruntime", 1, None, "broken")])


def test_the_runtimes_table_goes_on_past_failures_and_is_written(
    measuring: Callable[..., Measuring],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("benchmarks.cells.find_spec", lambda name: None)
    stand_in = measuring(torch=4.0)
    stand_in.fail = {
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
    assert len(document["cells"]) == len(stand_in.asked) == 24
    assert document["cells"][0]["summary"]["latency_ms"] == 4.0
    assert document["eager_over_onnxruntime"]["threshnet79"] == [4.0, 4.0, 4.0]
    assert "rounds_ms" not in document["cells"][0]["summary"]


def test_quick_leaves_out_what_takes_long(
    measuring: Callable[..., Measuring], capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in = measuring()
    assert runtimes.main(["--quick"]) == 0
    assert len(stand_in.asked) == 21
    assert ("torch-compiled", 32) not in stand_in.asked
    compiled = " | ".join(["1.00 (1.00 to 1.00)", "left out"] * 3)
    assert f"| PyTorch, torch.compile | {compiled} |" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--check", "--threads", "2"], ["--threads", "0"]])
def test_wrong_threads_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        runtimes.main(arguments)
    assert raised.value.code == 2


def test_no_gpu_is_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert cuda_networks.main(["--quick"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("cuda_networks: device 'cuda': torch")
    assert said.err.count("\n") == 1
    assert cuda_networks.main(["--device", "cuda:x"]) == 2


@pytest.mark.usefixtures("gpu")
def test_the_cuda_table_tells_times_per_image_beside_the_published_ones(
    measuring: Callable[..., Measuring], tmp_path: Path
) -> None:
    measuring(torch=0.5, torch_graph=0.25)
    assert cuda_networks.main(["--quick", "--check", "--output", str(tmp_path / "new" / "t.md")]) == 0
    page = (tmp_path / "new" / "t.md").read_text()
    header = "| ms per image | batch 1, eager | batch 1, graph | batch 100, eager | batch 100, graph |"
    assert page.startswith(f"{header} published, RTX 3050 |")
    ours = " | ".join(["0.500 (0.500 to 0.500)", "0.250 (0.250 to 0.250)"] * 2)
    assert f"| HarDNet85 | {ours} | 0.500 |" in page
    assert "RTX 9, driver 600, SM clock 1700 to 1800 MHz under load (highest 2100)" in page
    assert "TF32 off, L2 not flushed" in page
    assert len(json.loads((tmp_path / "new" / "t.json").read_text())["cells"]) == 20


@pytest.mark.usefixtures("gpu")
def test_a_graph_that_is_no_faster_misses_the_goal(measuring: Callable[..., Measuring], tmp_path: Path) -> None:
    measuring(torch=0.5, torch_graph=0.5)
    assert cuda_networks.main(["--quick", "--check", "--output", str(tmp_path / "t.md")]) == 1


@pytest.mark.usefixtures("gpu")
def test_an_interrupted_cuda_table_goes_on_with_the_missing_cells(
    measuring: Callable[..., Measuring], tmp_path: Path
) -> None:
    given, lines = ["--quick", "--output", str(tmp_path / "t.md")], tmp_path / "t.jsonl"
    first = measuring()
    first.fail = {"torch-graph": MeasurementError("no memory")}
    cuda_networks.main(given)
    assert len(first.asked) == 20
    assert len(lines.read_text().splitlines()) == 10  # a failed cell is tried again
    lines.write_text(lines.read_text()[:-20])  # cut short by a crash
    second = measuring()
    cuda_networks.main(given)
    assert sorted(second.asked) == sorted([("torch-graph", 1), ("torch-graph", 100)] * 5 + [("torch", 100)])
    assert len(lines.read_text().splitlines()) == 20
    third = measuring()
    cuda_networks.main(given)
    assert third.asked == []


@pytest.mark.usefixtures("gpu")
def test_cells_of_other_conditions_are_not_taken(
    measuring: Callable[..., Measuring], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--quick", "--output", str(tmp_path / "t.md")]
    measuring()
    cuda_networks.main(given)
    halved = measuring()
    cuda_networks.main([*given, "--precision", "fp16"])
    assert len(halved.asked) == 20
    other = measuring()
    monkeypatch.setattr(cuda_networks, "gpu_facts", lambda device: FACTS | {"driver": "601"})
    cuda_networks.main(given)
    assert len(other.asked) == 20


def test_what_nvidia_smi_cannot_tell_of_a_gpu_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    properties = SimpleNamespace(name="RTX 9", uuid="abc")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    facts = cuda_networks.gpu_facts(cuda_device("cuda"))
    assert (facts["gpu"], facts["driver"], facts["torch"]) == ("RTX 9", "unknown", torch.__version__)


@pytest.mark.parametrize("name", ["runtimes", "cuda_networks"])
def test_help_says_what_a_benchmark_is_for(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"usage: python -m benchmarks.{name}" in done.stdout
    assert all(option in done.stdout for option in ("--quick", "--check", "--output"))


@pytest.mark.parametrize(
    "name",
    [
        file.stem
        for file in sorted((ROOT / "benchmarks").glob("*.py"))
        if 'if __name__ == "__main__"' in file.read_text()
    ],
)
def test_every_benchmark_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "option_strings" not in out
    assert "%%" not in out
