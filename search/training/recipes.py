"""Training recipes and their learning rate schedules."""

from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal

from threshnet import strict
from threshnet.errors import InputError
from threshnet.strict import Key, Range

WARM_SHARE = 0.2  # share of the one-cycle schedule during which the learning rate rises


@dataclass(frozen=True)
class Recipe:
    """All settings of a training except the network, the images and the seed."""

    # Name of the recipe that provides the default values of the other keys.
    name: Annotated[str, Key("recipe")]
    # Number of passes over the training images.
    epochs: Annotated[int, Range(1)]
    # Batch size, at least 2.
    batch: Annotated[int, Range(2)]
    # Optimizer. "nesterov": SGD with Nesterov momentum. "muon": Muon for the convolutions and AdamW for all other
    # weights, with the same learning rate.
    optimiser: Literal["adam", "adamw", "nesterov", "muon"]
    # Peak learning rate.
    learning_rate: Annotated[float, Range(above=0)]
    # Learning rate schedule. "published": the full rate until epoch 74, half until epoch 149, then a quarter.
    # "one_cycle": the rate rises over the first fifth of the training, then falls to zero.
    schedule: Literal["published", "one_cycle"]
    # Weight decay. It is not applied to norms and biases.
    weight_decay: Annotated[float, Range(0)]
    # Label smoothing, 0 to 1.
    label_smoothing: Annotated[float, Range(0, 1)]
    # Random horizontal flips. "always": for every data set; "where_allowed": only if the data set allows them (digits
    # does not).
    flip: Literal["always", "where_allowed"]
    # Maximum random translation in pixels. The border is reflected.
    shift: Annotated[int, Range(0, unit="pixels")]
    # Whether to evaluate and save an exponential moving average of the weights.
    averaged: bool
    # Whether to use the channels_last memory format, and bf16 autocast if the device supports bf16 natively.
    mixed: bool
    # Whether an image is flipped in every second epoch instead of at random. The first flips are random. No effect
    # without flips.
    alternating_flips: bool = False
    # Side of the grey square that covers a random part of each image in pixels, 0 for none.
    cutout: Annotated[int, Range(0, unit="pixels")] = 0
    # Whether the first convolution starts with filters that whiten patches of the training images.
    whitened: bool = False
    # Whether 3x3 convolutions start by passing on their first input channels.
    identity: bool = False

    @property
    def title(self) -> str:
        """The name of the recipe and the values that differ from the named recipe, without the number of epochs."""
        known = RECIPES.get(self.name, self)
        names = [field.name for field in fields(self) if field.name != "epochs"]
        changed = [f"{name} {getattr(self, name)}" for name in names if getattr(self, name) != getattr(known, name)]
        return f"{self.name} with {', '.join(changed)}" if changed else self.name

    @property
    def summary(self) -> str:
        """A short description of the recipe."""
        return f"{self.epochs} epochs of {self.optimiser} in batches of {self.batch}"

    @property
    def stored(self) -> dict[str, Any]:
        """All settings as checkpoints and model folders store them: those with a default only if they differ from it.

        What was written before a setting existed therefore matches a recipe that does not use it.
        """
        each = ((field, getattr(self, field.name)) for field in fields(self))
        return {field.name: value for field, value in each if field.default is MISSING or value != field.default}

    def image_passes(self, images: int) -> int:
        """Return the number of images processed in a full training on `images` images, without incomplete batches."""
        batch = min(self.batch, images)
        return self.epochs * (images // batch) * batch

    def __post_init__(self) -> None:
        strict.check(self, "training")


# The training published with ThreshNet: Adam, batch size 100, 200 epochs, only flips, images in [0, 1], full precision.
PUBLISHED = Recipe(
    name="published",
    epochs=200,
    batch=100,
    optimiser="adam",
    learning_rate=1e-3,
    schedule="published",
    weight_decay=0.0,
    label_smoothing=0.0,
    flip="always",
    shift=0,
    averaged=False,
    mixed=False,
)

# A short modern schedule that makes it affordable to train many networks in a search.
FAST = Recipe(
    name="fast",
    epochs=6,
    batch=128,
    optimiser="adamw",
    learning_rate=2e-3,
    schedule="one_cycle",
    weight_decay=0.05,
    label_smoothing=0.1,
    flip="where_allowed",
    shift=2,
    averaged=True,
    mixed=True,
)

# To add a recipe, write a record as above and an entry here.
RECIPES: dict[str, Recipe] = {
    PUBLISHED.name: PUBLISHED,
    FAST.name: FAST,
}


def recipe_named(name: str) -> Recipe:
    """Return the recipe called `name`; raises an InputError that lists the recipes if the name is unknown."""
    if name not in RECIPES:
        raise InputError(f"no recipe is named {name!r}; the recipes are {', '.join(RECIPES)}")
    return RECIPES[name]


def recipes_text() -> str:
    """Return the list of recipes as text: "a (...) or b (...)"."""
    return " or ".join(f"{name} ({recipe.summary})" for name, recipe in RECIPES.items())


def learning_rate(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """Return the learning rate of a step (from 0, with `steps` per epoch) in an epoch (from 1)."""
    match recipe.schedule:
        case "published":
            return recipe.learning_rate * (1.0 if epoch < 75 else 0.5 if epoch < 150 else 0.25)
        case "one_cycle":
            at = (epoch - 1 + (step + 0.5) / steps) / recipe.epochs
            return recipe.learning_rate * min(at / WARM_SHARE, (1 - at) / (1 - WARM_SHARE))
