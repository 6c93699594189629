"""From real photographs to a stand-alone model: a search on house numbers, exported and run in a fresh process."""

import json
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search.data import DataSettings
from search.latency.protocol import Protocol
from search.training.evaluate import logits
from search.training.recipes import FAST
from space import SMALL_IMAGES, Limits
from studies.export.folder import export_trial
from studies.spec import StudySpec
from studies.study import LoadedStudy, launch_study
from threshnet.checkpoint import load_weights
from threshnet.spec import StemSpec

ARCHIVE = Path(__file__).parents[4] / "shared" / "data" / "svhn-grey.tar.xz"
CAVEAT = "Digits cropped from SVHN's test photos, in grayscale; not the SVHN benchmark"
PER_CLASS = {"train": 190, "test": 40}  # images per class to unpack
COMPARED = 256  # test images on which all files must agree
CHANCE = 90.0  # error at chance level, percent

pytestmark = pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"no archive of real images at {ARCHIVE}")

RUN_ALONE = """
import sys
sys.path = [folder for folder in sys.path if "site-packages" not in folder] + [sys.argv.pop(1)]
for name in ("threshnet", "space", "search", "studies"):
    sys.modules[name] = None  # cannot be imported, wherever it is installed
import numpy, onnxruntime, torch

model, images, outputs = sys.argv[1:]
pixels = numpy.load(images)
session = onnxruntime.InferenceSession(f"{model}/model.onnx", providers=["CPUExecutionProvider"])
(onnx,) = session.run(["logits"], {"images": pixels})
program = torch.export.load(f"{model}/model.pt2").module()
with torch.no_grad():
    plain = program(torch.from_numpy(pixels)).numpy()
numpy.savez(outputs, onnx=onnx, plain=plain)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first images of each class, unpacked."""
    folder = tmp_path_factory.mktemp("images")
    counts: Counter[str] = Counter()
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            if member.isfile():
                part, label = Path(member.name).parts[-3:-1]
                counts[f"{part}/{label}"] += 1
                if counts[f"{part}/{label}"] <= PER_CLASS[part]:
                    archive.extract(member, folder, filter="data")
    return folder / "svhn"


@pytest.fixture(scope="module")
def study(images: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedStudy:
    """A search of one network, trained on 1,500 images and measured."""
    folder = tmp_path_factory.mktemp("study")
    space = replace(
        SMALL_IMAGES,
        stems=(StemSpec((16, 32), stride=2, pool=False),),
        activations=("relu",),
        blocks=(3,),
        layers=(3, 4),
        units=("conv",),
        multipliers=(1.3,),
        outputs=("all",),
        growths=(12, 14, 16),
        transitions=(48, 64),
        pools=(True,),
        block_dropouts=(0.0,),
        head_dropouts=(0.0,),
    )
    spec = StudySpec(
        name="house-numbers",
        trials=1,
        space=space,
        limits=Limits(latency_ms=1000.0),
        data=DataSettings("folder", images, train=1500, validation=300),
        flip=False,
        caveat=CAVEAT,
        recipe=replace(FAST, epochs=6, batch=50, learning_rate=4e-3, mixed=False),
        protocol=Protocol(warmup_s=0.1, min_s=0.0, max_s=0.3),
    )
    loaded, outcome = launch_study(spec, f"journal:{folder / 'study.log'}", runs=folder / "runs")
    assert (outcome.trials, outcome.ended) == (1, "enough")
    return loaded


@pytest.fixture(scope="module")
def model(study: LoadedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the exported network."""
    folder = tmp_path_factory.mktemp("model")
    export_trial(study, 0, folder, lambda file: None)
    return folder


@pytest.fixture(scope="module")
def pixels(images: Path) -> torch.Tensor:
    """Test images (256, 3, 32, 32) uint8 of all classes, read without this project."""
    files = sorted((images / "test").rglob("*.png"), key=lambda file: file.name)[:COMPARED]
    assert len(files) == COMPARED
    assert {file.parent.name for file in files} == set("0123456789")
    pictures = [np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1) for file in files]
    return torch.from_numpy(np.stack(pictures))


def test_the_search_learns_from_real_images(study: LoadedStudy) -> None:
    (record,) = study.records
    assert record.state == "finished"
    assert record.error is not None
    assert record.error < CHANCE - 30
    assert record.latency_ms is not None
    assert 0.01 < record.latency_ms < 100
    assert record.latency["cpu onnxruntime"].rounds >= 6
    assert (study.classes, record.image_passes) == (tuple("0123456789"), 9_000)


def test_the_card_reports_both_errors_the_latency_and_the_caveat(study: LoadedStudy, model: Path) -> None:
    (record,) = study.records
    config = json.loads((model / "config.json").read_text())
    page = (model / "README.md").read_text()
    assert config["validation_error_percent"] == record.error
    assert config["test_error_percent"] < CHANCE - 25
    assert f"{config['test_error_percent']:.2f} % (" in page
    assert abs(config["int8_test_error_percent"] - config["test_error_percent"]) <= 1.5  # of 400 images
    assert f"| latency in the study, cpu onnxruntime | {record.latency_ms:.3f} ms (" in page
    assert CAVEAT in page


def test_the_model_gives_the_same_logits_in_a_process_without_this_project(
    model: Path, pixels: torch.Tensor, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", pixels.numpy().astype(np.float32) / 255)
    (tmp_path / "empty").mkdir()
    packages = str(Path(torch.__file__).parents[1])  # -S: without the paths that an editable install adds
    arguments = [packages, str(model), str(tmp_path / "images.npy"), str(tmp_path / "outputs.npz")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RUN_ALONE, *arguments],
        cwd=tmp_path / "empty",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    expected = logits(load_weights(model / "model.safetensors"), pixels).numpy()
    outputs = np.load(tmp_path / "outputs.npz")
    for kind in ("onnx", "plain"):
        assert np.array_equal(outputs[kind].argmax(axis=1), expected.argmax(axis=1))
        assert np.abs(outputs[kind] - expected).max() < 1e-4
    assert len(set(expected.argmax(axis=1).tolist())) >= 5
