"""Consoles, options and the exception that the commands share."""

import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from search.datasets.named import without_path
from studies.defaults import DEFAULT_RUNS, DEFAULT_STORAGE, STORAGE_VARIABLE, default_storage
from threshnet.bounds import MAX_INPUT

# Names and paths may contain brackets, so markup is off. Width in characters, for output that is not a terminal.
OUT = Console(width=None if sys.stdout.isatty() else 110, markup=False)
ERR = Console(stderr=True, highlight=False, markup=False)

# Forms of NETWORK in help texts.
NETWORK = "a name, a JSON file, STUDY:TRIAL or STUDY:knee"
MEASURABLE = "a name, a JSON or ONNX file, STUDY:TRIAL, STUDY:knee, torchvision/NAME or timm/NAME"
# Forms of --data in help texts.
DATA = f"{', '.join(without_path())}, or the path of an ImageFolder tree."
PROGRAM = "threshnet"
MAX_SEED = 2**31 - 1
FORMER = "--on"  # the spelling of --backend and of export's --device before version 0.5

Command = Callable[..., Any]


class CommandFailed(click.ClickException):
    """A valid request that could not be carried out; one line, exit status 1."""


class RenamedOption(click.Option):
    """An option whose help lists the first spelling only; the former ones are still accepted."""

    @property
    def listed(self) -> list[str]:
        """The spellings that help and documentation list."""
        return self.opts[:1]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The help without the former spellings."""
        spellings, self.opts = self.opts, self.listed
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = spellings


def backend_option(text: str) -> Callable[[Command], Command]:
    """Add --backend: a device-and-runtime pair on which the study has readings."""
    return click.option("--backend", FORMER, "backend", cls=RenamedOption, help=text)


class StorageUrl(click.ParamType[str]):
    """The URL of a storage, kept as typed. A list of them has one entry if it comes from the environment."""

    name = "text"

    def split_envvar_value(self, rv: str) -> list[str]:
        """The only URL."""
        return [rv]


def storage_option(command: Command) -> Command:
    """Add --storage."""
    return click.option(
        "--storage",
        type=StorageUrl(),
        default=DEFAULT_STORAGE,
        show_default=True,
        envvar=STORAGE_VARIABLE,
        show_envvar=True,
        help="Optuna URL or journal:PATH.",
    )(command)


def runs_option(command: Command) -> Command:
    """Add --runs."""
    text = "Folder of the studies' weights."
    kind = click.Path(path_type=Path)
    return click.option("--runs", type=kind, default=DEFAULT_RUNS, show_default=True, help=text)(command)


def as_json_option(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def input_option(default: int | None, text: str = "Image size, pixels.") -> Callable[[Command], Command]:
    """Add --input."""
    size = click.IntRange(1, MAX_INPUT)
    return click.option("--input", "size", type=size, default=default, show_default=default is not None, help=text)


def file_option(flag: str, text: str) -> Callable[[Command], Command]:
    """Add an option that takes a file."""
    return click.option(flag, type=click.Path(dir_okay=False, path_type=Path), help=text)


def output_option(command: Command) -> Command:
    """Add -o."""
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("-o", "--output", type=kind, required=True, help="Folder to write.")(command)


def next_text(*words: str, storage: str | None = None, runs: Path = DEFAULT_RUNS) -> str:
    """The line that names the next command, `words` without the program and the options for storage and weights."""
    from studies.storage import hides_secret, place_options

    start, place = "Next", list[str]()
    if storage is not None and storage != default_storage() and hides_secret(storage):
        start, place = f"Next, with the storage in {STORAGE_VARIABLE}", place_options(DEFAULT_STORAGE, runs)
    elif storage is not None:
        place = place_options(storage, runs, default_storage())
    return f"{start}: {shlex.join([_program(), *words, *place])}"


def _program() -> str:
    """The program as it can be typed: its path if its environment is not active in the shell, as in `make demo`."""
    typed = sys.argv[0]
    return typed if Path(typed).name == PROGRAM and shutil.which(PROGRAM) is None else PROGRAM


def print_next(*words: str, storage: str | None = None, runs: Path = DEFAULT_RUNS) -> None:
    """Print the line that names the next command, see next_text."""
    OUT.print(next_text(*words, storage=storage, runs=runs), highlight=False, soft_wrap=True)


class Duration(click.ParamType[float]):
    """A time, e.g. 90s, 15m or 2h; a bare number is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Seconds, from the typed text."""
        number, unit = (value[:-1], value[-1]) if value.endswith(("s", "m", "h")) else (value, "s")
        try:
            seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
        except ValueError:
            seconds = 0.0
        if not seconds > 0:
            self.fail(f"{value!r}: must be a time, e.g. 90s, 15m or 2h", param, ctx)
        return seconds
