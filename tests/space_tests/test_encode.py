"""Conversion between parameters and networks, in both directions."""

from dataclasses import replace
from itertools import product
from typing import Any

import optuna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from threshnet_tests.strategies import networks

from space import DEFAULT, SMALL_IMAGES, Space, contains, decode, effective_values, encode, suggest
from space.definition import Granularity
from threshnet import NAMED, InputError, NetworkSpec, StemSpec
from threshnet.schedules import CHAIN, DENSE, HARMONIC, kept_links, schedule

GRANULARITIES: tuple[Granularity, ...] = ("network", "block", "schedule", "layer")
SPECS = {name: replace(spec, classes=10) for name, spec in NAMED.items()}

# Few values, so that brute force can try all thresholds.
TINY = replace(
    DEFAULT,
    name="tiny",
    blocks=(1, 2),
    layers=(1, 2, 3, 4),
    width_thresholds=(16, 32, 64, 96),
    transitions=(32, 64),
    growths=(8, 16),
)


@st.composite
def points(draw: st.DrawFn, space: Space) -> dict[str, int]:
    """Any point of the space."""
    return {name: draw(st.integers(d.low, d.high)) for name, d in space.distributions().items()}


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("space", [DEFAULT, SMALL_IMAGES], ids=lambda space: space.name)
@pytest.mark.parametrize("name", SPECS)
def test_named_networks_are_in_the_spaces(name: str, space: Space, granularity: Granularity) -> None:
    space = replace(space, granularity=granularity)
    params = encode(space, SPECS[name])
    assert set(params) == set(space.distributions())
    decoded = decode(space, params)
    assert decoded == SPECS[name]
    assert decoded.fingerprint() == SPECS[name].fingerprint()
    assert contains(space, SPECS[name])


