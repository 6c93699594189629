"""The plan of a retraining: networks, and the settings that all of their trainings share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from search.data import DataSettings, Progress, SearchData, Split, load_search
from search.training.metrics import METRICS
from search.training.recipes import Recipe
from studies.export.images import scoring_images
from studies.export.resumable import check_training, images_identity, require_trainable, training_images
from threshnet import strict
from threshnet.errors import InputError, require
from threshnet.spec_file import ResolvedNetwork
from threshnet.strict import OneOf, Range


@dataclass(frozen=True)
class RetrainingPlan:
    """Networks to train with the same data, recipe and seeds."""

    # Different networks with different titles, all for images of the same size.
    networks: tuple[ResolvedNetwork, ...]
    data: DataSettings
    recipe: Recipe
    # Every network is trained with each seed. Of the exported network, the weights of the first seed are exported.
    seeds: Sequence[Annotated[int, Range(0, 2**32 - 1)]]
    # Whether images may be flipped horizontally. None selects the default of the data set.
    flip: bool | None = None
    # The error that is reported, see METRICS. With "balanced_error", the loss weights all classes equally.
    metric: Annotated[str, OneOf(METRICS)] = "error"
    # Whether the validation images are held out. Otherwise networks train on them too and have no validation error.
    held_out: bool = True
    # Whether every trained network is scored on the test images. Otherwise these are not read.
    tested: bool = True
    caveat: str = ""
    # The torch device for training.
    trains_on: str = "cpu"

    def __post_init__(self) -> None:
        strict.check(self)
        check_training(self.recipe, self.seeds)
        require(len(self.networks) > 0, "networks", self.networks, "a list of one or more networks")
        if not (self.held_out or self.tested):
            raise InputError(
                "networks that are trained on all images and not tested have no error: choose one of the two"
            )
        titles: set[str] = set()
        for network in self.networks:
            require_trainable(network, self.data)
            if network.title in titles:
                raise InputError(f"two different networks have the title {network.title!r}; rename one of their files")
            titles.add(network.title)

    @property
    def trainings(self) -> Iterator[tuple[int, ResolvedNetwork]]:
        """All trainings in their order: the first seed of every network, then the second one, and so on."""
        return ((seed, network) for seed in self.seeds for network in self.networks)

    @property
    def input_size(self) -> int:
        """Height and width of the images in pixels."""
        return self.networks[0].input_size


@dataclass(frozen=True)
class RetrainingImages:
    """The images of a retraining."""

    search: SearchData
    # The images to train on.
    train: Split
    # The images for the validation error; None if they are trained on.
    validation: Split | None
    # The test split; None if nothing is scored on it.
    test: Split | None
    # The identity of the images that are trained on, with `flip` and whether validation images are held out.
    identity: dict[str, Any]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Lines about the images, without duplicates."""
        return tuple(dict.fromkeys((*self.search.remarks, *(self.test.remarks if self.test else ()))))


def load_images(plan: RetrainingPlan, progress: Progress) -> RetrainingImages:
    """Load the images of a plan. Raises InputError if some are missing or damaged."""
    images = load_search(plan.data, plan.input_size, progress)
    flip = images.flip if plan.flip is None else plan.flip
    return RetrainingImages(
        search=images,
        train=training_images(images, held_out=plan.held_out),
        validation=images.validation if plan.held_out else None,
        test=scoring_images(plan.data, plan.input_size, progress) if plan.tested else None,
        identity=images_identity(images, flip=flip) | {"held_out": plan.held_out},
    )


def settings_of(plan: RetrainingPlan, images: RetrainingImages) -> dict[str, dict[str, Any]]:
    """Return the settings that the trainings of a folder share, as JSON-serializable values."""
    return {
        "recipe": plan.recipe.stored,
        "data": {
            "title": plan.data.title,
            "input_size": plan.input_size,
            **images.identity,
            "test": None if images.test is None else len(images.test),
        },
        "objective": {"metric": plan.metric},
    }
