"""Data sets by name.

To add one, write a reader in a file of this folder and an entry below. An entry names its reader as text, so that help
and errors can list the data sets without importing torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from search.datasets.images import Source

Part = Literal["train", "test"]

# The order of the label numbers: batches.meta of https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGIT_CLASSES = tuple("0123456789")


@dataclass(frozen=True)
class Dataset:
    """An entry of DATASETS."""

    # The data set's name in sentences.
    title: str
    # One clause: which images it holds.
    about: str
    # "module:function", imported on first use: (folder, part) -> Source, the "train" or the "test" part.
    reader: str
    # Names of the classes in the order of their labels; None: the folders of train/, sorted by name.
    classes: tuple[str, ...] | None
    # The default folder; None if the user must name one.
    home: Path | None
    # Whether a horizontal flip keeps the class.
    flip: bool
    # Note shown with every number measured on it; "" for none.
    caveat: str = ""

    @property
    def read(self) -> "Callable[[Path, Part], Source]":
        """The reader function, imported on first use."""
        found: Callable[[Path, Part], Source] = resolve_name(self.reader)
        return found


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(
        title="digits",
        about="1,797 grey 8x8 digits that come with scikit-learn",
        reader="search.datasets.images:read_digits",
        classes=DIGIT_CLASSES,
        home=Path(),
        flip=False,
        caveat="8x8 grey digits of scikit-learn, enlarged: a smoke test, not a benchmark",
    ),
    "cifar10": Dataset(
        title="CIFAR-10",
        about="60,000 colour photographs of 32x32 pixels, downloaded on first use",
        reader="search.datasets.images:read_cifar10",
        classes=CIFAR10_CLASSES,
        home=Path("data"),
        flip=True,
    ),
    "svhn": Dataset(
        title="SVHN",
        about="99,289 house numbers of 32x32 pixels, downloaded on first use",
        reader="search.datasets.images:read_svhn",
        classes=DIGIT_CLASSES,
        home=Path("data"),
        flip=False,
    ),
    "folder": Dataset(
        title="folder",
        about="your own images, an ImageFolder tree: train/CLASS/* and test/CLASS/*",
        reader="search.datasets.images:read_folder",
        classes=None,
        home=None,
        flip=True,
    ),
}


def without_path() -> tuple[str, ...]:
    """Names of the data sets that need no path."""
    return tuple(name for name, dataset in DATASETS.items() if dataset.home is not None)
