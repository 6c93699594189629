"""The study file that `threshnet init` writes: it can be launched, and it names every key with its default."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from search_tests.tiny import StubMeasurement
from studies_tests.cli.test_cli import Run, error_of, run
from studies_tests.small import write_tree

from search.data import DataSettings
from search.latency.devices.named import device_named
from search.latency.protocol import MeasurementError
from search.training.recipes import PUBLISHED
from space import SMALL_IMAGES, SPACES, Limits
from studies.spec import StudySpec, parse_spec, read_spec
from studies.start.keys import study_keys
from studies.start.study_file import CPU_TRAIN, find_images, study_file, suggested

__all__ = ["error_of", "run"]

SPECS = [
    StudySpec("plain", 40),
    StudySpec("small", 7, space=SMALL_IMAGES, limits=Limits(latency_ms=1.6, params=1e6), input_size=64),
    StudySpec("folder", 40, data=DataSettings("folder", Path('a "folder" \\ of images'), train=1000), flip=False),
    StudySpec("gpu", 40, device="cuda", runtimes=("torch", "torch-graph"), recipe=PUBLISHED, caveat="Ä test"),
    StudySpec("blocks", 40, space=replace(SPACES["default"], stems=SMALL_IMAGES.stems[:2], pools=(False,)), budget=2.5),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_file_has_the_values_of_the_spec(spec: StudySpec) -> None:
    assert parse_spec(tomllib.loads(study_file(spec))) == spec


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_commented_values_are_the_defaults(spec: StudySpec) -> None:
    text = study_file(spec)
    uncommented = re.sub(r"^#(?=\w+ = (?!\.\.\.))", "", text, flags=re.MULTILINE)
    assert len(uncommented) < len(text) - 30
    assert parse_spec(tomllib.loads(uncommented)).to_json() == spec.to_json()


def test_every_key_of_every_table_is_explained() -> None:
    text = study_file(SPECS[0])
    tables = dict.fromkeys(key.table for key in study_keys(SPECS[0]))
    sections = dict(zip(tables, re.split(r"^\[\w+\]$", text, flags=re.MULTILINE), strict=True))
    for key in study_keys(SPECS[0]):
        assert re.search(rf"^# .*\n#?{key.name} = ", sections[key.table], re.MULTILINE), key
    assert len(tables) == len(re.findall(r"^\[\w+\]$", text, re.MULTILINE)) + 1


def test_no_line_of_comments_is_long() -> None:
    assert max(len(line) for line in study_file(SPECS[0]).splitlines() if line.startswith("# ")) <= 102


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the reading by a stub: 1.5 ms for every network."""
    log: list[str] = []
    monkeypatch.setattr("studies.start.study_file.measure_on", StubMeasurement(log, lambda spec: 1.5))
    return log


def test_init_writes_a_file_for_the_digits(run: Run, measured: list[str]) -> None:
    output = run("init", "mine.toml")
    assert (output.status, output.err) == (0, "")
    wrote, *following = output.out.splitlines()
    assert wrote.startswith("wrote mine.toml: 1,151 training images in 10 classes, from 111 (8) to 117 (1); ")
    assert wrote.endswith("; latency limit 1.9 ms, which threshnet28 satisfies on cpu")
    assert following == ["Next: threshnet launch mine.toml --dry-run", "Next: threshnet launch mine.toml"]
    spec = read_spec(Path("mine.toml"))
    assert (spec.name, spec.input_size, spec.limits.latency_ms, spec.dataset.name) == ("mine", 32, 1.9, "digits")
    assert spec.space.name == "small-images"
    assert len(measured) == 1


def test_init_does_not_measure_if_it_cannot_write_the_file(error_of: Any, measured: list[str]) -> None:  # noqa: ANN401
    assert "no folder gone" in error_of("init", "gone/mine.toml")
    assert measured == []


def test_init_writes_a_file_for_a_folder(run: Run, measured: list[str], tree: Path) -> None:
    output = run("init", "my trees.toml", "--data", tree)
    assert output.status == 2
    assert "name = 'my trees'" in output.err
    output = run("init", "trees.toml", "--data", tree)
    assert output.out.startswith("wrote trees.toml: 48 training images: 24 bright, 24 dark; latency limit ")
    spec = read_spec(Path("trees.toml"))
    assert (spec.dataset.name, spec.dataset.path, spec.dataset.train, spec.input_size) == ("folder", tree, None, 32)


def test_large_and_many_images_get_a_larger_input_and_a_part_of_them(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, data = device_named("cpu"), DataSettings("folder", tree)
    for file in tree.glob("train/*/*.png"):
        Image.fromarray(np.zeros((64, 80, 3), np.uint8)).save(file)
    images = find_images(data)
    assert images.side == 64
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    spec = suggested("mine", data, replace(images, train=50_000), device)
    assert (spec.input_size, spec.space.name, spec.dataset.train) == (64, "default", CPU_TRAIN)
    assert (
        suggested("mine", DataSettings("cifar10"), find_images(DataSettings("cifar10")), device).dataset.train == 10_000
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert suggested("mine", data, replace(images, train=50_000), device).dataset.train is None


BAD: list[tuple[list[str], list[str]]] = [
    (["mine"], ["mine: must end in .toml"]),
    (["old.toml"], ["old.toml: already exists"]),
    (["gone/mine.toml"], ["gone/mine.toml: cannot be written (no folder gone)"]),
    (["-bad.toml"], ["No such option"]),
    (["mine.toml", "--device", "tpu"], ["device 'tpu': must be cpu, cuda"]),
    (["mine.toml", "--data", "gone"], ["data = 'gone'", "must be a folder or one of digits"]),
    (["mine.toml", "--data", "empty"], ["data path empty", "no folder train/"]),
    (["mine.toml", "--data", "few"], ["must be fewer than the 2 training images of few/train"]),
    ([], ["Missing argument 'FILE'"]),
]


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(("arguments", "parts"), BAD, ids=lambda value: " ".join(value))
def test_bad_input_is_one_line(arguments: list[str], parts: list[str], error_of: Any, tmp_path: Path) -> None:  # noqa: ANN401
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.toml").write_text("old")
    write_tree(tmp_path / "few", train=1)
    error = error_of("init", *arguments)
    assert [part for part in parts if part not in error] == []
    assert [file.name for file in tmp_path.glob("*.toml")] == ["old.toml"]
    assert (tmp_path / "old.toml").read_text() == "old"


def test_a_device_that_cannot_be_measured_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MeasurementError("ssh://pi: connection refused")

    monkeypatch.setattr("studies.start.study_file.measure_on", fail)
    output = run("init", "mine.toml", "--device", "ssh://pi")
    assert (output.status, output.out) == (1, "")
    assert output.err == "error: mine.toml not written: ssh://pi: connection refused\n"
    assert not Path("mine.toml").exists()
