"""Choices, spaces and limits: valid and invalid values."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from space import DEFAULT, SMALL_IMAGES, SPACES, Choice, Limits, Space, decode
from space.definition import Granularity
from threshnet import InputError, NetworkSpec, StemSpec
from threshnet.costs import count
from threshnet.named import dense_block
from threshnet.shapes import smallest_input

GRANULARITIES: tuple[Granularity, ...] = ("network", "block", "schedule", "layer")


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ((1, 2, 3), [1, 2, 3]),
        ((4,), [4]),
        ((4, 5, 6), [4, 5, 6]),
        ((0, 2), [0, 1]),
        ((8, 10, 12), [0, 1, 2]),
        ((1.0, 2.0), [0, 1]),
        ((False, True), [0, 1]),
        (("relu", "relu6"), [0, 1]),
        ((3, 2, 1), [0, 1, 2]),
    ],
)
def test_consecutive_integers_stand_for_themselves(values: tuple[Any, ...], codes: list[int]) -> None:
    choice = Choice(values)
    assert [choice.code(value) for value in values] == codes
    assert (choice.distribution.low, choice.distribution.high) == (codes[0], codes[-1])


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=20, unique=True).map(lambda v: tuple(sorted(v))))
def test_codes_and_values_are_one_to_one_and_in_order(values: tuple[int, ...]) -> None:
    choice = Choice(values)
    codes = [choice.code(value) for value in values]
    assert codes == list(range(choice.low, choice.low + len(values)))
    assert tuple(choice.value(code) for code in codes) == values


def test_a_value_that_is_not_allowed_has_no_code() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        Choice((0, 2)).code(3)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_parameter_names_depend_on_the_space_alone(granularity: Granularity) -> None:
    space = replace(DEFAULT, granularity=granularity)
    names = set(space.distributions())
    assert names == set(replace(space, blocks=(1, 6)).distributions())
    assert names == set(replace(space, layers=(1, 16)).distributions()) | {f"block{n}_layers" for n in range(1, 7)}
    thresholds = {
        "network": {"width_threshold"},
        "block": {f"block{n}_threshold" for n in range(1, 7)},
        "schedule": {f"block{n}_{x}" for n in range(1, 7) for x in ("threshold_first", "threshold_rest", "switch")},
        "layer": {f"block{n}_threshold{layer}" for n in range(1, 7) for layer in range(1, 17)},
    }[granularity]
    assert {name for name in names if "threshold" in name or "switch" in name} == thresholds


def test_a_fixed_choice_is_not_a_parameter() -> None:
    fixed = replace(DEFAULT, activations=("relu",), multipliers=(1.7,), head_dropouts=(0.0,))
    left = set(DEFAULT.distributions()) - set(fixed.distributions())
    assert left == {"activation", "head_dropout", *(f"block{n}_multiplier" for n in range(1, 7))}
    assert set(fixed.choices()) == set(DEFAULT.choices())


def test_built_in_spaces_are_found_by_name() -> None:
    assert SPACES == {"default": DEFAULT, "small-images": SMALL_IMAGES}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"granularity": "unit"}, "space.granularity = 'unit': must be one of network, block, schedule, layer"),
        ({"growths": ()}, r"space.growths = \[\]: must be a list of one or more different values"),
        ({"growths": (8, 8)}, r"space.growths = \[8, 8\]: must be a list of one or more different"),
        ({"growths": (10, 8)}, "space.growths = .* must be in ascending order"),
        ({"stems": ()}, r"space.stems = \[\]: must be a list of one or more different values"),
        ({"pools": (False, False)}, "space.pools"),
        ({"blocks": (0, 1)}, r"space.blocks\[0\] = 0: must be a whole number from 1 to 64"),
        ({"layers": (0, 1)}, r"space.layers\[0\] = 0: must be a whole number from 1 to 64"),
        ({"thresholds": (0, 4)}, r"space.thresholds\[1\] = 4: must be a whole number from 0 to 3"),
        ({"thresholds": (-1, 2)}, r"space.thresholds\[0\] = -1"),
        # What no network can be is refused here, not in the middle of a study.
        ({"layers": (1, 65)}, r"space.layers\[1\] = 65: must be a whole number from 1 to 64"),
        ({"growths": (0, 8)}, r"space.growths\[0\] = 0: must be a whole number from 1 to 8,192"),
        ({"transitions": (0, 8)}, r"space.transitions\[0\] = 0"),
        ({"bottleneck_widths": (0, 8)}, r"space.bottleneck_widths\[0\] = 0"),
        ({"multipliers": (1.0, 5.0)}, r"space.multipliers\[1\] = 5.0: must be a number from 1 to 4"),
        ({"units": ("conv", "separable")}, r"space.units\[1\] = 'separable': must be one of bottleneck, conv"),
        ({"outputs": ("last",)}, r"space.outputs\[0\] = 'last'"),
        ({"pools": (0, 1)}, r"space.pools\[0\] = 0: must be true or false"),
        ({"activations": ("gelu",)}, r"space.activations\[0\] = 'gelu'"),
        ({"block_dropouts": (0.0, 1.0)}, r"space.block_dropouts\[1\] = 1.0: must be a number from 0 to below 1"),
        ({"head_dropouts": (-0.1,)}, r"space.head_dropouts\[0\] = -0.1"),
        ({"classes": 1}, "space.classes = 1: must be a whole number from 2 to 1,000,000"),
        ({"stems": ((32, 64),)}, r"space.stems\[0\] = \[32, 64\]: must be of type StemSpec"),
        ({"stems": StemSpec()}, r"space.stems = StemSpec\(.*\): must be a list"),
        ({"layers": 3}, "space.layers = 3: must be a list"),
        ({"layers": (1, True)}, r"space.layers\[1\] = True: must be a whole number"),
        ({"multipliers": (1, 1.0)}, r"space.multipliers = \[1.0, 1.0\]: must be a list of one or more different"),
        ({"multipliers": (float("nan"),)}, r"space.multipliers\[0\] = nan: must be a finite number from 1 to 4"),
        ({"width_thresholds": (-1,)}, r"space.width_thresholds\[0\] = -1: must be a whole number, at least 0"),
        ({"name": None}, "space.name = None: must be text"),
    ],
)
def test_bad_spaces_are_refused_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        replace(DEFAULT, **fields)
    assert "\n" not in str(caught.value)


def test_lists_are_converted_to_tuples() -> None:
    lists: dict[str, Any] = {"layers": [1, 2], "multipliers": [1], "stems": [StemSpec()]}
    space = replace(DEFAULT, **lists)
    assert (space.layers, space.multipliers, space.stems) == ((1, 2), (1.0,), (StemSpec(),))
    hash(space)


@pytest.mark.parametrize(
    ("pools", "blocks", "stems", "pixels"),
    [
        ((False, True), (4, 5), DEFAULT.stems, 1),
        ((True,), (1, 2), (StemSpec(stride=1, pool=False),), 2),
        ((True,), (3,), (StemSpec(stride=1, pool=False), StemSpec()), 8),
        ((True,), (3,), (StemSpec(),), 29),
    ],
)
def test_some_network_accepts_the_smallest_input(
    pools: tuple[bool, ...], blocks: tuple[int, ...], stems: tuple[StemSpec, ...], pixels: int
) -> None:
    space = replace(DEFAULT, pools=pools, blocks=blocks, stems=stems)
    assert space.smallest_input == pixels
    networks = [decode(space, params) for params in _corners(space)]
    assert min(smallest_input(network) for network in networks) == pixels


def _corners(space: Space) -> Iterator[dict[str, int]]:
    """Parameters of the networks with the fewest and the most blocks, with and without pools, of every stem."""
    choices = space.choices()
    for stem, blocks, pool in product(range(len(space.stems)), (0, len(space.blocks) - 1), range(len(space.pools))):
        codes = {"stem": stem, "blocks": blocks} | {f"block{number}_pool": pool for number in range(1, 65)}
        yield {name: choice.low + codes.get(name, 0) for name, choice in choices.items()}


def test_limits_are_relative_excesses() -> None:
    costs = count(NetworkSpec((dense_block(2, 8, 16),)), 32)
    limits = Limits(params=costs.params, macs=costs.macs / 2, latency_ms=4.0)
    assert limits.of_costs(costs) == {"params": 0.0, "macs": 1.0}
    assert limits.of_latency(3.0) == {"latency_ms": -0.25}
    assert Limits(memory_bytes=costs.memory_bytes * 2).of_costs(costs) == {"memory_bytes": -0.5}
    assert Limits().of_costs(costs) == Limits().of_latency(1.0) == {}


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "1M"])
@pytest.mark.parametrize("field", ["params", "macs", "memory_bytes", "latency_ms"])
def test_limits_must_be_above_zero(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"limits.{field} = .*: must be a (finite )?number above 0"):
        Limits(**{field: value})
