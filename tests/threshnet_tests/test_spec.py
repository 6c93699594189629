"""Network specs: JSON, fingerprints, and a one-line error for every kind of bad input."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threshnet_tests.strategies import any_json, blocks, networks

from threshnet import NAMED, BlockSpec, InputError, NetworkSpec, StemSpec
from threshnet.schedules import CHAIN, DENSE, HARMONIC, LOG_DENSE, schedule


@settings(max_examples=60, deadline=None)
@given(networks())
def test_json_round_trip(spec: NetworkSpec) -> None:
    again = NetworkSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.fingerprint() == spec.fingerprint()


def test_json_may_omit_keys_with_defaults() -> None:
    block = {"links": [[0], [0, 1]], "growth": 8, "transition": 16}
    assert NetworkSpec.from_json({"blocks": [block]}) == NetworkSpec((BlockSpec(((0,), (0, 1)), 8, 16),))


BLOCK = BlockSpec(schedule((DENSE,) * 4), 16, 32, "bottleneck", 24, 1.7, "all", False)
NET = NetworkSpec((BLOCK, BLOCK), StemSpec((8, 16)), "relu", 0.1, 0.2, 10)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Layers 1 and 2 keep the same links under both thresholds.
        ({"links": schedule((HARMONIC,) * 2)}, {"links": schedule((DENSE,) * 2)}),
        ({"links": schedule((DENSE, CHAIN, CHAIN))}, {"links": schedule((CHAIN,) * 3)}),
        # A chain never widens.
        ({"links": schedule((CHAIN,) * 4), "multiplier": 1.7}, {"links": schedule((CHAIN,) * 4), "multiplier": 1.0}),
        ({"unit": "conv", "bottleneck_width": 24}, {"unit": "conv", "bottleneck_width": 0}),
        # 15 and 16 both round to 16 channels.
        ({"growth": 15, "multiplier": 1.0}, {"growth": 16, "multiplier": 1.0}),
        ({"growth": 2, "multiplier": 2}, {"growth": 2, "multiplier": 2.0}),
    ],
)
def test_equal_networks_written_differently_share_a_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = (replace(NET, blocks=(replace(BLOCK, **fields),)) for fields in (one, other))
    assert first.fingerprint() == second.fingerprint()
    if "growth" not in one:
        assert first == second


def test_negative_zero_does_not_change_the_fingerprint() -> None:
    assert replace(NET, head_dropout=-0.0).fingerprint() == replace(NET, head_dropout=0).fingerprint()


@pytest.mark.parametrize(
    "changed",
    [
        {"blocks": (BLOCK,)},
        {"stem": StemSpec((8, 18))},
        {"stem": StemSpec((10, 16))},
        {"stem": StemSpec((8, 16), stride=1)},
        {"stem": StemSpec((8, 16), pool=False)},
        {"activation": "relu6"},
        {"block_dropout": 0.0},
        {"head_dropout": 0.0},
        {"classes": 11},
        *(
            {"blocks": (BLOCK, replace(BLOCK, **fields))}
            for fields in (
                {"links": schedule((LOG_DENSE,) * 4)},
                {"links": schedule((DENSE,) * 5)},
                {"growth": 18},
                {"transition": 34},
                {"unit": "conv"},
                {"bottleneck_width": 26},
                {"multiplier": 1.3},
                {"output": "odd_and_last"},
                {"pool": True},
            )
        ),
    ],
)
def test_every_effective_field_changes_the_fingerprint(changed: dict[str, Any]) -> None:
    assert replace(NET, **changed).fingerprint() != NET.fingerprint()


def test_the_fingerprint_is_stable() -> None:
    assert len({spec.fingerprint() for spec in NAMED.values()}) == len(NAMED)
    # Studies store fingerprints, so a change here is a change of format.
    assert NAMED["threshnet79"].fingerprint() == "f615bde2fec37582"


@settings(max_examples=60)
@given(blocks())
def test_widths_are_even_and_grow_with_the_harmonic_links(block: BlockSpec) -> None:
    assert all(width >= 2 and width % 2 == 0 for width in block.widths)
    assert min(block.widths) == block.widths[0]  # layer 1 keeps one link
    assert block.outputs[-1] == block.depth
    assert (0 in block.outputs) == (block.output == "all")


def test_odd_and_last_outputs() -> None:
    outputs = [BlockSpec(schedule((CHAIN,) * n), 8, 8, output="odd_and_last").outputs for n in range(1, 6)]
    assert outputs == [(1,), (1, 2), (1, 3), (1, 3, 4), (1, 3, 5)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"links": ()}, r"depth \(layers of a block\) = 0: must be 1 to 64"),
        ({"links": schedule((CHAIN,) * 65)}, "depth .* = 65: must be 1 to 64"),
        ({"links": "0"}, "links = '0': must be a list"),
        ({"links": ((0,), (0,))}, r"links of layer 2 = \[0\]: must be ascending nodes from 0 to 1, 1 among them"),
        ({"links": ((0,), (1, 0))}, "links of layer 2"),
        ({"links": ((0,), (0, 0, 1))}, "links of layer 2"),
        ({"links": ((0,), (1, 2))}, "links of layer 2"),
        ({"links": ((-1, 0),)}, "links of layer 1"),
        ({"links": ((False,),)}, r"links\[0\]\[0\] = False: must be a whole number"),
        ({"links": ((),)}, "links of layer 1"),
        ({"links": (0,)}, r"links\[0\] = 0: must be a list"),
        ({"growth": 0}, "growth = 0: must be a whole number from 1 to 8,192"),
        ({"growth": 16.0}, "growth = 16.0"),
        ({"growth": True}, "growth = True"),
        ({"growth": 8193}, "growth = 8193"),
        ({"transition": -4}, "transition = -4"),
        ({"unit": "separable"}, "unit = 'separable': must be one of bottleneck, conv"),
        ({"unit": []}, "unit"),
        ({"bottleneck_width": 0}, "bottleneck_width = 0: must be 1 to 8192"),
        ({"multiplier": 0.9}, "multiplier = 0.9: must be a number from 1 to 4"),
        ({"multiplier": float("nan")}, "multiplier = nan"),
        ({"multiplier": 10**400}, "multiplier"),
        ({"multiplier": "1.7"}, "multiplier = '1.7'"),
        ({"output": "last"}, "output = 'last': must be one of all, odd_and_last"),
        ({"pool": 1}, "pool = 1: must be true or false"),
    ],
)
def test_bad_blocks_are_refused_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        replace(BLOCK, **fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("blocks", [], r"blocks \(their number\) = 0: must be 1 to 64"),
        ("blocks", {}, "blocks = {}: must be a list"),
        ("blocks", [7], r"blocks\[0\] = 7: must be a table of keys"),
        ("blocks", [{"links": [[0]], "growth": 8}], r"key 'blocks\[0\].transition' is missing"),
        (
            "blocks",
            [{"links": [[0]], "growth": 8, "transition": 8, "width": 1}],
            r"unknown key 'blocks\[0\].width'; allowed are links, growth, ",
        ),
        ("blocks", [{"links": [[1]], "growth": 8, "transition": 8}], r"blocks\[0\]: links of layer 1 = \[1\]: must be"),
        ("blocks", [{"links": "0", "growth": 8, "transition": 8}], r"blocks\[0\].links = '0': must be a list"),
        ("blocks", [{"links": [[0]], "growth": 0, "transition": 8}], r"blocks\[0\].growth = 0: must be a whole number"),
        ("stem", None, "stem = None: must be a table of keys"),
        ("stem", {"widths": [8]}, r"stem.widths = \[8\]: must be a list of 2 values"),
        ("stem", {"stride": 3}, "stem.stride = 3: must be 1 or 2"),
        ("stem", {"pool": 0}, "stem.pool = 0: must be true or false"),
        ("stem", {"kernel": 7}, "unknown key 'stem.kernel'; allowed are widths, stride, pool"),
        ("activation", "gelu", "activation = 'gelu': must be one of relu, relu6"),
        ("block_dropout", 1, "block_dropout = 1: must be a number from 0 to below 1"),
        ("head_dropout", -0.1, "head_dropout"),
        ("head_dropout", True, "head_dropout"),
        ("classes", 1, "classes = 1: must be a whole number from 2 to 1,000,000"),
        ("classes", 10.0, "classes"),
        ("depth", 3, "unknown key 'depth'; allowed are blocks, stem, "),
    ],
)
def test_bad_json_is_refused_in_one_line(key: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        NetworkSpec.from_json({**NET.to_json(), key: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "threshnet79", 3])
def test_json_that_is_not_a_network_is_refused(data: object) -> None:
    with pytest.raises(InputError, match=re.escape(f"{data!r}: must be a table of keys")):
        NetworkSpec.from_json(data)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_value_anywhere_is_a_network_or_an_input_error(data: st.DataObject) -> None:
    wrong = NET.to_json()
    place = data.draw(st.sampled_from((wrong, wrong["stem"], wrong["blocks"][1], wrong["blocks"][0]["links"])))
    key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = data.draw(any_json())
    problem = ""
    try:
        NetworkSpec.from_json(wrong)
    except InputError as error:
        problem = str(error)
    assert "\n" not in problem


@pytest.mark.parametrize("fields", [{"blocks": (1,)}, {"blocks": BLOCK}, {"stem": (8, 16)}])
def test_records_of_the_wrong_type_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(fields))):
        replace(NET, **fields)


def test_lists_are_taken_for_tuples() -> None:
    block = BlockSpec([[0], [0, 1]], 8, 16)  # type: ignore[arg-type]
    assert block == BlockSpec(((0,), (0, 1)), 8, 16)
    assert hash(NetworkSpec([block], StemSpec([8, 16]))) == hash(NetworkSpec((block,), StemSpec((8, 16))))  # type: ignore[arg-type]
