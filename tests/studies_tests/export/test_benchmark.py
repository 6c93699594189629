"""The files of an exported folder are run, measured and scored, and a bad or untrusted file is not."""

import base64
import io
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from search_tests.tiny import QUICK, SIZE, steady_latency

from search.latency.devices.cpu import Cpu
from search.latency.devices.device import Device
from search.latency.probes.probe import from_jpeg
from search.latency.protocol import MeasurementError, Protocol
from search.latency.reading import Latency
from studies.cli.benchmark import benchmark, benchmark_table
from studies.export import benchmark as benchmark_module
from studies.export.benchmark import JPEG_SIZE, FileBenchmark, Times, benchmark_folder, sample_jpeg
from studies.export.trusted import is_trusted
from studies.study import LoadedStudy
from threshnet.errors import InputError
from threshnet.export.carried import predict
from threshnet.inspect_onnx import image_input

pytestmark = pytest.mark.xdist_group("exported")  # the worker that has made the folder

FILES = ["model.onnx", "model_int8.onnx", "model.safetensors", "model.pt2"]


class StubMeasurements:
    """A stand-in for measure_all: a millisecond in memory and two from a JPEG; it remembers the files."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, list[str]]] = []
        self.fail: Any = lambda jpeg: None

    def __call__(
        self,
        device: Device,
        files: Sequence[Path],
        input_size: int,
        runtime: str,
        protocol: Protocol,
        *,
        jpeg: bytes = b"",
        from_jpeg: Sequence[int] = (),
    ) -> tuple[Latency, ...]:
        self.seen.append((device.name, runtime, [file.name for file in files]))
        self.fail(jpeg)
        times = [2.0 if number in from_jpeg else 1.0 for number in range(len(files))]
        return tuple(steady_latency(ms, runtime=runtime, input_size=input_size) for ms in times)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> StubMeasurements:
    stub = StubMeasurements()
    monkeypatch.setattr(benchmark_module, "measure_all", stub)
    return stub


@pytest.fixture
def folder(exported: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of the exported folder, to be changed."""
    return Path(shutil.copytree(exported[0], tmp_path / "model"))


def by_file(found: Sequence[FileBenchmark]) -> dict[str, FileBenchmark]:
    return {one.file: one for one in found}


def test_every_file_is_run_and_agrees_with_what_the_export_recorded(
    study: LoadedStudy, exported: tuple[Path, list[str]]
) -> None:
    folder, _ = exported
    found = by_file(benchmark_folder(folder, Cpu(), study.spec.dataset, QUICK))
    assert list(found) == FILES
    config = json.loads((folder / "config.json").read_text())
    for file, one in found.items():
        assert one.size_bytes == (folder / file).stat().st_size
        assert (one.runtime == "onnxruntime") == file.endswith(".onnx")
        latency, from_jpeg = one.times.latency, one.times.from_jpeg
        assert latency is not None
        assert from_jpeg is not None
        assert (latency.runtime, latency.device, latency.input_size) == (one.runtime, "cpu", SIZE)
        assert 0 < latency.low_ms <= latency.latency_ms <= latency.high_ms
        assert from_jpeg.latency_ms > latency.latency_ms  # decoding 640x480 pixels takes longer than this network
        assert one.times.problems == ()
        assert one.score is not None
        recorded = config["test_errors"].get(file, config["test_errors"]["model.safetensors"])
        assert one.score.to_json() == recorded
    assert [one.difference is None for one in found.values()] == [False, True, True, False]
    assert found["model_int8.onnx"].same_class_percent is not None
    assert max(one.difference or 0 for one in found.values()) < 1e-4


def test_the_command_prints_one_table(
    study: LoadedStudy, exported: tuple[Path, list[str]], stub: StubMeasurements
) -> None:
    folder, _ = exported
    tree = str(study.spec.dataset.path)
    result = CliRunner().invoke(benchmark, [str(folder), "--data", tree])
    assert (result.exit_code, result.exception, result.stderr) == (0, None, "")
    lines = result.stdout.splitlines()
    rows = {line.split()[0]: line for line in lines if line.split()[0:1] and line.split()[0] in FILES}
    assert list(rows) == FILES
    for file, row in rows.items():
        runtime = "onnxruntime" if file.endswith(".onnx") else "torch"
        assert f"{runtime} {'int8' if 'int8' in file else 'fp32'} " in row
        assert " 1.000 (1.000-1.000)  2.00 (2.00-2.00) " in row
    assert "onnxruntime 1 on cpu, abacus" in result.stdout
    assert "decode an image of 640x480 pixels" in result.stdout
    assert "test error %" in result.stdout
    as_json = json.loads(CliRunner().invoke(benchmark, [str(folder), "--json"]).stdout)
    assert [one["file"] for one in as_json] == FILES
    assert [one["latency"]["latency_ms"] for one in as_json] == [1.0] * 4
    assert [one["from_jpeg"]["latency_ms"] for one in as_json] == [2.0] * 4
    assert [one["test_error"] for one in as_json] == [None] * 4
    assert as_json[0]["size_bytes"] == (folder / "model.onnx").stat().st_size


