"""How a latency is taken: what each setting may be, and how it is read back."""

import dataclasses
import json
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.latency.protocol import DEFAULT_PROTOCOL, Precision, Protocol
from threshnet.errors import InputError

SECONDS = ("warmup_s", "min_s", "max_s", "timeout_s")
FIELDS = [field.name for field in dataclasses.fields(Protocol)]


def test_the_defaults_are_the_documented_ones() -> None:
    assert Protocol().to_json() == {
        "threads": 1,
        "batch": 1,
        "precision": "fp32",
        "channels_last": False,
        "round_runs": 20,
        "discard": 4,
        "warmup_s": 0.3,
        "min_s": 1.0,
        "max_s": 2.0,
        "tolerance": 0.02,
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
    assert Protocol.from_json(json.loads(json.dumps(protocol.to_json()))) == protocol


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"threads": 0}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"batch": -3}, "at least 1"),
        ({"round_runs": 19}, "at least 20"),
        ({"discard": 0}, "at least 1"),
        ({"discard": 20}, "below round_runs = 20"),
        ({"round_runs": 30, "discard": 31}, "below round_runs = 30"),
        ({"tolerance": -0.01}, "a share, 0 or more"),
        *(({name: -1.0}, "a number of seconds, 0 or more") for name in SECONDS),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(change: dict[str, float], allowed: str) -> None:
    *_, (name, value) = change.items()
    expected = re.escape(f"protocol: {name} = {value!r}, must be ") + f".*{re.escape(allowed)}"
    for make in (lambda: Protocol(**change), lambda: Protocol.from_json(Protocol().to_json() | change)):  # type: ignore[arg-type]
        with pytest.raises(InputError, match=expected.replace("must be .*below", "must be below")):
            make()


@pytest.mark.parametrize("name", [*SECONDS, "tolerance"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} = {value!r}"):
        Protocol(**{name: value})
    with pytest.raises(InputError, match=f"{name} = {value!r}, must be float"):
        Protocol.from_json(Protocol().to_json() | {name: value})


@pytest.mark.parametrize("value", ["int8", "FP32", "", None, 16, ["fp16"]])
def test_a_precision_is_one_of_three(value: object) -> None:
    with pytest.raises(InputError, match=re.escape(f"precision = {value!r}, must be one of fp32, fp16, bf16")):
        Protocol(precision=value)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=re.escape(f"precision = {value!r}, must be 'fp32' or 'fp16' or 'bf16'")):
        Protocol.from_json(Protocol().to_json() | {"precision": value})


@pytest.mark.parametrize("name", FIELDS)
def test_json_has_every_key_with_its_type_and_no_other(name: str) -> None:
    document = Protocol().to_json()
    wrong = "1" if name != "precision" else 1
    for value in (wrong, None, [], {}):
        with pytest.raises(InputError, match=re.escape(f"here: {name} = {value!r}, must be ")):
            Protocol.from_json(document | {name: value}, "here")
    if name not in ("channels_last", "precision"):
        with pytest.raises(InputError, match=f"here: {name} = True"):  # a bool is no number
            Protocol.from_json(document | {name: True}, "here")
    if isinstance(document[name], int):
        with pytest.raises(InputError, match=f"here: {name} = 1.0"):
            Protocol.from_json(document | {name: 1.0}, "here")
    del document[name]
    with pytest.raises(InputError, match=f"here: missing keys '{name}'"):
        Protocol.from_json(document, "here")


def test_json_that_is_no_protocol_is_refused() -> None:
    with pytest.raises(InputError, match="here: unknown keys 'max_runs', 'min_runs'; it has threads, batch"):
        Protocol.from_json(Protocol().to_json() | {"min_runs": 3, "max_runs": 5}, "here")
    for document in (None, [], "fp32", 3):
        with pytest.raises(InputError, match=re.escape(f"protocol: {document!r}, must be a JSON object")):
            Protocol.from_json(document)


def test_whole_numbers_are_taken_for_seconds() -> None:
    read = Protocol.from_json(Protocol().to_json() | {"max_s": 2})
    assert (read.max_s, type(read.max_s)) == (2.0, float)


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 100_000},
        {"round_runs": 10**9},
        {"max_s": 1e12},
        {"timeout_s": 1e12},
        {"tolerance": 2.0},
        {"min_s": 3.0},
    ],
)
def test_what_could_never_end_is_refused(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(InputError, match=rf"protocol: {name} = .*, must be at most"):
        Protocol.from_json(Protocol().to_json() | change)
