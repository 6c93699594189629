"""The data sets: what is split how, what the pixels become, and what each kind of bad input is told."""

import hashlib
import io
import pickle
import tarfile
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from search import data, datasets
from search.data import DATASETS, DataSettings, SearchData, Split, class_names, load_search, load_test
from threshnet.errors import InputError

SVHN_SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "svhn-rgb-small.tar.xz"
LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(lambda values: np.asarray(values, np.int64))


def write_image(file: Path, value: int, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(file)


def write_tree(root: Path, train: dict[str, int], test: dict[str, int] | None = None) -> Path:
    """Write one-colour images, all of different colours, `train[c]` of them for class c."""
    value = 0
    for part, counts in (("train", train), ("test", test or {})):
        for name, count in counts.items():
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                write_image(root / part / name / f"{i:03d}.png", value)
                value += 1
    return root


def colours(split: Split) -> list[int]:
    """Read the colour of each one-colour image, which tells it from all others."""
    assert (split.images == split.images[:, :1, :1, :1]).all()
    return [int(image[0, 0, 0]) for image in split.images]


def contents(split: Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


def message(call: Callable[[], object]) -> str:
    """Give the one line that bad input is answered with."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", {"cat": 40, "ant": 60, "bee": 20}, {"ant": 5, "bee": 5, "cat": 5})


# Splits


@given(LABELS)
def test_every_prefix_is_stratified(labels: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    order = datasets.stratified(labels)
    assert sorted(order) == list(range(len(labels)))
    totals = np.bincount(labels)
    present = np.count_nonzero(totals)
    for k in range(1, len(order) + 1):
        counts = np.bincount(labels[order[:k]], minlength=len(totals))
        if k <= present:
            assert counts.max() == 1
        else:
            # the prefix ends at some share x of the way, where each class has ceil(x m) or one fewer of its m images
            share = max(((counts - 1) / np.maximum(totals, 1))[counts > 0])
            assert (counts >= np.ceil(share * totals) - 1e-9).all()
            assert (counts <= share * totals + 1 + 1e-9).all()


@given(LABELS, st.integers(0, 2**32 - 1))
def test_shuffled_is_a_stratified_permutation(labels: np.ndarray[Any, np.dtype[np.int64]], seed: int) -> None:
    order = datasets.shuffled(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    assert np.array_equal(labels[order], labels[datasets.stratified(labels)])


def test_the_split_is_the_same_on_every_machine() -> None:
    labels = np.repeat(np.arange(3), 4)
    assert datasets.shuffled(labels, 7).tolist() == [2, 7, 10, 0, 5, 11, 1, 6, 8, 3, 4, 9]


def test_digits_splits_are_stratified_and_share_no_image() -> None:
    loaded, test = load_search(DataSettings("digits"), 8), load_test(DataSettings("digits"), 8)
    assert (len(loaded.train), len(loaded.validation), len(test)) == (1151, 287, 359)
    parts = [contents(split) for split in (loaded.train, loaded.validation, test)]
    assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts)) == 1797
    whole = torch.cat([loaded.train.labels, loaded.validation.labels, test.labels]).bincount() / 1797
    for split in (loaded.train, loaded.validation, test):
        assert (split.labels.bincount() - whole * len(split)).abs().max() <= 1.5


def test_digits_are_enlarged_to_three_equal_channels() -> None:
    loaded = load_search(DataSettings("digits", train=100, validation=50), 32)
    assert loaded.train.images.shape == (100, 3, 32, 32)
    assert loaded.validation.images.shape == (50, 3, 32, 32)
    assert loaded.train.images.dtype == torch.uint8
    assert loaded.train.labels.dtype == torch.int64
    assert (loaded.train.images == loaded.train.images[:, :1]).all()
    assert loaded.train.images.min() == 0
    assert loaded.train.images.max() > 240
    assert (loaded.name, loaded.mirror, loaded.classes) == ("digits", False, tuple("0123456789"))
    assert "smoke test" in loaded.caveat


def test_digits_keep_their_labels() -> None:
    bunch = load_digits()
    labels = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(*(bunch.images, bunch.target), strict=True)
    }
    for split in (load_search(DataSettings("digits"), 8).train, load_test(DataSettings("digits"), 8)):
        assert [labels[image[0].numpy().tobytes()] for image in split.images] == split.labels.tolist()


def test_the_digits_test_split_is_fixed_and_the_seed_moves_the_others() -> None:
    first, second = (DataSettings("digits", train=200, validation=100, seed=seed) for seed in (0, 1))
    assert torch.equal(load_test(first, 8).images, load_test(second, 8).images)
    assert torch.equal(load_search(first, 8).train.images, load_search(first, 8).train.images)
    assert contents(load_search(first, 8).validation) != contents(load_search(second, 8).validation)


def test_folder_splits_are_stratified_and_disjoint(tree: Path) -> None:
    loaded = load_search(DataSettings("folder", tree), 12)
    assert loaded.classes == ("ant", "bee", "cat")
    assert loaded.train.labels.bincount().tolist() == [48, 16, 32]
    assert loaded.validation.labels.bincount().tolist() == [12, 4, 8]
    assert loaded.mirror
    assert sorted(colours(loaded.train) + colours(loaded.validation)) == list(range(120))
    for split in (loaded.train, loaded.validation):  # the tree was written cat, ant, bee
        expected = [2 if colour < 40 else 0 if colour < 100 else 1 for colour in colours(split)]
        assert split.labels.tolist() == expected


def test_validation_does_not_depend_on_train_and_smaller_train_is_a_prefix(tree: Path) -> None:
    def load(train: int | None) -> SearchData:
        return load_search(DataSettings("folder", tree, train=train, validation=30, seed=3), 12)

    whole, half, few = load(None), load(45), load(7)
    assert (len(whole.train), len(half.train), len(few.train)) == (90, 45, 7)
    assert colours(whole.validation) == colours(half.validation) == colours(few.validation)
    assert colours(whole.train)[:45] == colours(half.train)
    assert colours(half.train)[:7] == colours(few.train)
    assert not set(colours(whole.train)) & set(colours(whole.validation))


def test_all_images_may_be_used_but_not_one_more(tree: Path) -> None:
    loaded = load_search(DataSettings("folder", tree, train=96, validation=24), 12)
    assert len(loaded.train) + len(loaded.validation) == 120
    said = message(lambda: load_search(DataSettings("folder", tree, train=97, validation=24), 12))
    assert "train 97 + validation 24" in said
    assert "120 images" in said
    assert "validation 120" in message(lambda: load_search(DataSettings("folder", tree, validation=120), 12))


@pytest.mark.parametrize("settings", [{"train": 2}, {"validation": 2}])
def test_a_split_holds_every_class(tree: Path, settings: dict[str, int]) -> None:
    (key,) = settings
    assert f"{key} 2: allowed is at least one" in message(
        lambda: load_search(DataSettings("folder", tree, **settings), 12)
    )


def test_a_class_with_one_image_cannot_be_split(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"many": 9, "one": 1})
    said = message(lambda: load_search(DataSettings("folder", root), 12))
    assert "'one'" in said
    assert "1 images, 1 of them for validation" in said


# What the search may see


def test_load_search_never_reads_the_test_part(tree: Path) -> None:
    settings = DataSettings("folder", tree)
    before = load_search(settings, 12)
    for file in (tree / "test").rglob("*.png"):
        file.write_bytes(b"not an image")
    after = load_search(settings, 12)
    assert torch.equal(before.train.images, after.train.images)
    assert "test" in message(lambda: load_test(settings, 12))
    assert not [field for field in SearchData.__dataclass_fields__ if "test" in field]


def test_a_tree_without_test_can_be_searched(tmp_path: Path) -> None:
    settings = DataSettings("folder", write_tree(tmp_path, {"a": 5, "b": 5}))
    assert len(load_search(settings, 12).train) == 8
    assert f"{tmp_path}: no folder test/" in message(lambda: load_test(settings, 12))


def test_load_test_gives_the_whole_test_part(tree: Path) -> None:
    test = load_test(DataSettings("folder", tree, train=10, validation=10), 12)
    assert len(test) == 15
    assert colours(test) == list(range(120, 135))
    assert test.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_only_the_images_of_the_split_are_opened(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    open_image = datasets._open_image
    monkeypatch.setattr(datasets, "_open_image", lambda file: (opened.append(file), open_image(file))[1])
    load_search(DataSettings("folder", tree, train=10, validation=6), 12)
    assert len(set(opened)) == len(opened) == 16


def test_class_names_open_no_image(tree: Path) -> None:
    for file in tree.rglob("*.png"):
        file.write_bytes(b"not an image")
    assert class_names(DataSettings("folder", tree)) == ("ant", "bee", "cat")


def test_class_names_of_the_others_need_no_files(tmp_path: Path) -> None:
    assert class_names(DataSettings("cifar10", tmp_path))[::9] == ("airplane", "truck")
    assert class_names(DataSettings("svhn", tmp_path)) == class_names(DataSettings("digits")) == tuple("0123456789")


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
    of_a = [colours(split)[split.labels.tolist().index(0)] for split in (loaded.train, loaded.validation)]
    assert sorted(of_a) == [0, 255]


def test_sixteen_bit_grey_keeps_its_middle() -> None:
    grey = Image.fromarray(np.full((4, 4), 128 * 257, np.uint16))
    assert datasets.to_rgb(grey).getpixel((0, 0)) == (128, 128, 128)


def test_a_palette_with_transparent_entries_gives_no_warning(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=b"\x00\x80")
    assert datasets._open_image(tmp_path / "p.png").getpixel((0, 0)) == (40, 50, 60)


def test_channels_keep_their_order(tmp_path: Path) -> None:
    Image.new("RGB", (5, 5), (10, 20, 30)).save(tmp_path / "c.png")
    source = datasets.Source(("c",), np.zeros(1, np.int64), lambda _: datasets._open_image(tmp_path / "c.png"), "here")
    decoded = datasets.decode(source, np.zeros(1, np.int64), 5, "", data.quiet)
    assert decoded[0, :, 2, 2].tolist() == [10, 20, 30]


@pytest.mark.parametrize("size", [(1, 1), (7, 31), (64, 40), (32, 32), (301, 17)])
def test_any_size_is_fitted(tmp_path: Path, size: tuple[int, int]) -> None:
    write_tree(tmp_path, {"a": 2})
    write_image(tmp_path / "train" / "a" / "000.png", 77, size)
    loaded = load_search(DataSettings("folder", tmp_path), 16)
    assert 77 in colours(loaded.train) + colours(loaded.validation)
    assert loaded.train.images.shape == (1, 3, 16, 16)


def test_the_centre_square_is_kept_unstretched() -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200  # the centre square
    assert np.asarray(datasets.fit(Image.fromarray(wide), 10)).min() == 200
    assert np.asarray(datasets.fit(Image.fromarray(wide.T.copy()), 10)).min() == 200


def test_shrinking_is_antialiased() -> None:
    stripes = np.tile(np.asarray([0, 255], np.uint8), (64, 32))
    shrunk = np.asarray(datasets.fit(Image.fromarray(stripes), 8)).astype(int)
    assert abs(shrunk[:, 1:-1] - 127).max() <= 12


def test_progress_counts_up_to_every_image(tree: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    load_search(DataSettings("folder", tree), 12, lambda *step: seen.append(step))
    assert seen[0] == ("training images", 0, 96)
    assert ("training images", 96, 96) in seen
    assert seen[-1] == ("validation images", 24, 24)


def test_several_chunks_land_in_their_rows(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_search(DataSettings("folder", tree), 12)
    monkeypatch.setattr(datasets, "CHUNK", 7)
    assert torch.equal(load_search(DataSettings("folder", tree), 12).train.images, whole.train.images)


def test_nested_hidden_and_foreign_files(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 2, "b": 2})
    write_image(tmp_path / "train" / "a" / "deeper" / "x.PNG", 99)
    (tmp_path / "train" / "a" / "._000.png").write_bytes(b"a macOS side file")
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".cache").mkdir()
    loaded = load_search(DataSettings("folder", tmp_path), 12)
    assert loaded.classes == ("a", "b")
    assert sorted(colours(loaded.train) + colours(loaded.validation)) == [0, 1, 2, 3, 99]


# Bad input


def test_bad_settings_are_told_what_is_allowed() -> None:
    said = message(lambda: DataSettings("mnist"))
    assert "'mnist'" in said
    assert all(name in said for name in DATASETS)
    assert "path None" in message(lambda: DataSettings("folder"))
    for value in (0, -3, 1.5, True):
        assert f"train {value}" in message(lambda value=value: DataSettings("digits", train=value))  # type: ignore[misc]
        assert f"validation {value}" in message(lambda value=value: DataSettings("digits", validation=value))  # type: ignore[misc]
    for seed in (-1, 2**32):
        assert f"seed {seed}" in message(lambda seed=seed: DataSettings("digits", seed=seed))  # type: ignore[misc]
    assert "input size 0" in message(lambda: load_search(DataSettings("digits"), 0))
    assert "input size 0" in message(lambda: load_test(DataSettings("digits"), 0))


def test_a_missing_path_or_part_is_named(tmp_path: Path) -> None:
    for call in (class_names, lambda s: load_search(s, 8), lambda s: load_test(s, 8)):
        gone = DataSettings("folder", tmp_path / "gone")
        assert f"{tmp_path / 'gone'}: no such folder" in message(lambda call=call, gone=gone: call(gone))  # type: ignore[misc]
    assert "no folder train/" in message(lambda: load_search(DataSettings("folder", tmp_path), 8))
    (tmp_path / "train").mkdir()
    assert f"{tmp_path / 'train'}: no classes" in message(lambda: load_search(DataSettings("folder", tmp_path), 8))


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_without_images_is_named(tree: Path, part: str) -> None:
    for file in (tree / part / "bee").iterdir():
        file.rename(file.with_suffix(".txt"))
    load = load_search if part == "train" else load_test
    said = message(lambda: load(DataSettings("folder", tree), 8))
    assert f"{tree / part / 'bee'}: a class without images" in said
    assert ".png" in said


@pytest.mark.parametrize(("part", "other"), [("train", "test"), ("test", "train")])
def test_classes_that_differ_are_named(tree: Path, part: str, other: str) -> None:
    write_image(tree / part / "dog" / "0.png", 1)
    assert f"class 'dog' is in {part}/ and not in {other}/" in message(
        lambda: load_test(DataSettings("folder", tree), 8)
    )


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("keep", [0.0, 0.05, 0.6])
def test_a_damaged_image_is_named(tmp_path: Path, suffix: str, keep: float) -> None:
    write_tree(tmp_path, {"a": 3})
    file = tmp_path / "train" / "a" / f"bad{suffix}"
    noise = np.random.RandomState(0).randint(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * keep)])
    said = message(lambda: load_search(DataSettings("folder", tmp_path), 8))
    assert str(file) in said
    assert "allowed is" in said


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": 2})
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "train" / "a" / "f.tif")
    assert "f.tif: floating-point" in message(lambda: load_search(DataSettings("folder", tmp_path), 8))


def test_a_set_larger_than_memory_is_refused_before_decoding(tree: Path) -> None:
    for file in tree.rglob("*.png"):
        file.write_bytes(b"not an image, and never opened")
    settings = DataSettings("folder", tree)
    needed = 120 * 3 * 100 * 100
    said = message(lambda: load_search(settings, 100, memory_limit_bytes=needed - 1))
    assert "120 images at 100x100 need 3.6 MB" in said
    assert "allowed are 3.6 MB" in said
    assert "memory" in message(lambda: load_test(settings, 100, memory_limit_bytes=15 * 3 * 100 * 100 - 1))
    assert "need 36.0 GB" in message(lambda: load_search(settings, 10_000, memory_limit_bytes=2 * 10**9))


def test_a_set_just_within_the_limit_is_loaded(tree: Path) -> None:
    few = DataSettings("folder", tree, train=5, validation=5)
    assert len(load_search(few, 12, memory_limit_bytes=10 * 3 * 12 * 12).train) == 5
    assert "memory" in message(lambda: load_search(few, 12, memory_limit_bytes=10 * 3 * 12 * 12 - 1))


def test_the_default_limit_is_half_of_what_is_free(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.available_memory_bytes() > 10**8
    monkeypatch.setattr(data, "available_memory_bytes", lambda: 2 * 120 * 3 * 12 * 12 - 2)
    assert "memory" in message(lambda: load_search(DataSettings("folder", tree), 12))
    monkeypatch.setattr(data, "available_memory_bytes", lambda: 2 * 120 * 3 * 12 * 12)
    assert len(load_search(DataSettings("folder", tree), 12).train) == 96


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "CGROUP_LIMIT", tmp_path / "memory.max")
    (tmp_path / "memory.max").write_text("max\n")
    assert data.available_memory_bytes() > 10**8
    (tmp_path / "memory.max").write_text("12345\n")
    assert data.available_memory_bytes() == 12345


# CIFAR-10 and SVHN, in torchvision's own files but small


class OldNumpyPickler(pickle.Pickler):
    """Writes dtypes with integer flags, as in 2009, when CIFAR-10 was pickled; NumPy 2.4 warns on reading that.

    The real files say (0, 1), which 2.4.5 forgives; (0, 0) warns with every 2.4, so that the test can fail.
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
    """Write five train batches and a test batch of 20 images each; image i of all is filled with i in its red plane."""
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
    meta = pickled({"label_names": list(datasets.CIFAR10_CLASSES)})
    (folder / "batches.meta").write_bytes(meta)
    of = torchvision.datasets.CIFAR10
    monkeypatch.setattr(of, "train_list", [[n, s] for n, s in sums.items() if n != "test_batch"])
    monkeypatch.setattr(of, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(of, "meta", of.meta | {"md5": hashlib.md5(meta).hexdigest()})
    return tmp_path


def test_cifar10_comes_from_local_batches(cifar10: Path) -> None:
    loaded = load_search(DataSettings("cifar10", cifar10), 32)
    assert (len(loaded.train), len(loaded.validation)) == (80, 20)
    assert (loaded.name, loaded.mirror, loaded.caveat) == ("cifar10", True, "")
    red = torch.cat([loaded.train.images, loaded.validation.images])[:, 0, 0, 0]
    labels = torch.cat([loaded.train.labels, loaded.validation.labels])
    assert sorted(red.tolist()) == list(range(100))
    assert torch.equal(red % 10, labels)
    assert (loaded.train.images[:, 1] == 0).all()
    assert (loaded.train.images[:, 2] == 255).all()
    test = load_test(DataSettings("cifar10", cifar10), 32)
    assert test.images[:, 0, 0, 0].tolist() == list(range(100, 120))


def test_cifar10_is_resized_only_when_asked(cifar10: Path) -> None:
    small = load_search(DataSettings("cifar10", cifar10, train=10, validation=10), 20)
    native = load_search(DataSettings("cifar10", cifar10, train=10, validation=10), 32)
    assert small.train.images.shape == (10, 3, 20, 20)
    assert torch.equal(small.train.images[:, :, 0, 0], native.train.images[:, :, 0, 0])


def test_a_whole_copy_in_a_read_only_folder_is_read(cifar10: Path) -> None:
    load_search(DataSettings("cifar10", cifar10), 32)
    assert sorted(f.name for f in cifar10.iterdir()) == ["cifar-10-batches-py"]


@pytest.mark.parametrize("damaged", ["data_batch_3", "batches.meta"])
def test_half_a_cifar10_is_no_copy(cifar10: Path, damaged: str) -> None:
    file = cifar10 / "cifar-10-batches-py" / damaged
    file.write_bytes(file.read_bytes()[:-1])
    said = message(lambda: load_search(DataSettings("cifar10", cifar10), 32))
    assert f"'cifar10': no good copy in {cifar10}" in said
    assert "cifar-10-python.tar.gz" in said
    assert "'folder'" in said


def test_a_partial_archive_is_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", no_network)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b half a download")
    said = message(lambda: load_search(DataSettings("cifar10", tmp_path), 32))
    assert "network is unreachable" in said


def test_a_download_that_breaks_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_url: str, file: str) -> None:
        Path(file).write_bytes(b"half")

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, max_hops: url)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", half)
    for name in ("cifar10", "svhn"):
        said = message(lambda name=name: load_search(DataSettings(name, tmp_path), 32))  # type: ignore[misc]
        assert f"{name!r}: no good copy in {tmp_path}" in said
        assert "File not found or corrupted" in said


@pytest.mark.parametrize(("name", "file"), [("cifar10", "cifar-10-python.tar.gz"), ("svhn", "train_32x32.mat")])
def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str) -> None:
    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", no_network)
    said = message(lambda: load_search(DataSettings(name, tmp_path / "new"), 32))
    assert f"{name!r}: no good copy in {tmp_path / 'new'}" in said
    assert "network is unreachable" in said
    assert file in said


def test_a_path_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in message(lambda: load_search(DataSettings("cifar10", tmp_path / "file"), 32))


def test_the_default_path_is_data() -> None:
    assert DataSettings("cifar10").root == DataSettings("svhn").root == Path("data")
    assert DataSettings("svhn", Path("else")).root == Path("else")


@pytest.mark.parametrize("part", ["train", "test"])
def test_svhn_comes_from_a_local_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
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
        assert not loaded.mirror
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