def test_unreliable_times_are_marked_and_explained_once() -> None:
    fine = steady_latency(1.0, warnings=("dynamic shape: model.onnx has a dynamic batch size",))
    shaky = steady_latency(2.0, warnings=("wide spread: 12 %", "busy device: 1.2 times"))
    other = steady_latency(3.0, warnings=("wide spread: 20 %",))
    files = [
        FileBenchmark("model.onnx", "onnxruntime", "fp32", 2**20, Times(fine, shaky)),
        FileBenchmark("model.pt2", "torch", "fp32", 2**20, Times(other, problems=("no time from a JPEG: why",))),
    ]
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(benchmark_table(Path("model"), files))
    text = console.export_text()
    assert " 1.000 (1.000-1.000)  2.00 (2.00-2.00) !  " in text
    assert "3.000 (3.000-3.000) !                   - " in text
    assert "! unreliable (wide spread; busy device); --json prints" in text
    assert "model.pt2: no time from a JPEG: why" in text
    assert "test error" not in text


def test_the_balanced_error_is_reported_if_the_study_minimized_it(
    study: LoadedStudy, folder: Path, stub: StubMeasurements
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"metric": "balanced_error"}))
    found = benchmark_folder(folder, Cpu(), study.spec.dataset, QUICK)
    for one in found:
        assert one.score is not None
        assert one.score.balanced_percent == pytest.approx(one.score.percent)  # classes of equal size
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(benchmark_table(folder, found))
    header = next(line for line in console.export_text().splitlines() if "from JPEG ms" in line)
    assert re.search(r"agreement +test error % +balanced error %", header)


def test_nothing_of_a_bad_folder_is_run(folder: Path, stub: StubMeasurements) -> None:
    (folder / "torch.py").write_text("raise SystemExit")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"damaged")
    result = CliRunner().invoke(benchmark, [str(folder)])
    assert isinstance(result.exception, InputError)
    message = str(result.exception)
    assert message == f"{folder}: nothing was run, as threshnet check finds bad files: model.onnx, torch.py"
    assert stub.seen == []


def test_an_untrusted_pt2_is_listed_and_not_opened(
    folder: Path, stub: StubMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.export.check.is_trusted", lambda content: False)
    monkeypatch.setattr("torch.export.load", lambda *_: pytest.fail("the file was opened"))
    found = by_file(benchmark_folder(folder, Cpu(), None, QUICK))
    assert found["model.pt2"].times.latency is None
    assert "not made on this machine" in found["model.pt2"].times.problems[0]
    assert stub.seen[-1] == ("cpu", "torch", ["model.safetensors"] * 2)
    assert not is_trusted(b"other")


def test_a_pt2_that_changes_after_the_check_is_not_run(
    folder: Path, stub: StubMeasurements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark_module, "is_trusted", lambda content: False)
    with pytest.raises(InputError, match=r"model\.pt2: changed while it was checked"):
        benchmark_folder(folder, Cpu(), None, QUICK)
    assert stub.seen == []


def test_a_device_without_pillow_still_gives_latencies(folder: Path, stub: StubMeasurements) -> None:
    def fail(jpeg: bytes) -> None:
        if jpeg:
            raise MeasurementError("No module named 'PIL'")

    stub.fail = fail
    for one in benchmark_folder(folder, Cpu(), None, QUICK):
        assert one.times.latency is not None
        assert one.times.from_jpeg is None
        assert one.times.problems == ("no time from a JPEG: No module named 'PIL'",)


def test_a_failed_measurement_is_a_problem_of_its_files(folder: Path, stub: StubMeasurements) -> None:
    def fail(jpeg: bytes) -> None:
        if stub.seen[-1][1] == "torch":
            raise MeasurementError("the probe died")

    stub.fail = fail
    found = by_file(benchmark_folder(folder, Cpu(), None, QUICK))
    assert [one.times.problems for one in found.values()] == [(), (), *[("not measured: the probe died",)] * 2]


def test_the_command_fails_if_the_device_cannot_be_reached(folder: Path, stub: StubMeasurements) -> None:
    def fail(jpeg: bytes) -> None:
        if stub.seen[-1][1] == "onnxruntime":
            raise MeasurementError("connection refused")

    stub.fail = fail
    result = CliRunner().invoke(benchmark, [str(folder)])
    assert result.exit_code == 1
    assert "not measured: connection refused" in result.stdout
    assert f"{folder}: no file was measured on cpu; see the reasons above" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone"], "gone: no such folder"),
        (["MODEL", "--device", "tpu"], "device 'tpu': must be cpu"),
        (["MODEL", "--data", "gone"], "gone"),
        (["MODEL", "--data", "digits"], "a network of 2 classes, which are not the 10 classes of digits"),
    ],
)
def test_bad_input_is_one_line(
    exported: tuple[Path, list[str]], stub: StubMeasurements, arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(benchmark, [str(exported[0]) if word == "MODEL" else word for word in arguments])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert stub.seen == []


def test_the_image_is_prepared_as_by_the_exported_program(tmp_path: Path) -> None:
    """The probe cannot import predict.py, so it repeats its preparation."""
    jpeg = sample_jpeg()
    seen: list[NDArray[np.float32]] = []
    (tmp_path / "image.jpg").write_bytes(jpeg)
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.size == JPEG_SIZE
    settings = {"jpeg": base64.b64encode(jpeg).decode(), "input_size": SIZE}
    from_jpeg(settings, seen.append)()
    expected = predict.pixels(str(tmp_path / "image.jpg"), SIZE)[None].astype(np.float32) / 255
    np.testing.assert_array_equal(seen[0], expected)
    assert sample_jpeg() == jpeg


def test_the_exported_file_takes_images_of_any_batch(exported: tuple[Path, list[str]]) -> None:
    found = image_input(exported[0] / "model.onnx")
    assert (found.name, found.batch, found.size) == ("images", None, SIZE)
    assert onnxruntime.InferenceSession(exported[0] / "model.onnx").get_inputs()[0].name == found.name
