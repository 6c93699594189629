"""Splits of the data sets, the images that a search may see, and errors for invalid settings."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from search_tests.trees import colors, contents, message, write_tree
from sklearn.datasets import load_digits

from search import data
from search.data import (
    DataSettings,
    SearchData,
    as_settings,
    class_names,
    classes_to_search,
    load_search,
    load_test,
)
from search.datasets import folder
from search.datasets import images as datasets
from search.datasets.named import DATASETS

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(lambda values: np.asarray(values, np.int64))


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
            # at a share x of the way, the prefix has ceil(x m) of the m images of each class, or one fewer
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
    assert (loaded.name, loaded.flip, loaded.classes) == ("digits", False, tuple("0123456789"))
    assert "smoke test" in loaded.caveat


def test_digits_keep_their_labels() -> None:
    bunch = load_digits()
    labels = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(*(bunch.images, bunch.target), strict=True)
    }
    for split in (load_search(DataSettings("digits"), 8).train, load_test(DataSettings("digits"), 8)):
        assert [labels[image[0].numpy().tobytes()] for image in split.images] == split.labels.tolist()


def test_the_digits_test_split_is_fixed_and_the_others_depend_on_the_seed() -> None:
    first, second = (DataSettings("digits", train=200, validation=100, seed=seed) for seed in (0, 1))
    assert torch.equal(load_test(first, 8).images, load_test(second, 8).images)
    assert torch.equal(load_search(first, 8).train.images, load_search(first, 8).train.images)
    assert contents(load_search(first, 8).validation) != contents(load_search(second, 8).validation)


def test_folder_splits_are_stratified_and_disjoint(tree: Path) -> None:
    loaded = load_search(DataSettings("folder", tree), 12)
    assert loaded.classes == ("ant", "bee", "cat")
    assert loaded.train.labels.bincount().tolist() == [48, 16, 32]
    assert loaded.validation.labels.bincount().tolist() == [12, 4, 8]
    assert loaded.flip
    assert sorted(colors(loaded.train) + colors(loaded.validation)) == list(range(120))
    for split in (loaded.train, loaded.validation):  # the tree was written cat, ant, bee
        expected = [2 if color < 40 else 0 if color < 100 else 1 for color in colors(split)]
        assert split.labels.tolist() == expected


def test_validation_does_not_depend_on_train_and_smaller_train_is_a_prefix(tree: Path) -> None:
    def load(train: int | None) -> SearchData:
        return load_search(DataSettings("folder", tree, train=train, validation=30, seed=3), 12)

    whole, half, few = load(None), load(45), load(7)
    assert (len(whole.train), len(half.train), len(few.train)) == (90, 45, 7)
    assert colors(whole.validation) == colors(half.validation) == colors(few.validation)
    assert colors(whole.train)[:45] == colors(half.train)
    assert colors(half.train)[:7] == colors(few.train)
    assert not set(colors(whole.train)) & set(colors(whole.validation))


def test_all_images_may_be_used_but_no_more(tree: Path) -> None:
    loaded = load_search(DataSettings("folder", tree, train=96, validation=24), 12)
    assert len(loaded.train) + len(loaded.validation) == 120
    error = message(lambda: load_search(DataSettings("folder", tree, train=97, validation=24), 12))
    assert "data.train + data.validation = 97 + 24: must be at most the 120 training images" in error
    error = message(lambda: load_search(DataSettings("folder", tree, validation=120), 12))
    assert "data.validation = 120: must be fewer than the 120 training images" in error


@pytest.mark.parametrize("settings", [{"train": 2}, {"validation": 2}])
def test_a_split_has_every_class(tree: Path, settings: dict[str, Any]) -> None:
    (key,) = settings
    error = message(lambda: load_search(DataSettings("folder", tree, **settings), 12))
    assert f"data.{key} = 2: must be at least one image for each of the 3 classes" in error


def test_a_class_with_one_image_cannot_be_split(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"many": 9, "one": 1})
    error = message(lambda: load_search(DataSettings("folder", root), 12))
    assert "'one'" in error
    assert "1 images, of which validation takes 1, leave none" in error


# The images that a search may see


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
    assert f"{tmp_path}: has no folder test/" in message(lambda: load_test(settings, 12))


def test_load_test_returns_the_whole_test_part(tree: Path) -> None:
    test = load_test(DataSettings("folder", tree, train=10, validation=10), 12)
    assert len(test) == 15
    assert colors(test) == list(range(120, 135))
    assert test.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_only_the_images_of_the_split_are_opened(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    open_image = folder._open_image

    def opening(file: Path) -> Image.Image:
        opened.append(file)
        return open_image(file)

    monkeypatch.setattr(folder, "_open_image", opening)
    load_search(DataSettings("folder", tree, train=10, validation=6), 12)
    assert len(set(opened)) == len(opened) == 16


def test_class_names_need_no_image(tree: Path) -> None:
    for file in tree.rglob("*.png"):
        file.write_bytes(b"not an image")
    assert class_names(DataSettings("folder", tree)) == ("ant", "bee", "cat")


def test_class_names_of_downloaded_data_sets_need_no_files(tmp_path: Path) -> None:
    assert class_names(DataSettings("cifar10", tmp_path))[::9] == ("airplane", "truck")
    assert class_names(DataSettings("svhn", tmp_path)) == class_names(DataSettings("digits")) == tuple("0123456789")


# Bad input


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "mnist"}, f"data.name = 'mnist': must be one of {', '.join(DATASETS)}"),
        ({"name": ["digits"]}, f"data.name = ['digits']: must be one of {', '.join(DATASETS)}"),
        ({"name": "folder"}, "data.path = None: must be the folder of images, which the data set 'folder' needs"),
        ({"path": 3}, "data.path = 3: must be a path"),
        *(
            ({key: value}, f"data.{key} = {value!r}: must be a whole number of images, at least 1")
            for key in ("train", "validation")
            for value in (0, -3, 1.5, True, "9")
        ),
        *(
            ({"seed": value}, f"data.seed = {value!r}: must be a whole number from 0 to 4,294,967,295")
            for value in (-1, 2**32, None, 1.0)
        ),
    ],
)
def test_errors_name_the_invalid_setting_and_its_valid_values(settings: dict[str, Any], expected: str) -> None:
    assert message(lambda: DataSettings(**{"name": "digits"} | settings)) == expected


def test_a_path_may_be_text() -> None:
    assert DataSettings("folder", "my images") == DataSettings("folder", Path("my images"))  # type: ignore[arg-type]


def test_data_is_a_name_a_folder_or_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DataSettings("folder", tmp_path)
    assert as_settings(str(tmp_path)) == as_settings(tmp_path) == as_settings(folder) == folder
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert as_settings("digits") == DataSettings("digits")
    assert as_settings(Path("digits")) == DataSettings("folder", Path("digits"))


@pytest.mark.parametrize("value", ["imagenet", "folder", "", Path("nowhere")])
def test_data_that_is_neither_a_name_nor_a_folder(value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    monkeypatch.chdir(tmp_path)
    error = message(lambda: as_settings(value))
    assert error == f"data = {str(value)!r}: must be a folder or one of digits, noisy_digits, cifar10, svhn"
    number: Any = 3
    assert message(lambda: as_settings(number)).startswith("data = 3: must be (images, labels), a torch Dataset, Image")


@pytest.mark.parametrize("load", [load_search, load_test])
def test_the_input_size_must_be_positive(load: Callable[..., object]) -> None:
    assert "input size 0" in message(lambda: load(DataSettings("digits"), 0))


def test_a_data_set_larger_than_the_memory_is_rejected_before_decoding(tree: Path) -> None:
    for file in tree.rglob("*.png"):
        file.write_bytes(b"not an image, and never opened")
    settings = DataSettings("folder", tree)
    needed = 120 * 3 * 100 * 100
    error = message(lambda: load_search(settings, 100, memory_limit_bytes=needed - 1))
    assert "120 images at 100x100 need 3.6 MB" in error
    assert "and 3.6 MB are available" in error
    assert "memory" in message(lambda: load_test(settings, 100, memory_limit_bytes=15 * 3 * 100 * 100 - 1))
    assert "need 36.0 GB" in message(lambda: load_search(settings, 10_000, memory_limit_bytes=2 * 10**9))


def test_a_data_set_just_within_the_limit_is_loaded(tree: Path) -> None:
    few = DataSettings("folder", tree, train=5, validation=5)
    assert len(load_search(few, 12, memory_limit_bytes=10 * 3 * 12 * 12).train) == 5
    assert "memory" in message(lambda: load_search(few, 12, memory_limit_bytes=10 * 3 * 12 * 12 - 1))


def test_the_default_limit_is_half_of_the_available_memory(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_class_that_the_test_part_lacks_is_reported_before_the_search(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {"a": 9, "b": 9}, {"a": 1})
    error = message(lambda: load_search(DataSettings("folder", path=tree), 16))
    assert error == f"data path {tree}: class 'b' is in train/ but not in test/, must be in both"
    shutil.rmtree(tree / "test" / "a")
    assert load_search(DataSettings("folder", path=tree), 16).classes == ("a", "b")  # images without classes, or none
    shutil.rmtree(tree / "test")
    assert load_search(DataSettings("folder", path=tree), 16).classes == ("a", "b")


def test_a_search_needs_two_classes(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {"only": 9})
    error = message(lambda: classes_to_search(DataSettings("folder", path=tree)))
    assert error == f"the folder {tree.name}: only the class 'only', must have two or more"
