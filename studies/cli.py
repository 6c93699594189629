"""The command line: each command parses its options, calls one function and prints what came of it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from threshnet.errors import InputError

if TYPE_CHECKING:
    from studies.card import Story

STORAGE = "sqlite:///threshnet.db"
# Names and paths may hold brackets, so nothing is markup. Width in characters; a pipe has none of its own.
OUT = Console(width=None if sys.stdout.isatty() else 110, markup=False)
ERR = Console(stderr=True, highlight=False, markup=False)

Command = Callable[..., Any]


def main() -> None:
    """Entry point: bad input ends in one line and exit status 2, Ctrl-C in status 130."""
    try:
        cli(sys.argv[1:] or ["--help"], prog_name="threshnet", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        ERR.print("interrupted")
        sys.exit(130)
    except click.ClickException as error:
        _fail(error.format_message())
    except InputError as error:
        _fail(str(error))
    except BrokenPipeError:
        sys.exit(1)


def _fail(message: str) -> None:
    ERR.print(f"error: {' '.join(message.split())}", soft_wrap=True)
    sys.exit(2)


def _storage(command: Command) -> Command:
    text = "Optuna URL or journal:PATH."
    return click.option("--storage", default=STORAGE, show_default=True, help=text)(command)


def _runs(command: Command) -> Command:
    text = "Folder that holds the studies' weights."
    return click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help=text)(
        command
    )


def _json(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def _file(flag: str, text: str) -> Callable[[Command], Command]:
    return click.option(flag, type=click.Path(dir_okay=False, path_type=Path), help=text)


class _Duration(click.ParamType[float]):
    """A time such as 90s, 15m or 2h; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        number, unit = (value[:-1], value[-1]) if value.endswith(("s", "m", "h")) else (value, "s")
        try:
            seconds = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
        except ValueError:
            seconds = 0.0
        if not seconds > 0:
            self.fail(f"{value!r}: must be a time such as 90s, 15m or 2h", param, ctx)
        return seconds


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="threshnet-nas", prog_name="threshnet")
def cli() -> None:
    """Search threshold schedules of ThreshNets for image error and measured latency.

    Launch a study, look at its Pareto front, export a network of it as a model.
    """


@cli.command()
@click.argument("spec")
@_storage
@click.option("--trials", type=click.IntRange(min=1), help="Stop at so many trained networks, named ones included.")
@click.option("--timeout", type=_Duration(), help="Start no new network after this time, e.g. 2h.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Read an ImageFolder tree instead of the spec's data set."
)
@click.option("--caveat", help="Said beside every number, with --data.")
@_runs
def launch(
    spec: str,
    storage: str,
    trials: int | None,
    timeout: float | None,
    data: Path | None,
    caveat: str | None,
    runs: Path,
) -> None:
    """Create or resume the study of SPEC, a TOML file or the name of a built-in one.

    Ctrl-C stops cleanly; launching again goes on.
    """
    from dataclasses import replace

    from search.data import DataSettings
    from studies import study
    from studies.progress import Screen, closing
    from studies.spec import find_spec

    found = find_spec(spec)
    if data is not None:
        given = found.data
        settings = DataSettings("folder", data, given.train, given.validation, given.seed)
        found = replace(found, data=settings, flip=study.mirrors(found), caveat=caveat or found.caveat)
    elif caveat is not None:
        raise InputError("--caveat goes with --data")
    with Screen(OUT, found.name, trials or found.trials) as screen:
        loaded, outcome = study.launch(
            found,
            storage,
            trials=trials,
            timeout_s=timeout,
            runs=runs,
            watch=screen,
            progress=screen.loading,
        )
    OUT.print(closing(loaded, outcome, storage), highlight=False)
    if outcome.ended == "interrupted":
        sys.exit(130)


@cli.group(invoke_without_command=True)
@_storage
@_json
@click.pass_context
def studies(context: click.Context, storage: str, as_json: bool) -> None:
    """List the studies of a storage: trials by state, hypervolume, last activity."""
    if context.invoked_subcommand:
        return
    from dataclasses import asdict

    from studies.listing import list_studies
    from studies.tables import studies_table

    listed = list_studies(storage)
    if as_json:
        click.echo(json.dumps([asdict(study) for study in listed], indent=2))
    else:
        OUT.print(studies_table(storage, listed))


@studies.command("copy")
@click.argument("study")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(study: str, source: str, target: str) -> None:
    """Copy a study from one storage to another; its weights stay where they are."""
    from studies.listing import copy_study

    copy_study(study, source, target)
    OUT.print(f"copied {study} to {target}", highlight=False)


@cli.command()
@click.argument("study")
@_storage
@_file("--html", "Write the front as one interactive page.")
@_file("--png", "Write the front as a picture; needs a Chrome or Chromium.")
@_file("--csv", "Write every trial as a table.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Write a results folder.")
@_json
@_runs
def pareto(
    study: str,
    storage: str,
    html: Path | None,
    png: Path | None,
    csv: Path | None,
    results: Path | None,
    as_json: bool,
    runs: Path,
) -> None:
    """Show the Pareto front of STUDY, its named networks, and what dominates each."""
    from studies import report
    from studies.front import front_json, front_of
    from studies.study import load
    from studies.tables import front_table, named_table

    loaded = load(study, storage, runs=runs)
    front = front_of(loaded)
    if as_json:
        click.echo(json.dumps(front_json(front), indent=2))
    else:
        OUT.print(front_table(front))
        if front.named:
            OUT.print(named_table(front))
        if front.caveat:
            OUT.print(f"Note: {front.caveat}.", highlight=False)
    for line in report.write(loaded, front, html=html, png=png, csv=csv, results=results):
        ERR.print(line, soft_wrap=True)


