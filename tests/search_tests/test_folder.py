"""One rule for the images of a tree: training, validation, test, calibration and predict.py use the same files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from search_tests.trees import colors, message, write_image, write_tree

from search.data import DataSettings, load_calibration, load_search, load_test
from search.datasets.folder import copies, copies_text, folder_classes, read_folder
from threshnet.export.carried.predict import image_files, labelled_files, left_out_text, to_rgb


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """A tree of two classes with four images of each part and class, among files of every other kind."""
    root = write_tree(tmp_path / "tree", {"cat": 4, "dog": 4}, {"cat": 4, "dog": 4})
    for part in ("train", "test"):
        cat = root / part / "cat"
        for folder in (".ipynb_checkpoints", "@eaDir", "deeper/@eaDir"):
            (cat / folder).mkdir(parents=True)
            shutil.copy(cat / "000.png", cat / folder / "000.png")
        (cat / ".hidden.png").write_bytes(b"")
        (cat / "notes.txt").write_text("no image")
        (cat / "photo.heic").write_bytes(b"not read here")
        (cat / "README").write_text("no suffix")
        (cat / "gone.png").symlink_to("nowhere.png")
        (cat / "loop").symlink_to(cat)
        (cat / "again").symlink_to(cat / "deeper")
        (root / part / "stray.png").write_bytes(b"")
        write_image(root / "elsewhere" / part / "x.png", 200 if part == "train" else 201)
        (root / part / "dog" / "linked").symlink_to(root / "elsewhere" / part)
    return root


def test_everything_reads_the_same_images(messy: Path) -> None:
    settings = DataSettings("folder", messy, validation=4)
    search, test = load_search(settings, 12), load_test(settings, 12)
    assert sorted(colors(search.train) + colors(search.validation)) == [*range(8), 200]
    assert sorted(colors(test)) == [*range(8, 16), 201]
    assert set(colors(load_calibration(settings, 12, 3))) <= set(colors(search.validation))
    for part in ("train", "test"):
        labelled = {(file, label) for file, label in labelled_files([str(messy / part)])[0] if label}
        source = read_folder(messy, part)
        ours = {(str(file), ("cat", "dog")[label]) for file, label in zip(source.files, source.labels, strict=True)}
        assert labelled == ours


def test_what_is_left_out_is_one_line(messy: Path) -> None:
    settings = DataSettings("folder", messy, validation=4)
    (train,), (test,) = load_search(settings, 12).remarks, load_test(settings, 12).remarks
    counts = "4 hidden, 2 reached again by a link, 1 broken link, 1 .txt, 1 .heic, 1 without suffix"
    for line, part in ((train, "train"), (test, "test")):
        head, _, reasons = line.removeprefix(f"{messy / part}: ").partition(": ")
        assert head == "left out 11 files or folders"
        assert reasons.endswith(", 1 more")
        assert set(reasons.removesuffix(", 1 more").split(", ")) <= {
            *counts.split(", "),
            "1 outside the class folders",
        }
    _, left_out = labelled_files([str(messy / "train")])
    assert left_out_text(left_out).startswith("left out 10 files or folders: 4 hidden")


def test_a_clean_tree_has_no_remarks(tmp_path: Path) -> None:
    settings = DataSettings("folder", write_tree(tmp_path, {"a": 5}, {"a": 2}))
    assert load_search(settings, 12).remarks == load_test(settings, 12).remarks == ()


@pytest.mark.parametrize("suffix", [".jfif", ".avif", ".jp2", ".tga", ".JPE", ".dib"])
def test_every_format_that_pillow_reads_is_read(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / f"x{suffix.lower()}")
    (tmp_path / f"x{suffix.lower()}").rename(tmp_path / f"x{suffix}")
    assert image_files(str(tmp_path)) == ([str(tmp_path / f"x{suffix}")], {})


@pytest.mark.parametrize(
    ("top", "expected"), [(200, 200), (255, 255), (256, 1), (60_000, 234), (2**24 - 1, 255), (2**31 - 1, 127)]
)
def test_integer_images_keep_their_range(tmp_path: Path, top: int, expected: int) -> None:
    Image.fromarray(np.array([[top, 0], [-5, 0]], np.int32)).save(tmp_path / "x.tif")
    with Image.open(tmp_path / "x.tif") as image:
        assert image.mode == "I"
        rgb = np.asarray(to_rgb(image))
    assert rgb[:, :, 0].tolist() == [[expected, 0], [0, 0]]


def test_a_dark_16_bit_image_stays_dark(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 2 1 65535\n" + np.array([[200, 512]], ">u2").tobytes())
    with Image.open(tmp_path / "x.pgm") as image:
        assert np.asarray(to_rgb(image))[:, :, 0].tolist() == [[0, 2]]


def test_classes_that_look_the_same_are_shown_with_escapes(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    write_tree(tmp_path / "one", {composed: 2, decomposed: 2})
    error = message(lambda: folder_classes(tmp_path / "one"))
    assert r"the classes 'cafe\u0301' and 'caf\xe9' look the same" in error
    write_tree(tmp_path / "two", {composed: 2}, {decomposed: 2})
    error = message(lambda: load_test(DataSettings("folder", tmp_path / "two"), 12))
    assert r"class 'cafe\u0301' is in test/ but not in train/" in error


def test_copies_in_both_splits_are_reported(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"a": 8, "b": 8}, {"a": 3, "b": 2})
    shutil.copy(root / "train" / "a" / "000.png", root / "test" / "a" / "copy.png")
    (line,) = load_test(DataSettings("folder", root), 12).remarks
    assert line.startswith("1 test image is also among the training images, e.g. ")
    assert line.endswith(f"{root / 'test' / 'a' / 'copy.png'} = {root / 'train' / 'a' / '000.png'}")
    for number in range(20):
        shutil.copy(root / "train" / "a" / "001.png", root / "train" / "b" / f"copy{number}.png")
    (line,) = load_search(DataSettings("folder", root), 12).remarks
    assert " validation images are also among the training images, e.g. " in line


def test_copies_compares_contents(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c", "d")]
    for file, content in zip(files, ("same", "also", "same", "longer"), strict=True):
        file.write_text(content)
    assert copies(files[:2], files[2:]) == [(files[0], files[2])]
    assert copies_text("test", files[1:2], "training", files[2:]) == ""


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path, {"a": 2})

    def refused(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("search.datasets.folder.image_files", refused)
    assert "cannot be read (Permission denied)" in message(lambda: read_folder(root, "train"))
