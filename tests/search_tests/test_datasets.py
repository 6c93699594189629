"""The data sets: conversion of pixels, and errors for damaged and missing files."""

import hashlib
import io
import pickle
import tarfile
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image
from search_tests.trees import colors, contents, message, write_image, write_tree

from search import data
from search.data import DataSettings, class_names, load_search, load_test
from search.datasets import folder
from search.datasets import images as datasets
from search.datasets.named import CIFAR10_CLASSES
from threshnet.export.carried import predict

SVHN_SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "svhn-rgb-small.tar.xz"


# Pixels


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    write_tree(tmp_path, {"a": 2, "b": 2})
    for value, name in ((0, "000.png"), (255, "001.png")):
        file = tmp_path / "train" / "a" / name
        if mode == "I;16":
            Image.fromarray(np.full((12, 12), value * 257, np.uint16)).save(file)
        else:
            write_image(file, value, mode=mode)
    with Image.open(file) as image:
        assert image.mode == mode
    loaded = load_search(DataSettings("folder", tmp_path, validation=2), 12)
    of_a = [colors(split)[split.labels.tolist().index(0)] for split in (loaded.train, loaded.validation)]
    assert sorted(of_a) == [0, 255]


def test_sixteen_bit_grey_keeps_its_middle() -> None:
    grey = Image.fromarray(np.full((4, 4), 128 * 257, np.uint16))
    assert predict.to_rgb(grey).getpixel((0, 0)) == (128, 128, 128)


def test_a_palette_with_transparent_entries_gives_no_warning(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=b"\x00\x80")
    assert folder._open_image(tmp_path / "p.png").getpixel((0, 0)) == (40, 50, 60)


def test_the_order_of_channels_is_preserved(tmp_path: Path) -> None:
    Image.new("RGB", (5, 5), (10, 20, 30)).save(tmp_path / "c.png")
    source = datasets.Source(np.zeros(1, np.int64), lambda _: folder._open_image(tmp_path / "c.png"), "here")
    decoded = datasets.decode(source, np.zeros(1, np.int64), 5, "", data.no_progress)
    assert decoded[0, :, 2, 2].tolist() == [10, 20, 30]


@pytest.mark.parametrize("size", [(1, 1), (7, 31), (64, 40), (32, 32), (301, 17)])
def test_images_of_any_size_are_resized(tmp_path: Path, size: tuple[int, int]) -> None:
    write_tree(tmp_path, {"a": 2})
    write_image(tmp_path / "train" / "a" / "000.png", 77, size)
    loaded = load_search(DataSettings("folder", tmp_path), 16)
    assert 77 in colors(loaded.train) + colors(loaded.validation)
    assert loaded.train.images.shape == (1, 3, 16, 16)


def test_the_centre_square_is_kept_unstretched() -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200  # the centre square
    assert np.asarray(predict.fit(Image.fromarray(wide), 10)).min() == 200
    assert np.asarray(predict.fit(Image.fromarray(wide.T.copy()), 10)).min() == 200


def test_shrinking_is_antialiased() -> None:
    stripes = np.tile(np.asarray([0, 255], np.uint8), (64, 32))
    shrunk = np.asarray(predict.fit(Image.fromarray(stripes), 8)).astype(int)
    assert abs(shrunk[:, 1:-1] - 127).max() <= 12


def test_progress_counts_up_to_every_image(tree: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    load_search(DataSettings("folder", tree), 12, lambda *step: seen.append(step))
    assert seen[0] == ("training images", 0, 96)
    assert ("training images", 96, 96) in seen
    assert seen[-1] == ("validation images", 24, 24)


def test_chunks_are_written_to_their_rows(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_search(DataSettings("folder", tree), 12)
    monkeypatch.setattr(datasets, "CHUNK", 7)
    assert torch.equal(load_search(DataSettings("folder", tree), 12).train.images, whole.train.images)


def test_nested_hidden_and_other_files(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 2, "b": 2})
    write_image(tmp_path / "train" / "a" / "deeper" / "x.PNG", 99)
    (tmp_path / "train" / "a" / "._000.png").write_bytes(b"a macOS side file")
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".cache").mkdir()
    loaded = load_search(DataSettings("folder", tmp_path), 12)
    assert loaded.classes == ("a", "b")
    assert sorted(colors(loaded.train) + colors(loaded.validation)) == [0, 1, 2, 3, 99]


# Bad input


