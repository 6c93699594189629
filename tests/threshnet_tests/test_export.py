"""Exported folders: they agree with the network, hold all they need, and run where this project is not."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from threshnet import NetworkSpec, export
from threshnet.checkpoint import load_weights
from threshnet.export import CONFIG, ONNX, PT2, TOLERANCE, WEIGHTS, Exported, ExportError, export_folder, run_onnx
from threshnet.named import dense_block, harmonic_block
from threshnet.network import ThreshNet, build

SIZE = 32
SPEC = NetworkSpec(
    (dense_block(3, 4, 8, pool=True), harmonic_block(4, 6, 10)), block_dropout=0.5, head_dropout=0.5, classes=7
)


def randomised(spec: NetworkSpec) -> ThreshNet:
    """A network whose norms have statistics of their own, still in training mode."""
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
def heard() -> list[str]:
    return []


@pytest.fixture(scope="module")
def exported(model: ThreshNet, heard: list[str], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The folder of a small network with dropouts, written once for all tests."""
    folder = tmp_path_factory.mktemp("export") / "deep" / "folder"
    return export_folder(model, SIZE, folder, {"labels": ["a", "b"]}, heard.append)


def test_all_files_are_written_and_agree(exported: Exported, heard: list[str]) -> None:
    assert {file.name for file in exported.folder.iterdir()} == {CONFIG, WEIGHTS, ONNX, PT2}
    assert heard == [CONFIG, WEIGHTS, ONNX, PT2]
    assert set(exported.differences) == {WEIGHTS, ONNX, PT2}
    assert exported.differences[WEIGHTS] == 0
    assert all(0 <= difference <= TOLERANCE for difference in exported.differences.values())


def test_config_tells_what_the_files_are(exported: Exported) -> None:
    config = json.loads((exported.folder / CONFIG).read_text())
    assert NetworkSpec.from_json(config["spec"]) == SPEC
    assert config["fingerprint"] == SPEC.fingerprint()
    assert (config["input_size"], config["labels"]) == (SIZE, ["a", "b"])
    assert "float32 (n, 3, 32, 32)" in config["input"]
    assert "float32 (n, 7)" in config["output"]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_any_batch_goes_in(exported: Exported, model: ThreshNet, batch: int) -> None:
    images = torch.rand(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(batch))
    expected = logits_of(model, images)
    program = torch.export.load(exported.folder / PT2).module()
    for logits in (run_onnx(exported.folder / ONNX, images), logits_of(program, images)):
        assert logits.shape == (batch, 7)
        np.testing.assert_allclose(logits, expected, atol=TOLERANCE)
    np.testing.assert_array_equal(logits_of(load_weights(exported.folder / WEIGHTS), images), expected)


def logits_of(model: torch.nn.Module, images: Tensor) -> np.ndarray:
    with torch.inference_mode():
        logits: np.ndarray = model(images).numpy()
    return logits


def test_the_onnx_file_is_self_contained(exported: Exported) -> None:
    graph = onnx.load(exported.folder / ONNX, load_external_data=False).graph
    assert graph.initializer
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in graph.initializer)
    assert not any(tensor.external_data for tensor in graph.initializer)


def test_dropouts_are_asleep(exported: Exported) -> None:
    operators = {node.op_type for node in onnx.load(exported.folder / ONNX).graph.node}
    assert "Dropout" not in operators
    images = torch.rand(4, 3, SIZE, SIZE)
    first, second = (run_onnx(exported.folder / ONNX, images) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("file", [WEIGHTS, ONNX, PT2])
def test_a_file_that_differs_is_an_error(
    exported: Exported, model: ThreshNet, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file in turn holds the weights of another network; the others are those of the fixture."""
    torch.manual_seed(3)
    other = build(SPEC).eval()

    def copy(name: str, path: Path) -> None:
        path.write_bytes((exported.folder / name).read_bytes())

    if file == WEIGHTS:
        monkeypatch.setattr(export, "load_weights", lambda path: other)
    elif file == ONNX:
        monkeypatch.setattr(export, "export_onnx", lambda model, size, path, batch: copy(ONNX, path))
        monkeypatch.setattr(export, "run_onnx", lambda path, images: logits_of(other, images))
    else:
        monkeypatch.setattr(export, "export_onnx", lambda model, size, path, batch: copy(ONNX, path))
        whole = export.export_pt2
        monkeypatch.setattr(export, "export_pt2", lambda model, size, path: whole(other, size, path))
    with pytest.raises(ExportError, match=rf"{file}: its logits differ from the network's by up to \d"):
        export_folder(model, SIZE, tmp_path, {})


def test_logits_that_are_no_numbers_are_an_error(
    model: ThreshNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = build(SPEC).eval()
    with torch.no_grad():
        broken.get_parameter("head_linear.bias").fill_(float("nan"))
    monkeypatch.setattr(export, "load_weights", lambda path: broken)
    with pytest.raises(ExportError, match=f"{WEIGHTS}: its logits differ .* nan"):
        export_folder(model, SIZE, tmp_path, {})


ELSEWHERE = """
import sys
# Importing any part of the project fails from here on.
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
        command = [sys.executable, "-I", "-c", ELSEWHERE, *arguments]
        run = subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=120, check=False)
    finally:
        folder.rename(exported.folder)
    assert run.returncode == 0, run.stderr
    assert not list(empty.iterdir())
    with np.load(tmp_path / "logits.npz") as found:
        for runtime in ("onnx", "pt2"):
            np.testing.assert_allclose(found[runtime], logits_of(model.eval(), images), atol=TOLERANCE)