@pytest.mark.parametrize("granularity", GRANULARITIES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_effective_values_are_those_that_change_the_network(granularity: Granularity, data: st.DataObject) -> None:
    space = replace(TINY, granularity=granularity)
    spec = decode(space, data.draw(points(space)))
    params = encode(space, spec)
    changing = {
        name
        for name, d in space.distributions().items()
        if any(decode(space, params | {name: value}) != spec for value in range(d.low, d.high + 1))
    }
    found = effective_values(space, spec)
    assert {name.replace(".", "_") for name in found} == changing
    for name, value in found.items():
        if name != "stem":
            choice = space.choices()[name.replace(".", "_")]
            assert value == choice.value(params[name.replace(".", "_")])


def test_effective_values_have_readable_names() -> None:
    network = replace(SPECS["threshnet28"], blocks=SPECS["threshnet28"].blocks[:4])
    found = effective_values(replace(SMALL_IMAGES, units=("bottleneck", "conv")), network)
    assert found["blocks"] == 4
    assert found["block1.growth"] == network.blocks[0].growth
    assert found["block4.pool"] is network.blocks[3].pool
    assert found["stem"] == "32 and 64 channels, stride 2, max-pool"
    assert not any(name.startswith("block5") for name in found)
    assert ("block1.bottleneck_width" in found) == (network.blocks[0].unit == "bottleneck")


@pytest.mark.parametrize("granularity", GRANULARITIES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_points_survive_a_round_trip(granularity: Granularity, data: st.DataObject) -> None:
    space = replace(SMALL_IMAGES, granularity=granularity)
    params = data.draw(points(space))
    spec = decode(space, params)
    again = encode(space, spec)
    assert set(again) == set(params)
    assert decode(space, again) == spec
    assert encode(space, decode(space, again)) == again


THRESHOLD_NAMES = {
    "network": ("width_threshold",),
    "block": ("block1_threshold", "block2_threshold"),
    "schedule": tuple(f"block{n}_{x}" for n in (1, 2) for x in ("threshold_first", "threshold_rest", "switch")),
    "layer": tuple(f"block{n}_threshold{layer}" for n in (1, 2) for layer in range(1, 5)),
}


@pytest.mark.parametrize("thresholds", [(0, 1, 2, 3), (0, 2), (1, 3)])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_encode_gives_the_largest_thresholds(
    granularity: Granularity, thresholds: tuple[int, ...], data: st.DataObject
) -> None:
    """Compared with brute force over all thresholds that give the same block."""
    one_block = replace(TINY, granularity=granularity, thresholds=thresholds, blocks=(1,), layers=(1, 3, 4))
    params = data.draw(points(one_block))
    spec = decode(one_block, params)
    encoded = encode(one_block, spec)
    names = [name for name in THRESHOLD_NAMES[granularity] if name in encoded]
    deepest = spec.blocks[0].depth
    names = [name for name in names if granularity != "layer" or int(name[-1]) <= deepest]
    ranges = [range(d.low, d.high + 1) for d in (one_block.distributions()[name] for name in names)]
    same = [
        tried for tried in product(*ranges) if decode(one_block, encoded | dict(zip(names, tried, strict=True))) == spec
    ]
    assert tuple(encoded[name] for name in names) == max(same)
    if granularity == "layer":  # and no single layer's threshold can be larger either
        assert all(max(column) == encoded[name] for name, column in zip(names, zip(*same, strict=True), strict=True))


def test_dense_is_encoded_as_the_largest_threshold_with_its_links() -> None:
    """Layer 1 of a dense block is also a chain, and layer 2 is also harmonic."""
    spec = replace(SPECS["threshnet79"], blocks=SPECS["threshnet79"].blocks[:4])
    params = encode(replace(DEFAULT, granularity="layer"), spec)
    assert [params[f"block1_threshold{layer}"] for layer in range(1, 7)] == [3, 2, 0, 0, 0, 0]
    assert [params[f"block4_threshold{layer}"] for layer in range(1, 17)] == [3, 2] * 8
    assert encode(DEFAULT, spec)["block1_threshold"] == DENSE
    assert encode(DEFAULT, spec)["block4_threshold"] == HARMONIC


@pytest.mark.parametrize("thresholds", [(0, 2), (0,), (2,), (1, 3)])
@pytest.mark.parametrize("granularity", GRANULARITIES[1:])
def test_restricted_thresholds(granularity: Granularity, thresholds: tuple[int, ...]) -> None:
    space = replace(DEFAULT, granularity=granularity, thresholds=thresholds)
    for name, spec in SPECS.items():
        used = {DENSE, HARMONIC} if name.startswith("thresh") else {HARMONIC}
        if used <= set(thresholds):
            assert decode(space, encode(space, spec)) == spec
        elif not used & set(thresholds):
            assert not contains(space, spec)


@pytest.mark.parametrize("name", ["threshnet79", "threshnet95"])
def test_any_width_threshold_between_256_and_288_gives_the_paper_networks(name: str) -> None:
    space = replace(DEFAULT, granularity="network", width_thresholds=tuple(range(200, 400)))
    params = encode(space, SPECS[name])
    choice = space.choices()["width_threshold"]
    same = [
        threshold
        for threshold in choice.values
        if decode(space, params | {"width_threshold": choice.code(threshold)}) == SPECS[name]
    ]
    assert set(range(257, 289)) <= set(same)
    assert same == list(range(same[0], same[-1] + 1))
    assert choice.value(params["width_threshold"]) == same[-1]


@settings(max_examples=40, deadline=None)
@given(networks(max_blocks=3, max_depth=6), st.sampled_from(GRANULARITIES))
def test_encode_round_trips_or_raises_one_line(spec: NetworkSpec, granularity: Granularity) -> None:
    """The space allows all values of the network, so only the granularity can fail to express it."""
    space = replace(
        DEFAULT,
        granularity=granularity,
        classes=spec.classes,
        stems=(spec.stem,),
        blocks=tuple(range(1, 5)),
        width_thresholds=tuple(range(1, 100)),
        growths=tuple(range(1, 65)),
        transitions=tuple(range(1, 65)),
        bottleneck_widths=tuple(range(1, 65)),
        multipliers=(1.0, 1.3, 1.7, 2.0),
        block_dropouts=(0.0, 0.1, 0.5),
        head_dropouts=(0.0, 0.2),
    )
    message = refusal(space, spec)
    if message is None:
        assert decode(space, encode(space, spec)) == spec
    else:
        assert "\n" not in message
        assert "cannot express" in message or "no width threshold" in message
    if granularity == "layer":
        fits = [
            any(kept_links(layer, t) == nodes for t in range(4))
            for block in spec.blocks
            for layer, nodes in enumerate(block.links, start=1)
        ]
        assert (message is None) == all(fits)


def refusal(space: Space, spec: NetworkSpec) -> str | None:
    """The reason for which the space does not contain the network, or None."""
    try:
        encode(space, spec)
    except InputError as error:
        return str(error)
    return None


MIXED = schedule((DENSE, DENSE, DENSE, CHAIN, DENSE, CHAIN))
SWITCHED = schedule((DENSE,) * 4 + (CHAIN,) * 4)


@pytest.mark.parametrize(
    ("links", "expressed_by"),
    [
        (schedule((DENSE,) * 6), set(GRANULARITIES)),
        (schedule((CHAIN,) * 6), {"block", "schedule", "layer"}),
        (SWITCHED, {"schedule", "layer"}),
        (MIXED, {"layer"}),
        (((0,), (1,), (0, 2)), set()),
    ],
)
def test_each_granularity_expresses_its_links(links: tuple[tuple[int, ...], ...], expressed_by: set[str]) -> None:
    one = replace(SPECS["threshnet79"].blocks[0], links=links)
    spec = replace(SPECS["threshnet79"], blocks=(one, *SPECS["threshnet79"].blocks[1:]))
    for granularity in GRANULARITIES:
        space = replace(DEFAULT, granularity=granularity)
        assert contains(space, spec) == (granularity in expressed_by)
        if granularity in expressed_by:
            assert decode(space, encode(space, spec)) == spec
        else:
            message = (
                "no width threshold" if granularity == "network" else f"block 1: granularity '{granularity}' cannot"
            )
            with pytest.raises(InputError, match=message):
                encode(space, spec)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": 100}, "classes = 100: the space 'default' has 10"),
        ({"stem": StemSpec((8, 16))}, r"stem = StemSpec\(.*the space 'default' allows"),
        ({"head_dropout": 0.3}, r"head_dropout = 0.3: the space 'default' allows \[0.0, 0.1, 0.2\]"),
        ({"blocks": SPECS["threshnet79"].blocks[:2]}, r"blocks = 2: the space 'default' allows \[4, 5, 6\]"),
    ],
)
def test_a_value_outside_the_space_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(DEFAULT, replace(SPECS["threshnet79"], **fields))


