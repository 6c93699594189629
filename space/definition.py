"""Search spaces: the values that each choice allows, and the granularity of the thresholds."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from optuna.distributions import IntDistribution

from threshnet import strict
from threshnet.errors import require
from threshnet.schedules import CHAIN, DENSE
from threshnet.shapes import smallest_input
from threshnet.spec import (
    MAX_BLOCKS,
    MAX_LAYERS,
    Activation,
    BlockSpec,
    Classes,
    Dropout,
    Multiplier,
    NetworkSpec,
    Output,
    StemSpec,
    Unit,
    Width,
)
from threshnet.strict import Range

Granularity = Literal["network", "block", "schedule", "layer"]
Value = Any  # what a choice yields: an int, float, str, bool or StemSpec


@dataclass(frozen=True)
class Choice:
    """One parameter of the search: an integer that encodes one of several values, smallest first.

    Integers show the order of the values to samplers (GP, multivariate TPE). Consecutive integers encode themselves;
    any other values are encoded by their index.
    """

    values: tuple[Value, ...]

    @property
    def low(self) -> int:
        """The integer that encodes the first value."""
        consecutive = all(type(v) is int for v in self.values) and self.values == tuple(
            range(self.values[0], self.values[0] + len(self.values))
        )
        return int(self.values[0]) if consecutive else 0

    @property
    def distribution(self) -> IntDistribution:
        """The integers as an Optuna distribution."""
        return IntDistribution(self.low, self.low + len(self.values) - 1)

    def value(self, code: int) -> Value:
        """Decode the integer `code`."""
        return self.values[code - self.low]

    def code(self, value: Value) -> int:
        """Encode `value`; raises ValueError if the choice does not allow it."""
        return self.values.index(value) + self.low


@dataclass(frozen=True)
class Space:
    """All networks that a study may propose. A field with one value is fixed and is no parameter.

    The set of parameter names depends on the space alone: if a network has fewer blocks or layers than the space
    allows, the parameters beyond them have no effect.
    """

    # Name of the space.
    name: str
    # Number of classes of every network; not a choice.
    classes: Classes
    # Granularity of the thresholds: one width threshold per network, one threshold per block, two per block and the
    # layer at which they switch, or one per layer.
    granularity: Granularity
    # Stems: tables with `widths` (two numbers of channels), `stride` (1 or 2) and `pool` (true or false).
    stems: tuple[StemSpec, ...]
    # Activation functions.
    activations: tuple[Activation, ...]
    # Number of blocks.
    blocks: tuple[Annotated[int, Range(1, MAX_BLOCKS)], ...]
    # Number of layers of a block.
    layers: tuple[Annotated[int, Range(1, MAX_LAYERS)], ...]
    # Connection thresholds, 0 (dense) to 3 (chain); for the granularities block, schedule and layer.
    thresholds: tuple[Annotated[int, Range(DENSE, CHAIN)], ...]
    # Width thresholds: a block with fewer input channels is dense, otherwise harmonic; for the granularity network.
    width_thresholds: tuple[Annotated[int, Range(0)], ...]
    # Units of the layers.
    units: tuple[Unit, ...]
    # Channels inside a bottleneck unit.
    bottleneck_widths: tuple[Width, ...]
    # Factor by which each harmonic link beyond the first widens a layer.
    multipliers: tuple[Multiplier, ...]
    # Outputs of a block: all layers and its input, or only the odd layers and the last one.
    outputs: tuple[Output, ...]
    # Channels that a layer adds (growth rate).
    growths: tuple[Width, ...]
    # Channels after a block's transition.
    transitions: tuple[Width, ...]
    # Whether a 2x2 max-pool follows a block.
    pools: tuple[bool, ...]
    # Dropout probability on the last block's output.
    block_dropouts: tuple[Dropout, ...]
    # Dropout probability before the linear layer.
    head_dropouts: tuple[Dropout, ...]

    def __post_init__(self) -> None:
        strict.check(self, "space")
        for name in CHOICES:
            values = getattr(self, name)
            different = len(values) > 0 and len(set(values)) == len(values)
            require(different, f"space.{name}", values, "a list of one or more different values")
            rising = name not in ORDERED or list(values) == sorted(values)
            require(rising, f"space.{name}", values, "in ascending order")

    @property
    def smallest_input(self) -> int:
        """The smallest square input, in pixels, that some network of the space accepts."""
        blocks = (BlockSpec(links=((0,),), growth=1, transition=1, pool=min(self.pools)),) * self.blocks[0]
        return min(smallest_input(NetworkSpec(blocks, stem)) for stem in self.stems)

    def choices(self) -> dict[str, Choice]:
        """Every choice by its parameter name, including fixed ones, always in the same order."""
        choices = {
            "stem": Choice(self.stems),
            "activation": Choice(self.activations),
            "block_dropout": Choice(self.block_dropouts),
            "head_dropout": Choice(self.head_dropouts),
            "blocks": Choice(self.blocks),
        }
        if self.granularity == "network":
            choices["width_threshold"] = Choice(self.width_thresholds)
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
            choices |= {f"block{number}_{name}": Choice(values) for name, values in per_block.items()}
        return choices

    def distributions(self) -> dict[str, IntDistribution]:
        """The Optuna distribution of every choice that is not fixed."""
        return {name: choice.distribution for name, choice in self.choices().items() if len(choice.values) > 1}

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


# The fields of a Space that list choices, and those whose values are ordered.
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
