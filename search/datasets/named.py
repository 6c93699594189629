"""Data sets by name.

To add one, write a reader in a file of this folder and an entry below. The entry refers to the reader by a string, so
that help and error messages can list the data sets without importing torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

from threshnet.errors import InputError

if TYPE_CHECKING:
    from search.datasets.images import Source

Part = Literal["train", "test"]

# In the order of the labels in batches.meta of https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGIT_CLASSES = tuple("0123456789")
MEMORY = "memory"  # name of the data set of images in memory


@dataclass(frozen=True)
class Dataset:
    """An entry of DATASETS."""

    # Name of the data set in sentences.
    title: str
    # A phrase that describes the images.
    about: str
    # "module:function", imported on first use: (folder, part) -> Source; the part is "train" or "test".
    reader: str
    # Names of the classes in the order of their labels. None: the sorted names of the folders in train/.
    classes: tuple[str, ...] | None
    # The default folder. None if the user must specify a folder.
    home: Path | None
    # Whether a horizontal flip preserves the class.
    flip: bool
    # A note that is shown with all results on this data set. "" if there is none.
    caveat: str = ""

    @property
    def read(self) -> "Callable[[Path, Part], Source]":
        """Import and return the reader function."""
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
    "noisy_digits": Dataset(
        title="noisy digits",
        about="1,797 grey 32x32 images, made from the digits of scikit-learn: shifted, cluttered, occluded and noisy",
        reader="search.datasets.noisy_digits:read_noisy_digits",
        classes=DIGIT_CLASSES,
        home=Path(),
        flip=False,
        caveat="digits of scikit-learn with clutter and noise: for demonstrations, not a benchmark",
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
        reader="search.datasets.folder:read_folder",
        classes=None,
        home=None,
        flip=True,
    ),
    MEMORY: Dataset(
        title="a data set in memory",
        about="tensors or a torch Dataset, passed to `launch` in Python as `data`",
        reader="search.datasets.memory:read_memory",
        classes=None,
        home=None,
        flip=True,
    ),
}


def dataset_named(name: str) -> Dataset:
    """The data set called `name`; raises InputError, which lists the data sets, for an unknown name."""
    if name not in DATASETS:
        raise InputError(f"no data set is named {name!r}; the data sets are {', '.join(DATASETS)}")
    return DATASETS[name]


def without_path() -> tuple[str, ...]:
    """Return the names of the data sets that do not need a path."""
    return tuple(name for name, dataset in DATASETS.items() if dataset.home is not None)
