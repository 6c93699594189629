"""Strict reading of records: every type of field, every kind of error, and the location in its message."""

import json
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threshnet_tests.strategies import any_json

from threshnet import InputError, strict
from threshnet.errors import require, shown
from threshnet.strict import Key, OneOf, Range

NAMES = {"one": 1, "two": 2}
Share = Annotated[float, Range(0, 1)]


@dataclass(frozen=True)
class Inner:
    """A record in a record."""

    # Always there.
    size: Annotated[int, Range(1, 9)]
    word: Literal["red", "blue"] = "red"

    def __post_init__(self) -> None:
        strict.check(self, "inner")
        require(self.size != 7, "inner.size", self.size, "another number")


@dataclass(frozen=True)
class Outer:
    """Every type of field."""

    count: int
    text: str = "text"
    flag: bool = False
    share: Share = 0.5
    ratio: float = 1.0
    place: Path | None = None
    most: Annotated[float, Range(above=0, unit="seconds")] | None = None
    pair: tuple[int, int] = (1, 2)
    shares: tuple[Share, ...] = ()
    nested: tuple[tuple[float, ...], ...] = ()
    inner: Inner = Inner(1)
    inners: tuple[Inner, ...] = ()
    extra: Inner | None = None
    named: Annotated[str, OneOf(NAMES)] = "one"
    moved: Annotated[int, Key("table.there")] = 0
    made: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        strict.check(self)


FULL: dict[str, Any] = {
    "count": 3,
    "text": "other",
    "flag": True,
    "share": 1,
    "ratio": 2,
    "place": "images",
    "most": 3,
    "pair": [3, 4],
    "shares": [0, 0.5],
    "nested": [[1.0, 2.0], [3], []],
    "inner": {"size": 2},
    "inners": [{"size": 3, "word": "blue"}],
    "extra": None,
    "named": "two",
    "moved": 4,
    "made": ["a"],
}


def test_a_record_is_read_and_made_alike() -> None:
    read = strict.read(json.loads(json.dumps(FULL)), Outer)
    assert read == Outer(
        count=3,
        text="other",
        flag=True,
        share=1.0,
        ratio=2.0,
        place=Path("images"),
        most=3.0,
        pair=(3, 4),
        shares=(0.0, 0.5),
        nested=((1.0, 2.0), (3.0,), ()),
        inner=Inner(2),
        inners=(Inner(3, "blue"),),
        extra=None,
        named="two",
        moved=4,
        made=("a",),
    )
    assert read == Outer(**FULL | {"inner": Inner(2), "inners": [Inner(3, "blue")]})
    assert [type(value) for value in (read.share, read.ratio, read.most, read.nested[1][0])] == [float] * 4
    assert hash(read) == hash(Outer(**FULL))  # lists have become tuples
    with pytest.raises(FrozenInstanceError):
        read.count = 4  # type: ignore[misc]


def test_defaults_fill_what_is_missing_unless_all_is_asked_for() -> None:
    assert strict.read({"count": 1}, Outer) == Outer(1)
    with pytest.raises(InputError, match=r"^here: key 'text' is missing$"):
        strict.read({"count": 1}, Outer, "here", complete=True)
    with pytest.raises(InputError, match=r"^key 'inner\.word' is missing$"):
        strict.read(FULL, Outer, complete=True)