@cli.command()
@click.argument("study", required=False)
@click.option("--trial", type=int, help="Number of a trained trial of STUDY.")
@click.option("--knee", is_flag=True, help="The knee of STUDY's front.")
@click.option("--named", help="A named network, e.g. threshnet79.")
@_file("--config", "A network as JSON.")
@_file("--weights", "With --named or --config: a .safetensors of ours or an original repository's .pth.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write."
)
@click.option("--input", "size", type=click.IntRange(min=1), help="With --named or --config: image size [32].")
@click.option("--classes", type=click.IntRange(min=2), help="With --named: number of classes [10].")
@_storage
@_runs
def export(
    study: str | None,
    trial: int | None,
    knee: bool,
    named: str | None,
    config: Path | None,
    weights: Path | None,
    output: Path,
    size: int | None,
    classes: int | None,
    storage: str,
    runs: Path,
) -> None:
    """Write a model folder that runs without this project, each file reloaded and compared.

    The network is a trial of STUDY (--trial N or --knee), a named one, or one in a JSON file.
    """
    ways = [study is not None, named is not None, config is not None]
    if sum(ways) != 1 or (study is not None and (trial is None) == (not knee)):
        raise InputError("export what? STUDY --trial N, STUDY --knee, --named NAME or --config F.json")
    if study is not None and (weights or size or classes):
        raise InputError("--weights, --input and --classes go with --named or --config, not with a study")

    def done(file: str) -> None:
        OUT.print(f"{output / file}", highlight=False, soft_wrap=True)

    if study is not None:
        from studies.front import front_of
        from studies.ship import export_trial
        from studies.study import load

        loaded = load(study, storage, runs=runs)
        number = front_of(loaded).knee.number if trial is None else trial
        exported, story = export_trial(loaded, number, output, done)
    else:
        from studies.ship import export_network

        exported, story = export_network(str(named or config), weights, size or 32, classes, output, done)
    _tell_export(story, max(exported.differences.values()))


def _tell_export(story: "Story", difference: float) -> None:
    errors = [
        f"{kind} error {value:.2f} %"
        for kind, value in (("validation", story.validation_error), ("test", story.test_error))
        if value is not None
    ]
    what = ", ".join(errors) if story.trained_on else "untrained, random weights"
    OUT.print(f"{story.title}: {what}; every file agrees within {difference:.1g}", highlight=False)


@cli.command()
@click.argument("network")
@click.option("--device", default="cpu", show_default=True)
@click.option("--runtime", default="onnxruntime", show_default=True, help="onnxruntime or torch.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--input", "size", type=click.IntRange(min=1), default=32, show_default=True)
@_json
def measure(network: str, device: str, runtime: str, batch: int, threads: int, size: int, as_json: bool) -> None:
    """Measure the latency of NETWORK, a name or a JSON file, in a process of its own."""
    from search.latency.devices import measure_on
    from search.latency.timing import MeasurementError, Protocol
    from studies.networks import read_network
    from studies.tables import latency_table

    name, spec = read_network(network, classes=10)
    try:
        reading = measure_on(device, spec, size, runtime, Protocol(threads=threads, batch=batch))
    except MeasurementError as error:
        raise click.ClickException(f"could not measure {name}: {error}") from None
    if as_json:
        interval = {"low_ms": reading.low_ms, "high_ms": reading.high_ms}
        click.echo(json.dumps({"network": name, **reading.to_json(), **interval}, indent=2))
    else:
        OUT.print(latency_table(name, reading))


@cli.command()
@click.argument("networks", nargs=-1)
@click.option("--input", "size", type=click.IntRange(min=1), default=224, show_default=True)
@click.option("--classes", type=click.IntRange(min=2), help="Instead of each network's own number.")
@_json
def costs(networks: tuple[str, ...], size: int, classes: int | None, as_json: bool) -> None:
    """Count what NETWORKS cost (names or JSON files; all named ones if none), torchstat's columns included."""
    from dataclasses import asdict

    from studies.networks import read_network
    from studies.tables import costs_table
    from threshnet.costs import count
    from threshnet.named import NAMED

    found = [read_network(network, classes) for network in networks or tuple(NAMED)]
    rows = [(name, spec.classes, count(spec, size)) for name, spec in found]
    if as_json:
        click.echo(json.dumps([{"network": n, "classes": k, **asdict(c)} for n, k, c in rows], indent=2))
    else:
        OUT.print(costs_table(rows))


@cli.command()
@click.argument("network")
@click.option("--data", required=True, help="digits, cifar10, svhn, or the path of an ImageFolder tree.")
@click.option("--recipe", default="fast", show_default=True, help="published or fast.")
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--input", "size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write."
)
def train(network: str, data: str, recipe: str, epochs: int | None, seed: int, size: int, output: Path) -> None:
    """Train NETWORK, a name or a JSON file, on the whole training split; test error at the end.

    Stopped at any time, the same command goes on after the last finished epoch.
    """
    from studies.progress import Screen
    from studies.training import train_network

    with Screen(OUT, network) as screen:
        for line in train_network(network, data, recipe, epochs, seed, size, output, screen):
            OUT.print(line, highlight=False, soft_wrap=True)