def test_a_missing_path_or_part_is_named(tmp_path: Path) -> None:
    for call in (class_names, lambda s: load_search(s, 8), lambda s: load_test(s, 8)):
        gone = DataSettings("folder", tmp_path / "gone")
        assert f"{tmp_path / 'gone'}: no such folder" in message(lambda call=call, gone=gone: call(gone))  # type: ignore[misc]
    assert "has no folder train/" in message(lambda: load_search(DataSettings("folder", tmp_path), 8))
    (tmp_path / "train").mkdir()
    assert f"{tmp_path / 'train'}: no classes" in message(lambda: load_search(DataSettings("folder", tmp_path), 8))


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_without_images_is_named(tree: Path, part: str) -> None:
    for file in (tree / part / "bee").iterdir():
        file.rename(file.with_suffix(".txt"))
    load = load_search if part == "train" else load_test
    error = message(lambda: load(DataSettings("folder", tree), 8))
    assert f"{tree / part / 'bee'}: a class without images" in error
    assert ".txt)" in error


@pytest.mark.parametrize(("part", "other"), [("train", "test"), ("test", "train")])
def test_classes_that_differ_are_named(tree: Path, part: str, other: str) -> None:
    write_image(tree / part / "dog" / "0.png", 1)
    error = message(lambda: load_test(DataSettings("folder", tree), 8))
    assert f"class 'dog' is in {part}/ but not in {other}/" in error


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("keep", [0.0, 0.05, 0.6])
def test_a_damaged_image_is_named(tmp_path: Path, suffix: str, keep: float) -> None:
    write_tree(tmp_path, {"a": 3})
    file = tmp_path / "train" / "a" / f"bad{suffix}"
    noise = np.random.RandomState(0).randint(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    error = message(lambda: load_search(DataSettings("folder", tmp_path), 8))
    assert str(file) in error
    assert "must be an intact image" in error


def test_floating_point_pixels_are_rejected(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 2})
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "train" / "a" / "f.tif")
    assert "f.tif: floating-point" in message(lambda: load_search(DataSettings("folder", tmp_path), 8))


# CIFAR-10 and SVHN, from small files in torchvision's formats


class OldNumpyPickler(pickle.Pickler):
    """Writes dtypes with integer flags, as when CIFAR-10 was pickled in 2009; NumPy 2.4 warns about them.

    The real files have (0, 1), which NumPy 2.4.5 accepts; (0, 0) makes every 2.4 warn, so that the test can fail.
    """

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401
        if isinstance(obj, np.dtype) and obj == np.uint8:
            return np.dtype, ("u1", 0, 0), (3, "|", None, None, None, -1, -1, 0)
        return NotImplemented


