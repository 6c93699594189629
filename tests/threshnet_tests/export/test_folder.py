"""Exported folders: the files reproduce the network's logits, are self-contained, and run without this project."""

import contextlib
import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from threshnet import NetworkSpec
from threshnet.checkpoint import load_weights
from threshnet.export import folder as export
from threshnet.export import reload
from threshnet.export.agreement import TOLERANCE
from threshnet.export.folder import CONFIG, INT8, ONNX, PT2, WEIGHTS, Exported, ExportError, export_folder
from threshnet.export.onnx_file import run_onnx
from threshnet.export.standalone import MODEL, PREDICT
from threshnet.named import dense_block, harmonic_block
from threshnet.network import ThreshNet, build

SIZE = 32
SPEC = NetworkSpec(
    (dense_block(3, 4, 8, pool=True), harmonic_block(4, 6, 10)), block_dropout=0.5, head_dropout=0.5, classes=7
)


def randomised(spec: NetworkSpec) -> ThreshNet:
    """A network in training mode whose norms have non-default running statistics."""
    torch.manual_seed(2)
    model = build(spec).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(8, 3, SIZE, SIZE))
    return model


@pytest.fixture(scope="module")
def model() -> ThreshNet:
    return randomised(SPEC)


@pytest.fixture(scope="module")
def reported() -> list[str]:
    """The files passed to the callback `on_file`."""
    return []