def test_a_block_outside_the_space_is_named() -> None:
    blocks = SPECS["threshnet79"].blocks
    wider = replace(SPECS["threshnet79"], blocks=(*blocks[:2], replace(blocks[2], growth=33), *blocks[3:]))
    with pytest.raises(InputError, match="block3_growth = 33: the space 'default' allows"):
        encode(DEFAULT, wider)


def test_bad_parameters_are_named() -> None:
    params = encode(DEFAULT, SPECS["threshnet79"])
    with pytest.raises(InputError, match="parameter 'block7_layers' is not one of the space 'default'"):
        decode(DEFAULT, params | {"block7_layers": 3})
    with pytest.raises(InputError, match="parameter 'block1_layers' = 17: must be an integer from 1 to 16"):
        decode(DEFAULT, params | {"block1_layers": 17})
    values: list[Any] = [0, -1, 2.0, True, None]
    for value in values:
        with pytest.raises(InputError, match=f"'block1_layers' = {value}"):
            decode(DEFAULT, params | {"block1_layers": value})
    del params["stem"]
    with pytest.raises(InputError, match="parameter 'stem' of the space 'default' is missing"):
        decode(DEFAULT, params)


@settings(max_examples=20, deadline=None)
@given(points(SMALL_IMAGES), points(SMALL_IMAGES))
def test_parameters_of_missing_blocks_have_no_effect(params: dict[str, int], others: dict[str, int]) -> None:
    depth = SMALL_IMAGES.choices()["blocks"].value(params["blocks"])
    beyond = {name: value for name, value in others.items() if name.startswith("block") and name[5].isdigit()}
    beyond = {name: value for name, value in beyond.items() if int(name[5]) > depth}
    assume(beyond)
    assert decode(SMALL_IMAGES, params | beyond) == decode(SMALL_IMAGES, params)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_suggest_uses_all_parameters(granularity: Granularity) -> None:
    space = replace(DEFAULT, granularity=granularity)
    params = encode(space, SPECS["threshnet95"])
    trial = optuna.trial.FixedTrial(params)
    assert suggest(space, trial) == SPECS["threshnet95"]
    assert trial.params == params
    assert trial.distributions == space.distributions()


def test_suggest_follows_an_enqueued_trial() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(encode(DEFAULT, SPECS["hardnet85"]))
    assert suggest(DEFAULT, study.ask()) == SPECS["hardnet85"]
    trial = study.ask()
    spec = suggest(DEFAULT, trial)
    assert decode(DEFAULT, trial.params) == spec
    assert set(trial.params) == set(DEFAULT.distributions())
