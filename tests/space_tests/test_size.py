"""The counted size of a space, compared with enumeration."""

import time
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from space import DEFAULT, SPACES, Size, Space, decode, size
from space.definition import Granularity
from threshnet import StemSpec

GRANULARITIES: tuple[Granularity, ...] = ("network", "block", "schedule", "layer")
ONE = replace(
    DEFAULT,
    name="one",
    stems=(StemSpec((8, 16)),),
    activations=("relu",),
    blocks=(1,),
    layers=(1,),
    thresholds=(2,),
    width_thresholds=(32,),
    units=("conv",),
    bottleneck_widths=(8,),
    multipliers=(1.7,),
    outputs=("all",),
    growths=(8,),
    transitions=(16,),
    pools=(False,),
    block_dropouts=(0.0,),
    head_dropouts=(0.0,),
)


def enumerated(space: Space) -> Size:
    """Count points and distinct fingerprints by decoding every point."""
    codes = {name: range(d.low, d.high + 1) for name, d in space.distributions().items()}
    points = list(product(*codes.values()))
    return Size(len(points), len({decode(space, dict(zip(codes, p, strict=True))).fingerprint() for p in points}))


WIDENED: list[dict[str, Any]] = [
    {},
    {"layers": (1, 2, 3), "thresholds": (0, 1, 2, 3)},
    {"layers": (3, 4), "thresholds": (0, 1, 2, 3), "growths": (7, 8)},  # 7 and 8 both round to 8
    # 1.0 and 1.1 times 5 to 8 round alike at some layers and not at others.
    {"layers": (1, 2, 4), "thresholds": (2, 3), "growths": (5, 6, 7, 8), "multipliers": (1.0, 1.1, 1.7)},
    {"layers": (2, 3), "thresholds": (0, 3), "units": ("bottleneck", "conv"), "bottleneck_widths": (8, 16)},
    {"layers": (1, 2), "outputs": ("odd_and_last", "all"), "pools": (False, True), "units": ("bottleneck",)},
    {
        "stems": (StemSpec((8, 16)), StemSpec((8, 32)), StemSpec((8, 16), pool=False)),
        "activations": ("relu", "relu6"),
        "block_dropouts": (0.0, 0.1),
        "head_dropouts": (0.0, 0.2),
        "thresholds": (0, 2),
        "layers": (2, 3),
        "width_thresholds": (8, 24, 64),
    },
    {"blocks": (1, 2), "layers": (2, 3), "thresholds": (0, 3), "transitions": (16, 32), "width_thresholds": (16, 32)},
    {
        "blocks": (1, 3),
        "layers": (1, 3),
        "thresholds": (1, 3),
        "transitions": (8, 24, 32),
        "width_thresholds": (8, 16, 17, 24, 25, 30, 40),
        "granularity": "network",
    },
    {"blocks": (2,), "layers": (3,), "transitions": (16, 32), "width_thresholds": (1, 2, 16, 17, 33, 90)},
    {"layers": (3, 6), "thresholds": (0, 1, 3), "multipliers": (1.0, 1.3)},
]


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("fields", WIDENED, ids=range(len(WIDENED)))
def test_the_count_equals_that_of_enumeration(fields: dict[str, Any], granularity: Granularity) -> None:
    space = replace(ONE, **{"granularity": granularity, **fields})
    assert size(space) == enumerated(space)


def some(values: tuple[Any, ...], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """One to `most` distinct values in their original order."""
    chosen = st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)
    return chosen.map(lambda subset: tuple(value for value in values if value in subset))


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "granularity": st.sampled_from(GRANULARITIES),
            "blocks": some((1, 2), 2),
            "layers": some((1, 2, 3, 4), 2),
            "thresholds": some((0, 1, 2, 3), 2),
            "width_thresholds": some((8, 12, 16, 20, 32, 40), 4),
            "multipliers": some((1.0, 1.1, 1.7), 2),
            "growths": some((1, 5, 6, 8), 2),
            "transitions": some((8, 16, 24), 2),
        }
    )
)
def test_any_small_space_is_counted_exactly(fields: dict[str, Any]) -> None:
    if fields["granularity"] in ("schedule", "layer"):
        fields["blocks"] = (1,)  # two blocks of theirs have too many points to enumerate
    space = replace(ONE, **fields)
    assert size(space) == enumerated(space)


def test_choices_without_effect_add_points_but_no_networks() -> None:
    chain = replace(ONE, layers=(4,), thresholds=(3,))
    more = replace(chain, multipliers=(1.0, 1.3, 1.7), bottleneck_widths=(8, 16))
    assert size(chain) == Size(1, 1)
    assert size(more) == Size(6, 1)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_built_in_spaces_are_counted_in_seconds(name: str, granularity: Granularity) -> None:
    start = time.thread_time()
    found = size(replace(SPACES[name], granularity=granularity))
    assert time.thread_time() - start < 10
    assert 10**30 < found.networks < found.points


def test_finer_granularities_contain_more_networks() -> None:
    block, schedule, layer = (size(replace(DEFAULT, granularity=g)).networks for g in GRANULARITIES[1:])
    assert block < schedule < layer