@dataclass
class RecordedLease:
    """A shared lease that records heavy calls: those of each time it was held, and those without it."""

    held: list[list[str]] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    inside: bool = False

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        assert not self.inside, "the lease is not reentrant"
        self.inside = True
        self.held.append([])
        yield
        self.inside = False

    def record(self, patch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        """Record each call of a function."""
        original: Callable[..., object] = getattr(owner, name)

        @functools.wraps(original)
        def recorded(*arguments: object, **options: object) -> object:
            (self.held[-1] if self.inside else self.outside).append(name)
            return original(*arguments, **options)

        patch.setattr(owner, name, recorded)


@pytest.fixture(scope="module")
def lease() -> RecordedLease:
    return RecordedLease()


@pytest.fixture(scope="module")
def exported(
    model: ThreshNet, reported: list[str], lease: RecordedLease, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """The folder of a small network with dropouts, exported once for all tests."""
    folder = tmp_path_factory.mktemp("export") / "deep" / "folder"
    images = torch.rand(32, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (ThreshNet, "forward"),
            (torch.export, "export"),
            (export, "export_onnx"),
            (torch.export, "save"),
            (onnxruntime.InferenceSession, "__init__"),
            (onnxruntime.InferenceSession, "run"),
            (subprocess, "run"),
        ):
            lease.record(patch, owner, name)
        return export_folder(model, SIZE, folder, {"classes": list("abcdefg")}, images, reported.append, lease.take)


def test_heavy_work_runs_under_the_lease(exported: Exported, lease: RecordedLease) -> None:
    assert exported.int8_agreement is not None
    assert lease.outside == []
    heavy = {name for calls in lease.held for name in calls}
    assert heavy == {"forward", "export", "export_onnx", "save", "__init__", "run"}
    assert max(calls.count("run") for calls in lease.held) == 1  # a batch, or a process


def test_nothing_is_exported_twice(exported: Exported, lease: RecordedLease) -> None:
    all_calls = [name for calls in lease.held for name in calls]
    assert [all_calls.count(name) for name in ("export", "save", "export_onnx")] == [1, 1, 1]


def test_all_files_are_written_and_agree(exported: Exported, reported: list[str]) -> None:
    assert reported == [CONFIG, WEIGHTS, MODEL, ONNX, PREDICT, PT2, INT8]
    assert {file.name for file in exported.folder.iterdir()} == set(reported)
    assert set(exported.differences) == {WEIGHTS, MODEL, ONNX, PT2}
    assert exported.differences[WEIGHTS] == 0
    assert 0 < exported.folding_difference < 1e-12
    assert exported.int8_agreement is not None
    assert exported.onnx_files == (ONNX, INT8)
    assert all(0 <= difference < 1e-5 for difference in exported.differences.values())


def test_config_describes_the_network(exported: Exported) -> None:
    config = json.loads((exported.folder / CONFIG).read_text())
    assert NetworkSpec.from_json(config["spec"]) == SPEC
    assert config["fingerprint"] == SPEC.fingerprint()
    assert (config["input_size"], config["classes"]) == (SIZE, list("abcdefg"))
    assert "float32 (n, 3, 32, 32)" in config["input"]
    assert "float32 (n, 7)" in config["output"]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_size_works(exported: Exported, model: ThreshNet, batch: int) -> None:
    images = torch.rand(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(batch))
    expected = logits_of(model, images)
    program = torch.export.load(exported.folder / PT2).module()
    for logits in (run_onnx(exported.folder / ONNX, images), logits_of(program, images)):
        assert logits.shape == (batch, 7)
        np.testing.assert_allclose(logits, expected, atol=TOLERANCE)
    assert run_onnx(exported.folder / INT8, images).shape == (batch, 7)
    np.testing.assert_array_equal(logits_of(load_weights(exported.folder / WEIGHTS), images), expected)


def logits_of(model: torch.nn.Module, images: Tensor) -> np.ndarray:
    with torch.inference_mode():
        logits: np.ndarray = model(images).numpy()
    return logits


@pytest.mark.parametrize("file", [ONNX, INT8])
def test_the_onnx_files_are_self_contained_and_without_local_paths(exported: Exported, file: str) -> None:
    graph = onnx.load(exported.folder / file, load_external_data=False).graph
    assert graph.initializer
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in graph.initializer)
    assert not any(tensor.external_data for tensor in graph.initializer)
    assert str(Path.cwd()).encode() not in (exported.folder / file).read_bytes()


def test_int8_weights_are_bytes_except_in_the_first_and_last_layer(exported: Exported) -> None:
    graph = onnx.load(exported.folder / INT8).graph
    dtypes = {tensor.name: tensor.data_type for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert [layer.op_type for layer in layers][-1] == "Gemm"
    for layer in layers:
        weight = layer.input[1]
        if layer in (layers[0], layers[-1]):
            assert dtypes[weight] == onnx.TensorProto.FLOAT
        else:
            dequantized = producers[weight]
            assert dequantized.op_type == "DequantizeLinear"
            assert dtypes[dequantized.input[0]] == onnx.TensorProto.INT8
            scales = next(tensor for tensor in graph.initializer if tensor.name == dequantized.input[1])
            assert len(scales.dims) == 1  # per channel
    assert (exported.folder / INT8).stat().st_size < (exported.folder / ONNX).stat().st_size


def test_int8_logits_correlate_with_fp32(exported: Exported, model: ThreshNet) -> None:
    images = torch.rand(64, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(6))
    fp32, int8 = logits_of(model, images), run_onnx(exported.folder / INT8, images)
    assert np.corrcoef(fp32.ravel(), int8.ravel())[0, 1] > 0.99
    assert np.abs(fp32 - int8).max() > TOLERANCE  # it is not the fp32 file


def test_without_calibration_images_no_int8_file_remains(
    model: ThreshNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        reload, "isolated_logits", lambda folder, file, images: logits_of(model.eval(), torch.from_numpy(images))
    )
    for name in ("write_pt2", "export_onnx"):
        monkeypatch.setattr(export, name, lambda *arguments, **options: None)
    (tmp_path / INT8).write_bytes(b"from an earlier export")
    exported = export_folder(model, SIZE, tmp_path, {"classes": []})
    assert exported.onnx_files == (ONNX,)
    assert not (tmp_path / INT8).exists()


def test_dropout_is_inactive(exported: Exported) -> None:
    operators = {node.op_type for node in onnx.load(exported.folder / ONNX).graph.node}
    assert "Dropout" not in operators
    images = torch.rand(4, 3, SIZE, SIZE)
    first, second = (run_onnx(exported.folder / ONNX, images) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def write_empty_onnx(
    _source: Path, _name: str, _images: np.ndarray, target: Path, _lease: Callable[[], AbstractContextManager[None]]
) -> None:
    onnx.save(onnx.ModelProto(), target)


@pytest.mark.parametrize("file", [WEIGHTS, MODEL, ONNX, PT2, INT8])
@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_a_file_that_differs_is_an_error(
    model: ThreshNet, file: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logits of one file differ from the network's; those of all others are equal."""

    def isolated_logits(_folder: Path, name: str, images: np.ndarray) -> np.ndarray:
        expected = logits_of(model.eval(), torch.from_numpy(images))
        return expected + np.float32(value if name.removeprefix("partial_") == file else 0)

    def write(path: Path) -> None:
        path.write_bytes(b"")

    other = build(SPEC).eval()
    monkeypatch.setattr(reload, "isolated_logits", isolated_logits)
    monkeypatch.setattr(export, "load_weights", lambda path: other if file == WEIGHTS else model.eval())
    monkeypatch.setattr(export, "write_pt2", lambda model, size, path: write(path))
    monkeypatch.setattr(export, "export_onnx", lambda model, size, path, batch: write(path))
    monkeypatch.setattr(
        export, "quantise", lambda source, name, images, path, lease: onnx.save(onnx.ModelProto(), path)
    )
    monkeypatch.setattr(export, "run_onnx", lambda path, images, lease: logits_of(model, images))
    with pytest.raises(ExportError, match=rf"{file}: its logits differ .*by up to (\d|nan)"):
        export_folder(model, SIZE, tmp_path, {}, torch.rand(2, 3, SIZE, SIZE))
    assert not (tmp_path / INT8).exists()


@pytest.mark.parametrize(("share", "agrees"), [(0.3, True), (3.0, False)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_tolerance_is_relative_to_the_logits(
    scale: float, share: float, agrees: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with errors below or above the tolerance, for networks with small and large logits."""
    model = randomised(SPEC).eval()
    with torch.no_grad():
        for name in ("head_linear.weight", "head_linear.bias"):
            model.get_parameter(name).mul_(scale)

    def isolated_logits(_folder: Path, name: str, images: np.ndarray) -> np.ndarray:
        return logits_of(model, torch.from_numpy(images)) * np.float32(1 + share * TOLERANCE)

    monkeypatch.setattr(reload, "isolated_logits", isolated_logits)
    for name in ("write_pt2", "export_onnx"):
        monkeypatch.setattr(export, name, lambda *arguments, **options: None)
    with contextlib.nullcontext() if agrees else pytest.raises(ExportError, match=r"differ .* rounding explains"):
        assert set(export_folder(model, SIZE, tmp_path, {}).differences) == {WEIGHTS, MODEL, ONNX, PT2}


def test_an_inaccurate_int8_file_is_rejected(model: ThreshNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def logits(file: str, images: Tensor) -> np.ndarray:
        return logits_of(model.eval(), images) * np.float32(-1 if file.endswith(INT8) else 1)

    monkeypatch.setattr(reload, "isolated_logits", lambda folder, file, images: logits(file, torch.from_numpy(images)))
    for name in ("write_pt2", "export_onnx"):
        monkeypatch.setattr(export, name, lambda *arguments, **options: None)
    monkeypatch.setattr(
        export, "quantise", lambda source, name, images, path, lease: onnx.save(onnx.ModelProto(), path)
    )
    monkeypatch.setattr(export, "run_onnx", lambda path, images, lease: logits(path.name, images))
    reported: list[str] = []
    exported = export_folder(model, SIZE, tmp_path, {}, torch.rand(2, 3, SIZE, SIZE), reported.append)
    assert exported.int8_refused == "its logits correlate with those in fp32 by -1.000, must be at least 0.9"
    assert exported.onnx_files == (ONNX,)
    assert INT8 not in reported
    assert not list(tmp_path.glob("*int8*"))


def test_a_file_that_does_not_run_in_isolation_is_an_error(exported: Exported, tmp_path: Path) -> None:
    for file in (MODEL, PREDICT, CONFIG):
        (tmp_path / file).write_bytes((exported.folder / file).read_bytes())
    (tmp_path / ONNX).write_bytes(b"damaged")
    images = np.zeros((1, 3, SIZE, SIZE), np.float32)
    with pytest.raises(reload.ReloadError, match=r"model\.py: does not run .*model\.safetensors"):
        reload.isolated_logits(tmp_path, MODEL, images)
    with pytest.raises(reload.ReloadError, match=r"model\.onnx: does not run .*not an ONNX file"):
        reload.isolated_logits(tmp_path, ONNX, images)


WITHOUT_THE_PROJECT = """
import sys
# Importing any part of the project raises ImportError.
sys.modules.update(dict.fromkeys(("threshnet", "space", "search", "studies")))
import numpy as np, onnxruntime, torch
folder, images = sys.argv[1], np.load(sys.argv[2])
session = onnxruntime.InferenceSession(folder + "/model.onnx", providers=["CPUExecutionProvider"])
from_onnx = session.run(["logits"], {"images": images})[0]
with torch.inference_mode():
    from_pt2 = torch.export.load(folder + "/model.pt2").module()(torch.from_numpy(images)).numpy()
np.savez(sys.argv[3], onnx=from_onnx, pt2=from_pt2)
"""


def test_the_folder_runs_without_this_project(exported: Exported, model: ThreshNet, tmp_path: Path) -> None:
    images = torch.rand(3, 3, SIZE, SIZE)
    np.save(tmp_path / "images.npy", images.numpy())
    empty = tmp_path / "empty"
    empty.mkdir()
    folder = exported.folder.rename(tmp_path / "moved")
    try:
        arguments = [str(path) for path in (folder, tmp_path / "images.npy", tmp_path / "logits.npz")]
        command = [sys.executable, "-I", "-c", WITHOUT_THE_PROJECT, *arguments]
        run = subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=120, check=False)
    finally:
        folder.rename(exported.folder)
    assert run.returncode == 0, run.stderr
    assert not list(empty.iterdir())
    with np.load(tmp_path / "logits.npz") as logits:
        for runtime in ("onnx", "pt2"):
            np.testing.assert_allclose(logits[runtime], logits_of(model.eval(), images), atol=TOLERANCE)