WRONG: list[tuple[dict[str, Any], str]] = [
    *(
        ({"count": value}, f"count = {value!r}: must be a whole number")
        for value in (None, 1.0, True, "1", [1], {"a": 1})
    ),
    *(({"text": value}, f"text = {value!r}: must be text") for value in (None, 1, b"a", ["a"])),
    *(({"flag": value}, f"flag = {value!r}: must be true or false") for value in (None, 0, "true")),
    *(({"share": value}, f"share = {value!r}: must be a number from 0 to 1") for value in (-0.1, 2, "0", True, None)),
    *(({"share": value}, f"share = {value!r}: must be a finite number from 0 to 1") for value in (float("nan"),)),
    *(({"ratio": value}, f"ratio = {value!r}: must be a finite number") for value in (float("inf"), float("-inf"))),
    ({"ratio": 10**400}, f"ratio = {'1' + 17 * '0'}...{19 * '0'}: must be a number"),
    ({"place": 3}, "place = 3: must be a path"),
    ({"most": 0}, "most = 0: must be a number of seconds above 0"),
    ({"pair": (1,)}, "pair = [1]: must be a list of 2 values"),
    ({"pair": (1, "2")}, "pair[1] = '2': must be a whole number"),
    ({"pair": "12"}, "pair = '12': must be a list of 2 values"),
    ({"shares": (0, 1, 2)}, "shares[2] = 2: must be a number from 0 to 1"),
    ({"shares": {0.5: 1}}, "shares = {0.5: 1}: must be a list"),
    ({"nested": [[1.0], [1.0, None]]}, "nested[1][1] = None: must be a number"),
    ({"nested": [[1.0], [1.0, float("nan")]]}, "nested[1][1] = nan: must be a finite number"),
    ({"inner": 3}, "inner = 3: must be a table of keys"),
    ({"inner": {"size": 3, "colour": 1}}, "unknown key 'inner.colour'; allowed are size, word"),
    ({"inner": {}}, "key 'inner.size' is missing"),
    ({"inner": {"size": 10}}, "inner.size = 10: must be a whole number from 1 to 9"),
    ({"inner": {"size": 7}}, "inner.size = 7: must be another number"),
    ({"inner": {"size": 1, "word": "green"}}, "inner.word = 'green': must be one of red, blue"),
    ({"inner": {"size": 1, "word": ["red"]}}, "inner.word = ['red']: must be one of red, blue"),
    ({"inners": [{"size": 1}, {"size": 0}]}, "inners[1].size = 0: must be a whole number from 1 to 9"),
    ({"inners": [{"size": 1}, {"size": 7}]}, "inners[1]: inner.size = 7: must be another number"),
    ({"inners": [3]}, "inners[0] = 3: must be a table of keys"),
    ({"extra": {"word": "red"}}, "key 'extra.size' is missing"),
    ({"named": "three"}, "named = 'three': must be one of one, two"),
    ({"named": ["one"]}, "named = ['one']: must be one of one, two"),
    ({"moved": "4"}, "table.there = '4': must be a whole number"),
    ({"made": [1]}, "made[0] = 1: must be text"),
    ({"text": ["\n"] * 2}, "text = ['\\n', '\\n']: must be text"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_value_is_named_alike_from_a_table_and_from_python(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as read:
        strict.read({"count": 1} | change, Outer)
    assert str(read.value) == message
    with pytest.raises(InputError) as read:
        strict.read({"count": 1} | change, Outer, "file.toml", "table")
    path = message.replace("'", "'table.", 1) if "key '" in message else f"table.{message}"
    assert str(read.value) == f"file.toml: {path}" or "inner.size = 7" in message
    if not isinstance(change.get("inner", {}), dict):
        message = message.replace("a table of keys", "of type Inner")
    if "inners" not in change:
        with pytest.raises(InputError) as made:
            Outer(**{"count": 1} | change)
        assert str(made.value) == message


def test_an_unknown_key_of_any_length_is_named_in_a_line() -> None:
    with pytest.raises(InputError) as caught:
        strict.read({"count": 1, "\n" + "x" * 500: 1}, Outer)
    assert str(caught.value).startswith("unknown key '\\nxxx")
    assert len(str(caught.value)) < 300
    with pytest.raises(InputError, match=r"^unknown key 'b\.c'; allowed are a$"):
        strict.known({"a": 1, "c": 2}, ("a",), "b")


@pytest.mark.parametrize("document", [None, [], "text", 3, True])
def test_what_is_no_table_is_refused(document: object) -> None:
    with pytest.raises(InputError, match=r"^here: .*: must be a table of keys$"):
        strict.read(document, Outer, "here")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FULL)), any_json())
def test_any_value_is_read_or_refused_in_one_line(key: str, value: object) -> None:
    message = ""
    try:
        strict.read(FULL | {key: value}, Outer)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 300


class Odd:
    """An object whose text cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, (2, 3)), "[1, [2, 3]]"),
        (list(range(20)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...]"),
        ("x" * 200, f"'{'x' * 37}...{'x' * 38}'"),
        (Path("a b"), f"{Path('a b')!r}"),
    ],
)
def test_values_are_shown_in_short(value: object, message: str) -> None:
    assert shown(value) == message


@pytest.mark.parametrize("value", [Odd(), 10**5000], ids=["odd", "huge"])
def test_a_value_without_a_text_is_shown_by_its_type(value: object) -> None:
    assert type(value).__name__ in shown(value)


@pytest.mark.parametrize(
    ("bounds", "whole", "message"),
    [
        (Range(), True, "a whole number"),
        (Range(1, 64), True, "a whole number from 1 to 64"),
        (Range(1, 2), True, "1 or 2"),
        (Range(1, 2), False, "a number from 1 to 2"),
        (Range(1, 1_000_000, unit="images"), True, "a whole number of images from 1 to 1,000,000"),
        (Range(2), True, "a whole number, at least 2"),
        (Range(above=0), False, "a number above 0"),
        (Range(0, below=1), False, "a number from 0 to below 1"),
    ],
)
def test_bounds_are_put_into_words(bounds: Range, whole: bool, message: str) -> None:
    assert bounds.text("a whole number" if whole else "a number") == message


def test_names_are_looked_up_when_a_value_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMES, "three", 3)
    assert Outer(1, named="three").named == "three"


def test_what_is_stored_is_read_without_the_rules_of_today() -> None:
    stored: dict[str, Any] = {"count": 3, "share": 7, "ratio": float("inf"), "pair": [1, 2]}
    stored |= {"inners": [{"size": 7}, {"size": 99, "word": "green"}], "named": "three"}
    read = strict.read(stored, Outer, "study", stored=True)
    assert (read.share, read.ratio, read.pair, read.text, read.made) == (7.0, float("inf"), (1, 2), "text", ())
    assert [(inner.size, inner.word) for inner in read.inners] == [(7, "red"), (99, "green")]
    assert read.named == "three"
    for wrong, message in (
        ({"count": "3"}, "study: count = '3': must be a whole number"),
        ({}, "study: key 'count' is missing"),
        ({"count": 3, "colour": 1}, "study: unknown key 'colour'; allowed are count, "),
        ({"count": 3, "ratio": 10**400}, "study: ratio = "),
    ):
        with pytest.raises(InputError, match=f"^{message}"):
            strict.read(wrong, Outer, "study", stored=True)


def test_plain_is_read_back() -> None:
    outer = Outer(**FULL | {"inner": Inner(2), "inners": [Inner(3)], "place": None})
    assert strict.read(json.loads(json.dumps(strict.plain(outer))), Outer, complete=True) == outer
