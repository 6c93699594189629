"""What may vary: a space is the list of values that each choice allows, and the granularity of the thresholds."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from optuna.distributions import IntDistribution

from threshnet.errors import InputError
from threshnet.schedules import CHAIN, DENSE
from threshnet.spec import MAX_LAYERS, Activation, BlockSpec, NetworkSpec, Output, StemSpec, Unit

Granularity = Literal["network", "block", "schedule", "layer"]
Value = Any  # what a choice yields: an int, float, str, bool or StemSpec


@dataclass(frozen=True)
class Choice:
    """One parameter of the search: an integer that stands for one of several values, smallest first.

    Integers keep the order of the values visible to samplers (GP, multivariate TPE). Consecutive integers stand for
    themselves; anything else is written as its index.
    """

    values: tuple[Value, ...]

    @property
    def low(self) -> int:
        """The integer that stands for the first value."""
        consecutive = all(type(v) is int for v in self.values) and self.values == tuple(
            range(self.values[0], self.values[0] + len(self.values))
        )
        return int(self.values[0]) if consecutive else 0

    @property
    def distribution(self) -> IntDistribution:
        """The integers as Optuna sees them."""
        return IntDistribution(self.low, self.low + len(self.values) - 1)

    def value(self, code: int) -> Value:
        """The value that the integer `code` stands for."""
        return self.values[code - self.low]

    def code(self, value: Value) -> int:
        """The integer that stands for `value`; ValueError where the choice does not allow it."""
        return self.values.index(value) + self.low


@dataclass(frozen=True)
class Space:
    """All networks that a study may propose. A field with one value is fixed and is no parameter.

    The set of parameter names depends on the space alone: where a network has fewer blocks or layers than the space
    allows, the parameters beyond them are without effect.
    """

    # Name of the space.
    name: str
    # Number of classes of every network; not a choice.
    classes: int
    # How fine thresholds are: one width threshold per network, one threshold per block, two and the layer where they
    # switch, or one per layer.
    granularity: Granularity
    # Stems: tables with `widths` (two numbers of channels), `stride` (1 or 2) and `pool` (true or false).
    stems: tuple[StemSpec, ...]
    # Activation functions.
    activations: tuple[Activation, ...]
    # Number of blocks.
    blocks: tuple[int, ...]
    # Number of layers of a block.
    layers: tuple[int, ...]
    # Connection thresholds, 0 (dense) to 3 (chain); for the granularities block, schedule and layer.
    thresholds: tuple[int, ...]
    # Width thresholds in channels: a block entered by fewer is dense, else harmonic; for the granularity network.
    width_thresholds: tuple[int, ...]
    # Units: what a layer is made of.
    units: tuple[Unit, ...]
    # Channels inside a bottleneck unit.
    bottleneck_widths: tuple[int, ...]
    # Factor by which each harmonic link beyond the first widens a layer.
    multipliers: tuple[float, ...]
    # Layers that a block hands on: all of them with its input, or the odd ones and the last.
    outputs: tuple[Output, ...]
    # Channels that a layer adds (growth rate).
    growths: tuple[int, ...]
    # Channels after a block's transition.
    transitions: tuple[int, ...]
    # Whether a 2x2 max-pool follows a block.
    pools: tuple[bool, ...]
    # Dropout probability on the last block's output.
    block_dropouts: tuple[float, ...]
    # Dropout probability before the linear layer.
    head_dropouts: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.granularity not in get_args(Granularity):
            allowed = ", ".join(get_args(Granularity))
            raise InputError(f"space.granularity = {self.granularity!r}: must be one of {allowed}")
        for name in CHOICES:
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise InputError(f"space.{name} = {list(values)}: must be a list of one or more different values")
            if name in ORDERED and list(values) != sorted(values):
                raise InputError(f"space.{name} = {list(values)}: must be in ascending order")
        if self.blocks[0] < 1 or self.layers[0] < 1:
            raise InputError("space.blocks and space.layers: a depth must be at least 1")
        if self.layers[-1] > MAX_LAYERS:
            raise InputError(f"space.layers = {list(self.layers)}: a block has at most {MAX_LAYERS} layers")
        if not all(DENSE <= t <= CHAIN for t in self.thresholds):
            raise InputError(f"space.thresholds = {list(self.thresholds)}: must lie between {DENSE} and {CHAIN}")
        for name in (*BLOCK_FIELDS, *NETWORK_FIELDS):
            try:
                self._try_values(name)
            except InputError as error:
                raise InputError(f"space.{name}: {error}") from None

    def choices(self) -> dict[str, Choice]:
        """Every choice by its parameter name, fixed ones included, always in the same order."""
        found = {
            "stem": Choice(self.stems),
            "activation": Choice(self.activations),
            "block_dropout": Choice(self.block_dropouts),
            "head_dropout": Choice(self.head_dropouts),
            "blocks": Choice(self.blocks),
        }
        if self.granularity == "network":
            found["width_threshold"] = Choice(self.width_thresholds)
        for number in range(1, self.blocks[-1] + 1):
            per_block = {
                "layers": self.layers,
                **self._threshold_values(),
                "unit": self.units,
                "bottleneck_width": self.bottleneck_widths,
                "multiplier": self.multipliers,
                "output": self.outputs,
                "growth": self.growths,
                "transition": self.transitions,
                "pool": self.pools,
            }
            found |= {f"block{number}_{name}": Choice(values) for name, values in per_block.items()}
        return found

    def distributions(self) -> dict[str, IntDistribution]:
        """Optuna's view: the distribution of every choice that is not fixed."""
        return {name: choice.distribution for name, choice in self.choices().items() if len(choice.values) > 1}

    def _try_values(self, name: str) -> None:
        """Put every value of a field into a network: what no network can be is refused before a study starts."""
        block = BlockSpec(links=((0,),), growth=1, transition=1, unit="bottleneck", bottleneck_width=1)
        network = NetworkSpec((block,))
        values = getattr(self, name)
        for value in values if isinstance(values, tuple) else (values,):
            if name in BLOCK_FIELDS:
                replace(block, **{BLOCK_FIELDS[name]: value})
            else:
                replace(network, **{NETWORK_FIELDS[name]: value})

    def _threshold_values(self) -> dict[str, tuple[int, ...]]:
        deepest = self.layers[-1]
        match self.granularity:
            case "network":
                return {}
            case "block":
                return {"threshold": self.thresholds}
            case "schedule":
                return {
                    "threshold_first": self.thresholds,
                    "threshold_rest": self.thresholds,
                    "switch": tuple(range(1, deepest + 1)),
                }
            case "layer":
                return {f"threshold{layer}": self.thresholds for layer in range(1, deepest + 1)}


# The fields of a Space that hold values to choose from, and those whose values have an order.
ORDERED = (
    "blocks",
    "layers",
    "thresholds",
    "width_thresholds",
    "bottleneck_widths",
    "multipliers",
    "growths",
    "transitions",
    "block_dropouts",
    "head_dropouts",
)
CHOICES = ("stems", "activations", *ORDERED, "units", "outputs", "pools")
# What the values of a Space's field are in a BlockSpec and in a NetworkSpec.
BLOCK_FIELDS = {
    "units": "unit",
    "bottleneck_widths": "bottleneck_width",
    "multipliers": "multiplier",
    "outputs": "output",
    "growths": "growth",
    "transitions": "transition",
    "pools": "pool",
}
NETWORK_FIELDS = {
    "classes": "classes",
    "stems": "stem",
    "activations": "activation",
    "block_dropouts": "block_dropout",
    "head_dropouts": "head_dropout",
}
