"""The reference is complete: keys of a study file, commands, options, attributes and every choice by name."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
import pytest

from docs.generate import ATTRIBUTES, attribute_rows, pages, walk_commands
from search import records
from search.datasets.named import DATASETS
from search.latency.devices.named import DEVICES, device_named
from search.samplers.named import SAMPLERS
from search.training.recipes import RECIPES
from space import SPACES
from studies.cli import cli
from studies.spec import StudySpec, parse_spec
from studies.start.keys import comments, meaning, study_keys
from threshnet.errors import InputError
from threshnet.units import UNITS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "pages" / "reference"
TABLES = ("space", "limits", "data", "objective", "training", "latency")
GENERATED = pages()
COMMANDS = [each for each in walk_commands(cli, "threshnet") if each[0] != "threshnet"]


def allowed(table: str) -> set[str]:
    """List the keys that the parser allows in a table of a study file."""
    document: dict[str, Any] = {"name": "example", "trials": 1}
    document |= {table: {"nonsense": 1}} if table else {"nonsense": 1}
    with pytest.raises(InputError) as error:
        parse_spec(document)
    return set(str(error.value).partition("allowed are ")[2].split(", "))


@pytest.mark.parametrize("table", ["", *TABLES])
def test_every_key_of_a_study_file_is_documented(table: str) -> None:
    keys = {key.name for key in study_keys(StudySpec("example", 1)) if key.table == table}
    assert keys == allowed(table) - (set() if table else set(TABLES))


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    section = GENERATED["commands.inc"].partition(f"## `{name}` ")[2].partition("\n## ")[0]
    assert section
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert f"`{option.opts[0]}`" in section
            assert option.help, f"{name} {option.opts[0]} has no help"
        elif isinstance(option, click.Argument):
            assert option.make_metavar(click.Context(command)).strip("[].") in section


@pytest.mark.parametrize(("kind", "heading"), ATTRIBUTES.items())
def test_every_attribute_is_documented(kind: str, heading: str) -> None:
    assert len(attribute_rows(records, heading)) > 2
    page = (REFERENCE / "attributes.md").read_text()
    assert f'"attributes_{kind}.inc"' in page


def test_every_attribute_that_is_set_is_documented() -> None:
    values = {value for heading in ATTRIBUTES.values() for value, _ in attribute_rows(records, heading)}
    names = {name for name, value in vars(records).items() if isinstance(value, str) and value in values}
    stored = []
    for folder in ("search", "studies"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                    place = {"set_user_attr": 0, "set_trial_user_attr": 1}.get(call.func.attr)
                    stored += [] if place is None else [ast.unparse(call.args[place])]
    assert len(stored) > 15
    unknown = [each for each in stored if not names & set(re.findall(r"[A-Z_]{3,}", each)) and each != "key"]
    assert unknown == []


def test_every_state_of_a_trial_is_documented() -> None:
    page = (REFERENCE / "attributes.md").read_text().partition("### States")[2]
    assert [state for state in get_args(records.State) if f"`{state}`" not in page] == []


def test_every_choice_by_name_is_documented() -> None:
    page = (REFERENCE / "choices.md").read_text() + "".join(GENERATED.values())
    forms = [kind.forms[0] for kind in DEVICES.values()]
    runtimes = {runtime for kind in DEVICES.values() for runtime in device_named(kind.example).runtimes}
    for name in (*SAMPLERS, *DATASETS, *RECIPES, *SPACES, *UNITS, *forms, *runtimes):
        assert f"| `{name}`" in page, name


def test_comments_above_and_after_fields_are_read() -> None:
    assert comments(Example) == {
        "above": "Two lines above it.",
        "after": "after it",
        "bare": "",
        "both": "above and after",
    }
    with pytest.raises(ValueError, match=r"Example\.bare has no comment"):
        meaning(Example, "bare")


@dataclass
class Example:
    """A record."""

    # Two lines
    # above it.
    above: int
    after: str = "#"  # after it
    bare: int = 0
    # above
    both: int = 0  # and after