def pickled(record: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    OldNumpyPickler(stream, protocol=2).dump(record)
    return stream.getvalue()


def no_network(*_args: object, **_kwargs: object) -> None:
    raise urllib.error.URLError("network is\nunreachable")


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write five train batches and a test batch of 20 images each; the red channel of the i-th image is i."""
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", no_network)
    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", no_network)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    sums = {}
    for b, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
        pixels = np.zeros((20, 3, 32, 32), np.uint8)
        pixels[:, 0] = np.arange(20 * b, 20 * b + 20).reshape(20, 1, 1)
        pixels[:, 2] = 255
        record = pickled({"data": pixels.reshape(20, -1), "labels": [i % 10 for i in range(20)]})
        (folder / name).write_bytes(record)
        sums[name] = hashlib.md5(record).hexdigest()
    meta = pickled({"label_names": list(CIFAR10_CLASSES)})
    (folder / "batches.meta").write_bytes(meta)
    of = torchvision.datasets.CIFAR10
    monkeypatch.setattr(of, "train_list", [[n, s] for n, s in sums.items() if n != "test_batch"])
    monkeypatch.setattr(of, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(of, "meta", of.meta | {"md5": hashlib.md5(meta).hexdigest()})
    return tmp_path


def test_cifar10_is_read_from_local_batches(cifar10: Path) -> None:
    loaded = load_search(DataSettings("cifar10", cifar10), 32)
    assert (len(loaded.train), len(loaded.validation)) == (80, 20)
    assert (loaded.name, loaded.flip, loaded.caveat) == ("cifar10", True, "")
    red = torch.cat([loaded.train.images, loaded.validation.images])[:, 0, 0, 0]
    labels = torch.cat([loaded.train.labels, loaded.validation.labels])
    assert sorted(red.tolist()) == list(range(100))
    assert torch.equal(red % 10, labels)
    assert (loaded.train.images[:, 1] == 0).all()
    assert (loaded.train.images[:, 2] == 255).all()
    test = load_test(DataSettings("cifar10", cifar10), 32)
    assert test.images[:, 0, 0, 0].tolist() == list(range(100, 120))


def test_cifar10_is_resized_to_other_input_sizes_only(cifar10: Path) -> None:
    small = load_search(DataSettings("cifar10", cifar10, train=10, validation=10), 20)
    native = load_search(DataSettings("cifar10", cifar10, train=10, validation=10), 32)
    assert small.train.images.shape == (10, 3, 20, 20)
    assert torch.equal(small.train.images[:, :, 0, 0], native.train.images[:, :, 0, 0])


def test_reading_a_complete_copy_writes_nothing(cifar10: Path) -> None:
    load_search(DataSettings("cifar10", cifar10), 32)
    assert sorted(f.name for f in cifar10.iterdir()) == ["cifar-10-batches-py"]


@pytest.mark.parametrize("damaged", ["data_batch_3", "batches.meta"])
def test_a_damaged_cifar10_is_not_used(cifar10: Path, damaged: str) -> None:
    file = cifar10 / "cifar-10-batches-py" / damaged
    file.write_bytes(file.read_bytes()[:-1])
    error = message(lambda: load_search(DataSettings("cifar10", cifar10), 32))
    assert f"'cifar10': no intact copy in {cifar10}" in error
    assert "cifar-10-python.tar.gz" in error
    assert "'folder'" in error


def test_a_partial_archive_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", no_network)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b half a download")
    error = message(lambda: load_search(DataSettings("cifar10", tmp_path), 32))
    assert "network is unreachable" in error


def test_a_partial_download_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_url: str, file: str) -> None:
        Path(file).write_bytes(b"half")

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", half)
    for name in ("cifar10", "svhn"):
        error = message(lambda name=name: load_search(DataSettings(name, tmp_path), 32))  # type: ignore[misc]
        assert f"{name!r}: no intact copy in {tmp_path}" in error
        assert "File not found or corrupted" in error


@pytest.mark.parametrize(("name", "file"), [("cifar10", "cifar-10-python.tar.gz"), ("svhn", "train_32x32.mat")])
def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str) -> None:
    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", no_network)
    error = message(lambda: load_search(DataSettings(name, tmp_path / "new"), 32))
    assert f"{name!r}: no intact copy in {tmp_path / 'new'}" in error
    assert "network is unreachable" in error
    assert file in error


def test_the_error_for_a_file_as_path_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in message(lambda: load_search(DataSettings("cifar10", tmp_path / "file"), 32))


def test_the_default_path_is_data() -> None:
    assert DataSettings("cifar10").root == DataSettings("svhn").root == Path("data")
    assert DataSettings("svhn", Path("else")).root == Path("else")


@pytest.mark.parametrize("part", ["train", "test"])
def test_svhn_is_read_from_a_local_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    pixels = np.zeros((32, 32, 3, 40), np.uint8)
    pixels[:, :16, 1] = np.arange(40)  # the left half, in green
    file = tmp_path / f"{part}_32x32.mat"
    scipy.io.savemat(file, {"X": pixels, "y": np.asarray([[i % 10 or 10] for i in range(40)])})
    sums = {part: ["http://nowhere.invalid", file.name, hashlib.md5(file.read_bytes()).hexdigest()]}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", sums)
    if part == "test":
        images, labels = (test := load_test(DataSettings("svhn", tmp_path), 32)).images, test.labels
    else:
        loaded = load_search(DataSettings("svhn", tmp_path), 32)
        assert not loaded.flip
        images = torch.cat([loaded.train.images, loaded.validation.images])
        labels = torch.cat([loaded.train.labels, loaded.validation.labels])
    green = images[:, 1, 0, 0]
    assert sorted(green.tolist()) == list(range(40))
    assert torch.equal(green % 10, labels)
    assert torch.equal(images[:, 1, 31, 15], green)
    assert (images[:, 1, :, 16:] == 0).all()


# Real images


@pytest.mark.skipif(not SVHN_SAMPLE.is_file(), reason=f"no {SVHN_SAMPLE}")
def test_real_images_from_a_tree(tmp_path: Path) -> None:
    with tarfile.open(SVHN_SAMPLE) as archive:
        archive.extractall(tmp_path, filter="data")
    settings = DataSettings("folder", tmp_path / "svhn", validation=160)
    loaded, test = load_search(settings, 32), load_test(settings, 32)
    assert (len(loaded.train), len(loaded.validation), len(test)) == (652, 160, 271)
    assert len(contents(loaded.train) | contents(loaded.validation) | contents(test)) == 1083
    assert loaded.train.images.float().std() > 20
