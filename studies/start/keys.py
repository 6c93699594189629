"""The keys of a study file, with types, defaults and meanings, read from the records that hold their values."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from search.data import DataSettings
from search.latency.protocol import Protocol
from search.training.recipes import Recipe
from space import Limits, Space
from space.definition import CHOICES
from studies.spec import StudySpec
from threshnet.spec import StemSpec
from threshnet.strict import OneOf

TOP = ("name", "trials", "budget", "until_plateau", "about", "seed", "sampler", "input_size")


@dataclass(frozen=True)
class Key:
    """One key of a study file."""

    # Name of its table, "" at the top level.
    table: str
    name: str
    # Its type as text, with values in backticks.
    kind: str
    # Its default value. None if it has none.
    default: object
    # The default in words, if it depends on other keys or if the key is required; otherwise "".
    words: str
    # What the key means, in sentences.
    meaning: str


def study_keys(spec: StudySpec) -> list[Key]:
    """Return all keys of a study file, table by table, with the values of `spec` as their defaults."""

    def key(table: str, record: type, name: str, default: object, words: str = "", called: str = "") -> Key:
        kind = kind_of(get_type_hints(record, include_extras=True)[name])
        return Key(table, called or name, kind, default, words, meaning(record, name))

    def of_table(table: str, record: type, values: object, words: str = "") -> list[Key]:
        left_out = {Space: ("name", "classes"), Recipe: ("name",), DataSettings: ("memory",)}.get(record, ())
        names = [each.name for each in fields(record) if each.name not in left_out]
        return [key(table, record, name, getattr(values, name), words) for name in names]

    required = {each.name for each in fields(StudySpec) if each.default is MISSING and each.default_factory is MISSING}
    base = "Name of the built-in space that the other keys change."
    return [
        *(key("", StudySpec, name, getattr(spec, name), "required" if name in required else "") for name in TOP),
        key("", StudySpec, "named", spec.named, "ThreshNet28, 79 and 95"),
        key("", StudySpec, "prior", spec.prior),
        Key("space", "base", "text", spec.space.name, "", base),
        key("space", Space, "name", spec.space.name, "the base's"),
        key("space", Space, "granularity", spec.space.granularity, "the base's"),
        *(key("space", Space, name, getattr(spec.space, name), "the base's") for name in CHOICES),
        *of_table("limits", Limits, spec.limits),
        *of_table("data", DataSettings, spec.dataset),
        key("data", StudySpec, "flip", spec.flip, "as the data set"),
        key("data", StudySpec, "caveat", spec.caveat, "the data set's"),
        key("objective", StudySpec, "metric", spec.metric),
        key("objective", StudySpec, "box", spec.box),
        key("objective", StudySpec, "max_error", spec.max_error, "that of naming the most frequent class"),
        key("objective", StudySpec, "min_latency_ms", spec.min_latency_ms, "that of the fastest network measured"),
        key("training", Recipe, "name", spec.recipe.name, called="recipe"),
        key("training", StudySpec, "trains_on", spec.trains_on, called="device"),
        key("training", StudySpec, "rungs", spec.rungs_in_use, "depends on the sampler"),
        *of_table("training", Recipe, spec.recipe, "the recipe's"),
        key("latency", StudySpec, "device", spec.device),
        key("latency", StudySpec, "runtimes", spec.runtimes, "the device's first"),
        *of_table("latency", Protocol, spec.protocol),
    ]


def kind_of(annotation: Any) -> str:  # noqa: ANN401 - any type annotation
    """Return a type as a reader of a TOML file knows it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        names = next((extra.names for extra in arguments if isinstance(extra, OneOf)), ())
        return ", ".join(f'`"{name}"`' for name in names) or kind_of(arguments[0])
    if origin in (Union, UnionType):
        return kind_of(next(each for each in arguments if each is not NoneType))
    if origin is Literal:
        return ", ".join(f"`{toml(value)}`" for value in arguments)
    if origin is tuple:
        item = kind_of(arguments[0])
        return f"list of {item if item.startswith('`') or item == 'true or false' else f'{item}s'}"
    plain = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", StemSpec: "table"}
    return plain[annotation]


def toml(value: object) -> str:
    """Return a value as it stands in a TOML file."""
    match value:
        case bool():
            return str(value).lower()
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False)
        case tuple():
            return f"[{', '.join(map(toml, value))}]"
        case StemSpec():
            return f"{{{', '.join(f'{each.name} = {toml(getattr(value, each.name))}' for each in fields(value))}}}"
        case _:
            return str(value)


def meaning(record: type, name: str) -> str:
    """Return the comment of a field as sentences. Raises ValueError if it has none."""
    text = comments(record)[name]
    if not text:
        raise ValueError(f"{record.__name__}.{name} has no comment: say what it means")
    return sentence(text)


def sentence(text: str) -> str:
    """Return a comment with a capital letter and a full stop."""
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def comments(record: type) -> dict[str, str]:
    """Return the comment of each field of a dataclass, by the name of the field; '' for a field without one."""
    source = textwrap.dedent(inspect.getsource(record))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    lines = source.splitlines()
    return {name: comment(lines, field) for name, field in named_fields(definition)}


def named_fields(definition: ast.ClassDef) -> Iterator[tuple[str, ast.AnnAssign]]:
    """Yield the annotated fields of a class with their names."""
    for field in definition.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            yield field.target.id, field


def comment(lines: Sequence[str], field: ast.stmt) -> str:
    """Return the comment above a field or on its line, given the lines of its source; '' if there is none."""
    above: list[str] = []
    for line in reversed(lines[: field.lineno - 1]):
        if not line.strip().startswith("#"):
            break
        above.insert(0, line.strip().removeprefix("#").strip())
    end = lines[(field.end_lineno or 0) - 1].encode()[field.end_col_offset or 0 :].decode()
    return " ".join(filter(None, [*above, end.partition("#")[2].strip()]))
