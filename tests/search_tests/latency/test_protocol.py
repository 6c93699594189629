"""The measurement protocol: valid values of each setting, and reading it back."""

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.latency.protocol import DEFAULT_PROTOCOL, Precision, Protocol
from threshnet import strict
from threshnet.errors import InputError

SECONDS = ("warmup_s", "min_s", "max_s", "timeout_s")


def test_the_defaults_are_the_documented_ones() -> None:
    assert Protocol().to_json() == {
        "threads": 1,
        "batch": 1,
        "precision": "fp32",
        "channels_last": False,
        "round_runs": 20,
        "discard": 4,
        "warmup_s": 0.2,
        "min_s": 0.5,
        "max_s": 2.0,
        "tolerance": 0.02,
        "retakes": 3,
        "timeout_s": 300.0,
    }
    assert Protocol() == DEFAULT_PROTOCOL


@given(
    st.builds(
        Protocol,
        threads=st.integers(1, 64),
        batch=st.integers(1, 512),
        precision=st.sampled_from(get_args(Precision)),
        channels_last=st.booleans(),
        round_runs=st.integers(20, 200),
        discard=st.integers(1, 19),
        warmup_s=st.floats(0, 3600),
        min_s=st.floats(0, 5),
        max_s=st.floats(5, 3600),
        timeout_s=st.floats(0, 3600),
        tolerance=st.floats(0, 1),
    )
)
def test_json_round_trip_is_exact(protocol: Protocol) -> None:
    assert strict.read(json.loads(json.dumps(protocol.to_json())), Protocol) == protocol


def refused(**change: object) -> str:
    """The message that refuses a change of the defaults, made in Python or read from a table alike."""
    with pytest.raises(InputError) as made:
        Protocol(**change)  # type: ignore[arg-type]
    with pytest.raises(InputError) as read:
        strict.read(change, Protocol, path="latency")
    assert str(made.value) == str(read.value)
    return str(made.value)


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"threads": 0}, "a whole number from 1 to 1,024"),
        ({"threads": 100_000}, "a whole number from 1 to 1,024"),
        ({"threads": "1"}, "a whole number from 1 to 1,024"),
        ({"threads": True}, "a whole number from 1 to 1,024"),
        ({"batch": 1.0}, "a whole number from 1 to 65,536"),
        ({"batch": -3}, "a whole number from 1 to 65,536"),
        ({"round_runs": 19}, "a whole number from 20 to 10,000"),
        ({"round_runs": 10**9}, "a whole number from 20 to 10,000"),
        ({"discard": 0}, "a whole number from 1 to 9,999"),
        ({"discard": 20}, "below latency.round_runs = 20"),
        ({"round_runs": 30, "discard": 31}, "below latency.round_runs = 30"),
        ({"tolerance": -0.01}, "a number from 0 to 1"),
        ({"tolerance": 2}, "a number from 0 to 1"),
        ({"tolerance": float("nan")}, "a finite number from 0 to 1"),
        *(({name: -1.0}, "a number of seconds from 0 to 3,600") for name in SECONDS),
        *(({name: 1e12}, "a number of seconds from 0 to 3,600") for name in SECONDS),
        *(({name: [1]}, "a number of seconds from 0 to 3,600") for name in SECONDS),
        *(({name: float("inf")}, "a finite number of seconds from 0 to 3,600") for name in SECONDS),
        ({"min_s": 3}, "at most latency.max_s = 2.0"),
        ({"channels_last": 1}, "true or false"),
        *(
            ({"precision": value}, "one of fp32, fp16, bf16")
            for value in ("int8", "FP32", "", None, 16, ["fp16"], ("fp16",))
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change: dict[str, object], allowed: str) -> None:
    *_, (name, value) = change.items()
    value = 3.0 if value == 3 else list(value) if isinstance(value, tuple) else value
    assert refused(**change) == f"latency.{name} = {value!r}: must be {allowed}"


def test_whole_numbers_are_taken_for_seconds() -> None:
    for protocol in (Protocol(max_s=2), strict.read({"max_s": 2}, Protocol)):
        assert (protocol.max_s, type(protocol.max_s)) == (2.0, float)
