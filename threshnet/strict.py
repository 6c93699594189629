"""Strict reading and checking of records: one set of rules for dataclasses made in Python and read from TOML or JSON.

The annotations of a record state what each field may be: int, float (finite), str, bool, Path, Literal, a dataclass, a
tuple or Sequence of one of these, any of them or None, Annotated[int, Range(1, 64)] for a number within bounds,
Annotated[str, OneOf(DICT)] for a key of a dict, Annotated[tuple[...], Length(64, ...)] for a limited length, and
Annotated[A | B, Converted(A)] for what the record converts to an A. Lists are converted to tuples, whole numbers to
floats and texts to paths; a bool is not a number.
"""

import dataclasses
import math
import operator
import sys
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from threshnet.errors import InputError, shown

MAX_FLOAT = sys.float_info.max  # `abs(x) <= MAX_FLOAT` is false for NaN, infinities and ints too large for a float

Record = TypeVar("Record")
Read = Callable[[object], Any]
"""Checks a value and converts it to the type of its field; raises _Wrong."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Bounds of a number in a record, None for no bound; `below` needs `least`, `most` needs `least` or `above`."""

    least: float | None = None
    most: float | None = None
    # These two exclude their value.
    above: float | None = None
    below: float | None = None
    # What is counted or measured, in the plural: "seconds".
    unit: str = ""

    def holds(self, value: float) -> bool:
        """True if a number is within the bounds."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def text(self, number: str) -> str:
        """The allowed numbers, in words; `number` is "a number" or "a whole number"."""
        noun = f"{number} of {self.unit}" if self.unit else number
        if self.least is None:
            above = noun if self.above is None else f"{noun} above {self.above:g}"
            return above if self.most is None else f"{above}, at most {self.most:g}"
        if number == "a whole number" and self.most == self.least + 1:
            return f"{self.least:g} or {self.most:g}"
        if self.most is None and self.below is None:
            return f"{noun}, at least {self.least:g}"
        return f"{noun} from {self.least:g} to {f'{self.most:,}' if self.below is None else f'below {self.below:g}'}"


@dataclasses.dataclass(frozen=True, eq=False)
class OneOf:
    """The allowed values of a text in a record, e.g. the keys of a dict, looked up when the text is checked."""

    names: Collection[str]


@dataclasses.dataclass(frozen=True)
class Length:
    """The largest length of a tuple in a record, checked before its items; `label` stands in the message."""

    most: int
    label: str


@dataclasses.dataclass(frozen=True)
class Key:
    """The key of a field in a file and in messages, if it is not its name: Annotated[str, Key("training.device")]."""

    name: str


@dataclasses.dataclass(frozen=True)
class Converted:
    """The type of a field whose constructor accepts more: Annotated[Settings | str, Converted(Settings)].

    The record converts the value before it calls `check`.
    """

    kind: type


class _Wrong(Exception):  # noqa: N818 - turned into an InputError before anyone sees it
    """A value that is not allowed: its keys, outermost first, and the message that follows from them."""

    def __init__(self, message: Callable[[str], str]) -> None:
        super().__init__()
        self.message, self.keys = message, ""

    def below(self, key: str) -> "_Wrong":
        """The error with `key` (".name" or "[index]") prepended to its keys, for the enclosing record or list."""
        self.keys = key + self.keys
        return self

    def error(self, path: str) -> InputError:
        """The error to raise; `path` has the keys of the record in the document."""
        return InputError(self.message((path + self.keys).removeprefix(".")))


def read(
    document: object,
    record: type[Record],
    source: str = "",
    path: str = "",
    *,
    complete: bool = False,
    stored: bool = False,
) -> Record:
    """Read a dataclass from a table of JSON or TOML; raises InputError for unknown and missing keys and wrong values.

    `source` stands before every message (a file, a device), `path` before every key (the table within the document).
    Keys of fields with a default may be missing, unless the document must be `complete`. Of what an earlier version has
    `stored`, keys and types are checked and no other rule, so that no later rule makes it unreadable.
    """
    try:
        return cast("Record", _table(record, _Mode(complete, stored))(document))  # type: ignore[arg-type]
    except _Wrong as wrong:
        error = wrong.error(path)
        raise InputError(f"{source}: {error}" if source else str(error)) from None


def check(record: object, path: str = "") -> None:
    """Check every field of a dataclass against its annotation, in its __post_init__; raises InputError.

    `path` is the table in which the record stands in a file. Values are converted as in `read`.
    """
    for name, (key, read_value) in _fields(type(record), _Mode(python=True)).items():  # type: ignore[arg-type]
        value = getattr(record, name)
        try:
            found = read_value(value)
        except _Wrong as wrong:
            raise wrong.below(f".{key}").error(path) from None
        if found is not value:
            object.__setattr__(record, name, found)


def known(table: Mapping[str, object], allowed: tuple[str, ...], path: str = "") -> None:
    """Raise InputError for a key that is not allowed in the table at `path`."""
    for key in table:
        if key not in allowed:
            raise _unknown(str(key), allowed).error(path)


def plain(record: object) -> dict[str, Any]:
    """A dataclass as a JSON-serialisable dict; `read` parses it back."""
    return {field.name: _plain(getattr(record, field.name)) for field in dataclasses.fields(record)}  # type: ignore[arg-type]


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return plain(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


@dataclasses.dataclass(frozen=True)
class _Mode:
    """The mode in which a document is read."""

    # Whether keys of fields with a default are required.
    complete: bool = False
    # Whether bounds, lists of names and the rules of __post_init__ are skipped.
    stored: bool = False
    # Whether the values come from Python code, so that a record need not be a table.
    python: bool = False


@cache
def _fields(record: type, mode: _Mode) -> dict[str, tuple[str, Read]]:
    """The key in messages and the reader of each field of a dataclass."""
    found = {}
    for name, kind in get_type_hints(record, include_extras=True).items():
        key = next((extra.name for extra in getattr(kind, "__metadata__", ()) if isinstance(extra, Key)), name)
        found[name] = key, _reader(kind, mode)
    return found


@cache
def _table(record: type, mode: _Mode) -> Read:
    """The reader of a dataclass from a table of its fields."""
    fields = {field.name: field for field in dataclasses.fields(record)}
    required = [
        name
        for name, field in fields.items()
        if mode.complete or (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
    ]

    def read_table(value: object) -> object:
        if isinstance(value, record):
            return value
        if not isinstance(value, Mapping):
            raise _not(value, f"of type {record.__name__}" if mode.python else "a table of keys")
        for name in value:
            if name not in fields:
                raise _unknown(str(name), tuple(fields))
        for name in required:
            if name not in value:
                raise _missing(name)
        readers, found = _fields(record, mode), {}
        for name, item in value.items():
            key, read_item = readers[name]
            try:
                found[name] = read_item(item)
            except _Wrong as wrong:
                raise wrong.below(f".{key}") from None
        try:
            return _without_rules(record, found) if mode.stored else record(**found)
        except InputError as error:
            raise _nested(error) from None

    return read_table


def _without_rules(record: type[Record], values: Mapping[str, object]) -> Record:
    """A dataclass of these values, the others by default; its __post_init__ is not called."""
    made = object.__new__(record)
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        if field.name in values:
            value = values[field.name]
        else:
            value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        object.__setattr__(made, field.name, value)
    return made


def _reader(kind: Any, mode: _Mode) -> Read:  # noqa: ANN401 - a type or a generic alias of one
    """The reader of values of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner, *extras = arguments
        converted = next((extra for extra in extras if isinstance(extra, Converted)), None)
        if converted:
            return _reader(converted.kind, mode)
        for extra in () if mode.stored else extras:
            if isinstance(extra, OneOf):
                return _literal(extra.names)
            if isinstance(extra, Range):
                return _bounded(inner, extra)
            if isinstance(extra, Length):
                return _at_most(extra, _reader(inner, mode))
        return _reader(inner, mode)
    if origin in (Union, types.UnionType):
        (one,) = [argument for argument in arguments if argument is not types.NoneType]
        read_one = _reader(one, mode)
        return lambda value: None if value is None else read_one(value)
    if origin is Literal:
        return _of(str, "text") if mode.stored else _literal(arguments)
    if origin in (tuple, Sequence):
        return _tuple(arguments if origin is tuple else (*arguments, ...), mode)
    if dataclasses.is_dataclass(kind):
        return _table(cast("type", kind), mode)
    if kind is float:
        return _any_float if mode.stored else _bounded(float, Range())
    return {int: _bounded(int, Range()), bool: _of(bool, "true or false"), str: _of(str, "text"), Path: _path}[kind]


