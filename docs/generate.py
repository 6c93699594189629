"""Generate the parts of the documentation that come from code and from result files.

python -m docs.generate

They are written to docs/pages/generated/, which git ignores: tables of the keys of a study file, commands, attributes
and choices; the result tables and pictures. The pages include them (`--8<-- "NAME.inc"`).
"""

import inspect
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import click

from search import records
from search.datasets.named import DATASETS
from search.latency.devices.named import DEVICES, device_named
from search.samplers.named import SAMPLERS
from search.training.recipes import RECIPES, Recipe
from space import SPACES, size
from space.definition import CHOICES
from studies.cli import cli
from studies.cli.options import RenamedOption
from studies.spec import StudySpec
from studies.start.keys import Key, sentence, study_keys, toml
from threshnet.spec import StemSpec
from threshnet.units import UNITS

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "docs" / "pages" / "generated"
BENCHMARKS, STUDIES = ROOT / "benchmarks" / "results", ROOT / "studies" / "results"


def code(value: object) -> str:
    """A value of a study file as Markdown; nothing for a key without a default."""
    return "" if value is None else f"`{toml(value)}`"


def key_table(keys: Iterable[Key]) -> str:
    """Keys as a table."""
    rows = [(f"`{k.name}`", k.kind, k.words or code(k.default), k.meaning.replace("|", "\\|")) for k in keys]
    return table(("key", "type", "default", "meaning"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def walk_commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, by the names that a user types."""
    yield name, command
    if isinstance(command, click.Group):
        for each in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), each)
            if below is not None and not below.hidden:
                yield from walk_commands(below, f"{name} {each}")


def command_page(name: str, command: click.Command) -> str:
    """One command: usage, help and options."""
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    text = inspect.cleandoc(command.help or "")
    parts = [f"## `{name}` {{#{name.replace(' ', '-')}}}\n", f"```sh\n{usage}\n```\n", f"{escaped(text)}\n"]
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    rows = [option_row(each, context) for each in options]
    if rows:
        parts.append(table(("option", "value", "default", "meaning"), rows))
    return "\n".join(parts)


def option_row(option: click.Option, context: click.Context) -> tuple[str, str, str, str]:
    """One option: its names, value, default and meaning."""
    names = ", ".join(f"`{name}`" for name in (option.listed if isinstance(option, RenamedOption) else option.opts))
    value = "" if option.is_flag or option.count else option.make_metavar(context).replace("|", "\\|")
    shown = option.get_default(context) if option.show_default else None
    default = "required" if option.required else "" if shown in (None, False) else f"`{shown}`"
    if isinstance(option.type, click.IntRange | click.FloatRange) and not option.is_flag:
        value = f"{'whole number' if isinstance(option.type, click.IntRange) else 'number'}{_range(option.type)}"
    return names, value, default, escaped(option.help or "").replace("|", "\\|")


def _range(kind: "click.IntRange | click.FloatRange") -> str:
    low, high = kind.min, kind.max
    if high is None:
        return f", at least {low:,}" if low else ""
    return f", {low:,} to {high:,}"


def escaped(text: str) -> str:
    """Help text as Markdown: brackets are no links and no tags."""
    return text.replace("[", r"\[").replace("<", "&lt;")


def attribute_rows(module: ModuleType, heading: str) -> list[tuple[str, str]]:
    """(name, meaning) of the attributes below a heading comment of a module, up to the next empty line."""
    section = inspect.getsource(module).partition(f"# {heading}\n")[2].partition("\n\n")[0]
    rows = []
    for line in section.splitlines():
        constant, value, meaning = re.fullmatch(r'([A-Z_]+) = "(.*?)"(?:  # (.*))?', line).groups()  # type: ignore[union-attr]
        if not meaning:
            raise ValueError(f"{module.__name__}.{constant} has no comment: say what it means")
        rows.append((value, sentence(meaning).replace("|", "\\|")))
    return rows


ATTRIBUTES = {
    "trial": "The user attributes of a trial.",
    "system": "The system attributes of a trial.",
    "study": "The user attributes of a study.",
}


def attribute_table(rows: Iterable[tuple[str, str]]) -> str:
    """Attributes as a table."""
    return table(("attribute", "meaning"), [(f"`{name}`", meaning) for name, meaning in rows])


def recipe_table() -> str:
    """Every recipe, a column each."""
    names = [each.name for each in fields(Recipe) if each.name != "name"]
    rows = [(f"`{name}`", *(code(getattr(recipe, name)) for recipe in RECIPES.values())) for name in names]
    return table(("", *(f"`{name}`" for name in RECIPES)), rows)


def space_table() -> str:
    """Every built-in space, a column each."""
    rows: list[tuple[str, ...]] = [
        (f"`{name}`", *(", ".join(map(_value, getattr(space, name))) for space in SPACES.values())) for name in CHOICES
    ]
    sizes = [size(space) for space in SPACES.values()]
    rows.append(("parameter points", *(f"{each.points:.2g}" for each in sizes)))
    rows.append(("distinct networks", *(f"{each.networks:.2g}" for each in sizes)))
    return table(("", *(f"`{name}`" for name in SPACES)), rows)


def _value(value: object) -> str:
    if isinstance(value, StemSpec):
        pool = ", pool" if value.pool else ""
        return f"({value.widths[0]}, {value.widths[1]}; stride {value.stride}{pool})"
    return str(value).lower() if isinstance(value, bool) else str(value)


def sampler_table() -> str:
    """Every sampler."""
    return table(("`sampler`", "proposes"), [(f"`{name}`", each.about) for name, each in SAMPLERS.items()])


def unit_table() -> str:
    """Every block unit."""
    rows = [
        (f"`{name}`", unit.about, unit.text, unit.sources, "yes" if unit.has_bottleneck else "no")
        for name, unit in UNITS.items()
    ]
    return table(("unit", "is", "layer", "sources", "bottleneck width"), rows)


def data_table() -> str:
    """Every data set."""
    rows = [
        (
            f"`{name}`",
            each.about,
            "required" if each.home is None else "not used" if each.home == Path() else f"`{each.home}`",
            "yes" if each.flip else "no",
            each.caveat,
        )
        for name, each in DATASETS.items()
    ]
    return table(("data set", "images", "`path`", "flips allowed", "note shown with every number"), rows)


def device_table() -> str:
    """Every kind of device and its runtimes, the default first."""
    rows = [
        (
            ", ".join(f"`{form}`" for form in kind.forms),
            kind.about,
            ", ".join(f"`{runtime}`" for runtime in device_named(kind.example).runtimes),
        )
        for kind in DEVICES.values()
    ]
    return table(("device", "is", "runtimes"), rows)


def layers() -> str:
    """The layers inside `studies`, as the contract of import-linter orders them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (inside,) = (each["layers"] for each in contracts if each.get("containers") == ["studies"])
    return " → ".join(", ".join(f"`{module}`" for module in layer.split(" | ")) for layer in inside) + "\n"


def result(file: Path, pictures: str) -> str:
    """A result page to be included: without its title, one heading lower, its pictures under a prefix."""
    text = file.read_text(encoding="utf-8")
    text = re.sub(r"\A# .*\n", "", text)
    text = re.sub(r"^(#+) ", r"#\1 ", text, flags=re.MULTILINE)
    return re.sub(r"!\[(.*?)\]\(([^/)]+)\)", rf"![\1](../generated/{pictures}_\2)", text)


def pages() -> dict[str, str]:
    """Every generated part by its file name."""
    keys = study_keys(StudySpec(name="name"))
    found = {
        f"keys_{name or 'top'}.inc": key_table(k for k in keys if k.table == name) for name in {k.table for k in keys}
    }
    commands = [each for each in walk_commands(cli, "threshnet") if each[0] != "threshnet"]
    found["commands.inc"] = "\n".join(command_page(*each) for each in commands)
    found |= {
        f"attributes_{key}.inc": attribute_table(attribute_rows(records, text)) for key, text in ATTRIBUTES.items()
    }
    found |= {
        "samplers.inc": sampler_table(),
        "recipes.inc": recipe_table(),
        "units.inc": unit_table(),
        "spaces.inc": space_table(),
        "data_sets.inc": data_table(),
        "devices.inc": device_table(),
        "layers.inc": layers(),
    }
    found["program.inc"] = readme_program()
    found |= {f"{file.stem}.inc": file.read_text(encoding="utf-8") for file in sorted(BENCHMARKS.glob("*.md"))}
    found["comparison.inc"] = result(BENCHMARKS / "comparison" / "README.md", "comparison")
    studies = [folder for folder in sorted(STUDIES.iterdir()) if (folder / "trials.csv").is_file()]
    found["studies.inc"] = "\n".join(f"## {each.name}\n{result(each / 'README.md', each.name)}" for each in studies)
    found["shipped.inc"] = result(STUDIES / "shipped" / "README.md", "shipped")
    return found


def readme_program() -> str:
    """The Python program of the README, in its fence."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition("<!-- PROGRAM -->\n")[2].partition("<!-- /PROGRAM -->")[0]


def pictures() -> dict[str, Path]:
    """Every picture of the results by the name under which the pages show it."""
    found = {file.name: file for file in sorted(BENCHMARKS.glob("*.png"))}
    for folder in (BENCHMARKS / "comparison", *sorted(STUDIES.iterdir())):
        found |= {f"{folder.name}_{file.name}": file for file in sorted(folder.glob("*.png"))}
    return found


def main() -> None:
    """Write every generated part."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir(parents=True)
    for name, text in pages().items():
        (GENERATED / name).write_text(text, encoding="utf-8")
    for name, file in pictures().items():
        shutil.copyfile(file, GENERATED / name)


if __name__ == "__main__":
    main()
