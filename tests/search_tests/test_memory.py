"""Images in memory: tensors, arrays and torch Datasets as the data of a study, and errors for invalid ones."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from search_tests.trees import contents, message
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from search.data import (
    Contents,
    DataSettings,
    ImageData,
    SearchData,
    Split,
    as_settings,
    class_names,
    load_calibration,
    load_search,
    load_test,
)
from search.datasets import memory
from search.datasets.named import DATASETS

PER_CLASS, SIZE = 10, 12


def made(seed: int, count: int = 2 * PER_CLASS) -> tuple[torch.Tensor, torch.Tensor]:
    """Color images (count, 3, 12, 12) of noise in two classes, which alternate."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=random)
    return images, torch.arange(count) % 2


TRAIN, VALIDATION, TEST = made(0), made(1, 8), made(2, 6)


class Pairs(Dataset[Any]):
    """A map-style Dataset of any pairs."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        return self.items[index]


class Flipping(Pairs):
    """A Dataset that returns another image each time."""

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        image, label = self.items[index]
        return torch.rand(image.shape), label


class Stream(IterableDataset[Any]):
    """A Dataset that can only be read in order."""

    def __iter__(self) -> Iterator[Any]:
        return iter([])


def dataset(images: torch.Tensor, labels: torch.Tensor) -> Pairs:
    return Pairs(
        [
            (Image.fromarray(image.permute(1, 2, 0).numpy()), int(label))
            for image, label in zip(images, labels, strict=True)
        ]
    )


def rows(split: Split) -> dict[bytes, int]:
    """The label of each image, by its pixels."""
    return {image.numpy().tobytes(): int(label) for image, label in zip(split.images, split.labels, strict=True)}


@pytest.fixture(scope="module")
def settings() -> DataSettings:
    return as_settings(ImageData(TRAIN, VALIDATION, TEST, ("cat", "dog")))


# Reading


def test_the_settings_identify_the_images(settings: DataSettings) -> None:
    assert settings.memory is not None
    assert settings.memory == Contents(("cat", "dog"), (3, SIZE, SIZE), 20, 8, 6, settings.memory.hash)
    assert class_names(settings) == ("cat", "dog")
    assert settings.title == DATASETS["memory"].title


def test_every_part_is_used_as_given(settings: DataSettings) -> None:
    loaded, test = load_search(settings, SIZE), load_test(settings, SIZE)
    for split, given in ((loaded.train, TRAIN), (loaded.validation, VALIDATION), (test, TEST)):
        assert rows(split) == rows(Split(*given))
    assert torch.equal(test.images, TEST[0])  # in the original order
    assert contents(load_calibration(settings, SIZE, 4)) < contents(loaded.validation)


def test_validation_images_are_held_out_if_none_are_given() -> None:
    loaded = load_search(as_settings(TRAIN), SIZE)
    assert (len(loaded.train), len(loaded.validation)) == (16, 4)
    assert rows(loaded.train) | rows(loaded.validation) == rows(Split(*TRAIN))


def test_a_split_may_be_a_stratified_subset(settings: DataSettings) -> None:
    loaded = load_search(replace(settings, train=10, validation=4, seed=3), SIZE)
    assert (loaded.train.labels.bincount().tolist(), loaded.validation.labels.bincount().tolist()) == ([5, 5], [2, 2])
    assert contents(loaded.validation) < contents(Split(*VALIDATION))
    error = message(lambda: load_search(replace(settings, validation=9), SIZE))
    assert (
        error == "data.validation = 9: must be at least 2, the number of classes, and at most the 8 validation images"
    )


def forms() -> dict[str, Any]:
    images, labels = TRAIN
    return {
        "floats": (images / 255, labels),
        "half floats": ((images / 255).bfloat16(), labels),
        "arrays": (images.numpy(), labels.numpy()),
        "a list of labels": (images, labels.tolist()),
        "small integers as labels": (images, labels.to(torch.uint8)),
        "Pillow images": dataset(images, labels),
        "a Dataset of tensors": TensorDataset(images, labels),
        "a Dataset of floats": TensorDataset(images.double() / 255, labels),
    }


@pytest.mark.parametrize("form", forms())
def test_every_form_of_the_same_images_is_the_same_data(form: str) -> None:
    plain, other = as_settings(TRAIN), as_settings(forms()[form])
    assert other == plain
    assert torch.equal(load_search(other, SIZE).train.images, load_search(plain, SIZE).train.images)


@pytest.mark.parametrize("shape", [(20, 1, 10, 12), (20, 10, 12)])
def test_grey_images_are_converted_and_fitted_like_files(shape: tuple[int, ...]) -> None:
    images = torch.arange(20, dtype=torch.uint8).mul(10).reshape(20, *[1] * (len(shape) - 1)).expand(shape)
    settings = as_settings((images, TRAIN[1]))
    assert settings.memory is not None
    assert settings.memory.shape == (1, 10, 12)
    loaded = load_search(settings, 8)
    assert loaded.train.images.shape == (16, 3, 8, 8)
    assert {int(image.float().mean()) for image in loaded.train.images} <= set(range(0, 200, 10))


def test_images_of_a_dataset_may_differ_in_size_and_mode() -> None:
    items = [
        (Image.new(mode, size, 40 * n), n % 2)
        for n, (mode, size) in enumerate([("L", (9, 5)), ("RGB", (4, 4)), ("L", (3, 7)), ("RGBA", (8, 8))])
    ]
    loaded = load_search(as_settings(Pairs(items)), 6)
    assert loaded.train.images.shape == (2, 3, 6, 6)


def test_a_dataset_names_its_classes() -> None:
    pairs = dataset(*TRAIN)
    pairs.classes = ["ant", "bee"]  # type: ignore[attr-defined]
    assert class_names(as_settings(pairs)) == ("ant", "bee")
    assert class_names(as_settings(ImageData(pairs, classes=("a", "b")))) == ("a", "b")
    assert class_names(as_settings(TRAIN)) == ("0", "1")


def test_any_other_pixel_label_or_part_is_other_data() -> None:
    images, labels = TRAIN[0].clone(), TRAIN[1].clone()
    images[3, 1, 2, 3] ^= 1
    labels[[4, 5]] = labels[[5, 4]]
    found: list[Any] = [
        (images, TRAIN[1]),
        (TRAIN[0], labels),
        TRAIN,
        ImageData(TRAIN, TEST),
        ImageData(TRAIN, test=TEST),
    ]
    hashes = {as_settings(data).memory.hash for data in found}  # type: ignore[union-attr]
    assert len(hashes) == len(found)


# Images that are missing


def test_without_test_images_only_the_search_works() -> None:
    settings = as_settings(ImageData(TRAIN))
    assert isinstance(load_search(settings, SIZE), SearchData)
    assert "they have no test images; pass ImageData(..., test=(images, labels))" in message(
        lambda: load_test(settings, SIZE)
    )


def test_another_process_needs_the_same_images(settings: DataSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_held", {})
    error = message(lambda: load_search(settings, SIZE))
    assert error.startswith(f"images in memory, hash {settings.memory.hash}: not in this process")  # type: ignore[union-attr]
    assert "a folder of images if several processes" in error
    assert as_settings(ImageData(TRAIN, VALIDATION, TEST, ("cat", "dog"))) == settings
    assert len(load_search(settings, SIZE).train) == 20


def test_the_name_alone_is_no_data_set() -> None:
    error = message(lambda: DataSettings("memory"))
    assert error.startswith("data.name = 'memory': must be another data set")
    assert "launch(..., data=...)" in error


# Invalid images

IMAGES, LABELS = TRAIN
NORMALIZED = (IMAGES / 255 - 0.5) / 0.25
NAN = torch.where(torch.arange(SIZE) == 3, torch.nan, IMAGES / 255)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ((IMAGES,), "data.train = "),
        ((IMAGES.tolist(), LABELS), "data.train: images of type list, must be a tensor or array (n, 3, h, w)"),
        ((IMAGES[:, :2], LABELS), "data.train: shape (20, 2, 12, 12), must be (n, 3, h, w), (n, 1, h, w) or (n, h, w)"),
        ((IMAGES.permute(0, 2, 3, 1), LABELS), "data.train: shape (20, 12, 12, 3), must be"),
        ((IMAGES[:, :, :0], LABELS), "data.train: shape (20, 3, 0, 12), must be"),
        ((IMAGES.int(), LABELS), "data.train: pixels of type int32, must be uint8 or floats from 0 to 1"),
        ((NAN, LABELS), "data.train: a pixel is NaN or infinite"),
        ((NORMALIZED, LABELS), "data.train: pixels from -2 to 2, must be uint8 or floats from 0 to 1 (without norm"),
        ((IMAGES.float(), LABELS), "data.train: pixels from 0 to 255, must be"),
        ((IMAGES, LABELS[:-1]), "data.train: 20 images and 19 labels, must be one label for each image"),
        ((IMAGES, LABELS.float()), "data.train: labels (20,) of type float32, must be integers (n,)"),
        ((IMAGES, LABELS.bool()), "data.train: labels (20,) of type bool, must be"),
        ((IMAGES, LABELS[:, None]), "data.train: labels (20, 1) of type int64, must be"),
        ((IMAGES, [[1], [1, 2]]), "data.train: labels [[1], [1, 2]], must be"),
        ((IMAGES, LABELS - 1), "data.train: label -1, must be at least 0"),
        ((IMAGES, 2 * LABELS), "data.train: no image of the class with label 1, must have at least one"),
        ((IMAGES, LABELS + 10**12), "data.train: no image of the class with label 0, must"),
        ((IMAGES[:0], LABELS[:0]), "data.train: no images, must have"),
        (Pairs([]), "data.train: no images, must have"),
        (Stream(), "data.train = "),
        (Pairs([(IMAGES[0], 0, 1)]), "data.train[0] = "),
        (Pairs([(IMAGES[0], 0), (IMAGES[0], 1.5)]), "data.train[1]: label 1.5, must be an integer"),
        (Pairs([(IMAGES[0], torch.tensor(1.0))]), "data.train[0]: label tensor(1.), must be an integer"),
        (Pairs([(IMAGES[0], True)]), "data.train[0]: label True, must be an integer"),
        (Pairs([(IMAGES[0], -1)]), "data.train[0]: label -1, must be at least 0"),
        (Pairs([(IMAGES, 0)]), "data.train[0]: shape (20, 3, 12, 12), must be (3, h, w), (1, h, w) or (h, w)"),
        (Pairs([("a.png", 0)]), "data.train[0]: an image of type str, must be a Pillow image, tensor or array"),
        (Pairs([(Image.new("F", (4, 4)), 0)]), "data.train[0]: floating-point pixels"),
        (Flipping([(IMAGES[0], 0), (IMAGES[1], 1)]), "data.train[0]: the image differs each time it is read"),
        (ImageData(TRAIN, validation=(IMAGES[::2], LABELS[::2])), "data.validation: no image of the class"),
        (ImageData(TRAIN, test=(IMAGES, LABELS + 1), classes="ab"), "data.classes = 'ab': must be a list"),
        (ImageData(TRAIN, test=(IMAGES, LABELS + 1), classes=["a", "b"]), "data.test: label 2, must be below 2"),
        (ImageData(TRAIN, classes=["a", "a"]), "data.classes = ['a', 'a']: must be a list of different names"),
        (ImageData(TRAIN, classes=["a", "b", "c"]), "data.train: no image of the class 'c' (label 2), must"),
        (ImageData(None), "data.train = None: must be a tuple (images, labels) or a map-style torch Dataset"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_errors_name_the_invalid_part_and_what_is_allowed(data: Any, expected: str) -> None:  # noqa: ANN401
    assert message(lambda: as_settings(data)).startswith(expected)


def test_a_dataset_that_does_not_fit_into_memory() -> None:
    error = message(lambda: memory.hold(ImageData(dataset(*TRAIN)), limit_bytes=1000))
    assert error.startswith("data.train: the first 3 of 20 images fill half of the available memory")