def _of(kind: type, allowed: str) -> Read:
    def read_value(value: object) -> object:
        if not isinstance(value, kind):
            raise _not(value, allowed)
        return value

    return read_value


def _bounded(kind: type, bounds: Range) -> Read:
    number = bounds.text("a whole number" if kind is int else "a number")

    def read_int(value: object) -> int:
        whole = _whole(value)
        if whole is None or not bounds.holds(whole):
            raise _not(value, number)
        return whole

    def read_float(value: object) -> float:
        if type(value) is float and math.isfinite(value) and bounds.holds(value):
            return value
        found = float(value) if isinstance(value, float) else _whole(value)
        if found is not None and abs(found) <= MAX_FLOAT and bounds.holds(found):
            return float(found)
        finite = not isinstance(value, float) or math.isfinite(value)
        raise _not(value, number if finite else number.replace("a number", "a finite number", 1))

    return read_int if kind is int else read_float


def _whole(value: object) -> int | None:
    """A whole number, NumPy's too; None for anything else, and for a bool."""
    if type(value) is int:
        return value
    return int(value) if type(value) is not bool and isinstance(value, Integral) else None


def _any_float(value: object) -> float:
    found = value if isinstance(value, float) else _whole(value)
    if found is None or (isinstance(found, int) and abs(found) > MAX_FLOAT):
        raise _not(value, "a number")
    return float(found)


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise _not(value, "a path")
    return Path(value)


