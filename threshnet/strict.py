"""Strict parsing of JSON into frozen records: unknown keys, missing keys and wrong types are errors with a location."""

import dataclasses
import math
import sys
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from threshnet.errors import InputError

MAX_FLOAT = sys.float_info.max  # `abs(x) <= MAX_FLOAT` is false for NaN, infinities and ints too large for a float

Record = TypeVar("Record")


def read(document: object, record: type[Record], source: str) -> Record:
    """Parse a JSON object into a dataclass; raises InputError, naming `source`, for bad keys and types.

    Supports fields of type int, float (finite), str, bool, Literal, dataclass, homogeneous tuple, and each of these or
    None.
    """
    if not isinstance(document, Mapping):
        raise InputError(f"{source}: {document!r}, must be a JSON object")
    kinds = get_type_hints(record)
    for problem, keys in (("unknown", document.keys() - kinds.keys()), ("missing", kinds.keys() - document.keys())):
        if keys:
            raise InputError(
                f"{source}: {problem} keys {', '.join(sorted(map(repr, keys)))}; it has {', '.join(kinds)}"
            )
    return record(**{name: _value(document[name], kind, f"{source}: {name}") for name, kind in kinds.items()})


def plain(record: object) -> dict[str, Any]:
    """A dataclass as a JSON-serialisable dict; `read` parses it back."""
    return {field.name: _plain(getattr(record, field.name)) for field in dataclasses.fields(record)}  # type: ignore[arg-type]


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return plain(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _value(value: object, kind: Any, where: str) -> object:  # noqa: ANN401 - a type or a generic alias of one
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        (inner,) = [one for one in get_args(kind) if one is not type(None)]
        return None if value is None else _value(value, inner, where)
    if origin is Literal and value in get_args(kind):
        return value
    if origin is tuple and isinstance(value, list | tuple):
        inner = get_args(kind)[0]
        if inner is float and all(type(item) is float and math.isfinite(item) for item in value):
            return tuple(value)  # the common case, thousands of samples
        return tuple(_value(item, inner, f"{where}[{index}]") for index, item in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return read(value, kind, where)  # type: ignore[arg-type]
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_FLOAT:
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    allowed = " or ".join(map(repr, get_args(kind))) if origin is Literal else getattr(kind, "__name__", kind)
    raise InputError(f"{where} = {value!r}, must be {allowed}")
