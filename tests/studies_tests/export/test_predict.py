"""predict.py preprocesses images as in training, predicts their classes, and reports the error on a tree."""

import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest
from search_tests.tiny import SIZE
from studies_tests.small import TREE_NETWORK

from search.data import DataSettings, load_test
from studies.export.score import score_onnx
from threshnet.export.carried.predict import fit
from threshnet.export.folder import write_config
from threshnet.export.onnx_file import export_onnx
from threshnet.export.standalone import PREDICT, model_source, predict_source
from threshnet.network import build

Result = tuple[str, str, int | str | None]
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that predict.py reads."""
    folder = tmp_path_factory.mktemp("original")
    torch.manual_seed(3)
    network = build(TREE_NETWORK).eval()
    write_config(network, SIZE, folder, {"classes": ["bright", "dark"]})
    export_onnx(network, SIZE, folder / "model.onnx", batch=None)
    (folder / PREDICT).write_text(predict_source())
    return folder


@pytest.fixture
def model(original: Path, tmp_path: Path) -> Path:
    """A copy of it for one test to change."""
    return Path(shutil.copytree(original, tmp_path / "model"))


@pytest.fixture
def run(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run predict.py; returns its stdout, its stderr and its exit status."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", [PREDICT, *map(str, arguments)])
        status: int | str | None = 0
        try:
            runpy.run_path(str(model / PREDICT), run_name="__main__")
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return out, err, status

    return run


def test_the_error_on_a_tree_is_the_error_on_the_card(run: Run, model: Path, tree: Path) -> None:
    expected = score_onnx(model / "model.onnx", load_test(DataSettings("folder", tree), SIZE))
    out, err, status = run(tree / "test")
    *lines, last = out.splitlines()
    assert (status, err, len(lines)) == (0, "", 20)
    assert last.startswith(f"error {expected.percent:.2f} % ({expected.wrong} of 20 images; 95 % interval ")
    result = json.loads(run(tree / "test", "--json")[0])
    low, high = (100 * end for end in binomtest(expected.wrong, 20).proportion_ci(method="wilson"))
    assert result["error_percent"] == expected.percent
    assert result["interval_percent"] == pytest.approx([low, high], abs=1e-3)
    assert [f"{one['file']}\t{one['class']}\t{one['probability']:.3f}" for one in result["predictions"]] == lines


@pytest.mark.parametrize("program", [PREDICT, "model.py"])
def test_programs_import_nothing_from_their_folder(model: Path, tree: Path, program: str) -> None:
    (model / "model.py").write_text(model_source(TREE_NETWORK))
    for library in ("argparse", "json", "numpy", "onnxruntime", "torch"):
        (model / f"{library}.py").write_text(f"import os; os.mkdir({str(model / 'pwned')!r})")
    command = [sys.executable, program, str(tree / "test" / "dark" / "000.png")]
    done = subprocess.run(command, cwd=model, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert not (model / "pwned").exists()
    assert done.returncode == (program == "model.py")  # it finds no weights


def test_single_images_have_no_error_rate(run: Run, tree: Path) -> None:
    files = [tree / "test" / name / "000.png" for name in ("dark", "bright")]
    out, _, status = run(*files)
    assert status == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == [str(file) for file in files]


def test_folders_that_are_not_classes_are_reported(run: Run, tree: Path) -> None:
    out, err, status = run(tree)
    assert (status, len(out.splitlines())) == (0, 80)
    assert err == "no error rate: test is not a class of the network\n"


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "I;16", "1", "CMYK"])
@pytest.mark.parametrize("shape", [(SIZE, SIZE), (40, 23), (9, 31)])
def test_images_are_preprocessed_as_in_training(model: Path, tmp_path: Path, mode: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 2**16, shape).astype(np.uint16))
    else:
        image = Image.fromarray(rng.integers(0, 256, (*shape, 3)).astype(np.uint8)).convert(mode)
    file = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image.save(file)
    actual = runpy.run_path(str(model / PREDICT))["pixels"](str(file), SIZE)
    with Image.open(file) as opened:
        expected = np.asarray(fit(opened, SIZE)).transpose(2, 0, 1)
    np.testing.assert_array_equal(actual, expected)


def change(**values: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return edit


@pytest.mark.parametrize(
    ("edit", "arguments", "message"),
    [
        (lambda folder: None, ["gone.png"], "gone.png: no such image"),
        (lambda folder: None, ["model.onnx"], "model.onnx: damaged or not an image ("),
        (lambda folder: None, ["."], "no images that Pillow reads here (left out "),
        (lambda folder: None, ["a.png", "--model", "gone.onnx"], "gone.onnx: no such model"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"\xff" * 9), ["a.png"], "damaged or not an ONNX file"),
        (lambda folder: (folder / "config.json").unlink(), ["a.png"], "not a model's configuration"),
        (
            lambda folder: (folder / "config.json").write_text("[" * 10**6),
            ["a.png"],
            "not a model's configuration",
        ),
        (change(input_size=10**9), ["a.png"], "not a model's configuration"),
        (change(classes="ab"), ["a.png"], "not a model's configuration"),
        (change(classes=[1]), ["a.png"], "not a model's configuration"),
        (change(classes=["only\x1b one"]), ["a.png"], "names 1 classes, the model has 2"),
    ],
)
def test_invalid_input_ends_in_one_line(
    run: Run,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    edit: Callable[[Path], object],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(model)
    edit(model)
    if "a.png" in arguments:
        Image.new("RGB", (SIZE, SIZE)).save("a.png")
    _, _, status = run(*arguments)
    assert isinstance(status, str)
    assert status.startswith("error: ")
    assert message in status
    assert status.isprintable()