def _literal(values: Collection[object]) -> Read:
    def read_value(value: object) -> object:
        if not isinstance(value, str) or value not in values:
            raise _not(value, f"one of {', '.join(map(str, values))}")
        return value

    return read_value


def _at_most(length: Length, read_items: Read) -> Read:
    def read_value(value: object) -> object:
        if isinstance(value, tuple | list) and len(value) > length.most:
            text = f"{length.label} = {len(value)}: must be 1 to {length.most}"
            raise _Wrong(lambda path: f"{path.rpartition('.')[0]}: {text}" if "." in path else text)
        return read_items(value)

    return read_value


def _tuple(kinds: tuple[Any, ...], mode: _Mode) -> Read:
    """The reader of a tuple of one type, of any or of a fixed length."""
    inner, length = _reader(kinds[0], mode), None if kinds[-1] is Ellipsis else len(kinds)
    assert len(set(kinds) - {Ellipsis}) == 1, "items of one type"
    allowed = "a list" if length is None else f"a list of {length} values"
    plain_kinds = {kinds[0]} if kinds[0] in (int, float, str, bool) else set()

    def read_value(value: object) -> tuple[object, ...]:
        if not isinstance(value, tuple | list | range) or length not in (None, len(value)):
            raise _not(value, allowed)
        whole = value if isinstance(value, tuple) else tuple(value)
        if plain_kinds.issuperset(map(type, whole)) and (plain_kinds != {float} or all(map(math.isfinite, whole))):
            return whole  # the common case: thousands of samples, or the links of many networks
        found, index = [], 0
        try:
            for index, item in enumerate(whole):  # noqa: B007 - read where an item is wrong
                found.append(inner(item))
        except _Wrong as wrong:
            raise wrong.below(f"[{index}]") from None
        return whole if all(map(operator.is_, found, whole)) else tuple(found)

    return read_value


def _not(value: object, allowed: str) -> _Wrong:
    def message(path: str) -> str:
        return f"{path} = {shown(value)}: must be {allowed}" if path else f"{shown(value)}: must be {allowed}"

    return _Wrong(message)


def _unknown(key: str, allowed: tuple[str, ...]) -> _Wrong:
    return _Wrong(lambda path: f"unknown key {shown(_joined(path, key))}; allowed are {', '.join(allowed)}")


def _missing(key: str) -> _Wrong:
    return _Wrong(lambda path: f"key {_joined(path, key)!r} is missing")


def _nested(error: InputError) -> _Wrong:
    """The error of a record, with its path in the document; many records name their own table."""
    text = str(error)
    return _Wrong(lambda path: text if not path or text.startswith(path) else f"{path}: {text}")


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
