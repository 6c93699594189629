"""The commands that start studies: init, launch, demo."""

import json
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search.datasets.named import DATASETS
from search.latency.devices.named import device_forms
from search.samplers.named import SAMPLERS
from search.training.recipes import RECIPES
from studies.cli.options import (
    DATA,
    ERR,
    OUT,
    CommandFailed,
    Duration,
    as_json_option,
    file_option,
    next_text,
    print_next,
    runs_option,
    storage_option,
)
from studies.defaults import DEFAULT_RUNS
from studies.screen import Screen, duration_text
from threshnet.errors import InputError
from threshnet.units import UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import optuna
    from optuna.trial import FrozenTrial

    from search.run import OptunaCallback, Outcome
    from studies.library import Study
    from studies.start.dry_run import Plan

DEMO = "digits"  # the study of the demo
CHOICES = (
    f"A study file names its sampler ({', '.join(SAMPLERS)}), data set ({', '.join(DATASETS)}), "
    f"training recipe ({', '.join(RECIPES)}), block units ({', '.join(UNITS)}) and device ({device_forms()})."
)


@click.command(epilog=CHOICES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--device", default="cpu", show_default=True, help=f"Device to measure on: {device_forms()}.")
@click.option("--data", default="digits", show_default=True, help=DATA)
def init(file: Path, device: str, data: str) -> None:
    """Write a study file that explains every key.

    FILE must end in .toml and must not exist. The study has the same name. Its latency limit comes from a reading of a
    published network on the device.
    """
    if file.suffix != ".toml":
        raise InputError(f"{file}: must end in .toml")
    if file.exists():
        raise InputError(f"{file}: already exists; choose another name")
    if not file.parent.is_dir():
        raise InputError(f"{file}: cannot be written (no folder {file.parent})")

    from dataclasses import replace

    from search.data import as_settings
    from search.latency.devices.named import device_named
    from search.latency.protocol import MeasurementError
    from space import Limits
    from studies.start.study_file import FITS, find_images, latency_limit, study_file, suggested

    measured_on, settings = device_named(device), as_settings(data)
    images = find_images(settings)
    spec = suggested(file.stem, settings, images, measured_on)
    try:
        with Screen(OUT, str(file)) as screen:
            screen.doing(f"measuring {FITS} on {device}")
            limit_ms = latency_limit(spec, measured_on)
    except MeasurementError as failure:
        raise CommandFailed(f"{file} not written: {failure}") from None
    try:
        with file.open("x", encoding="utf-8") as content:
            content.write(study_file(replace(spec, limits=Limits(latency_ms=limit_ms))))
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror})") from None
    about = f"{images.text}; latency limit {limit_ms:g} ms, which {FITS} satisfies on {device}"
    _report(f"wrote {file}: {about}")
    if images.left_out:
        _report(images.left_out)
    print_next("launch", str(file), "--dry-run")
    print_next("launch", str(file))


@click.command(epilog=CHOICES)
@click.argument("spec")
@storage_option
@click.option("--trials", type=click.IntRange(min=1), help="Stop after this many networks were scored or failed.")
@click.option("--budget", type=float, help="Stop when the search cost reaches this many full trainings.")
@click.option("--until-plateau", is_flag=True, default=None, help="Stop once the front has plateaued.")
@click.option("--timeout", type=Duration(), help="Start no new network after this time, e.g. 2h.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Train on this ImageFolder tree instead of the data set of SPEC; later launches of the study use it again.",
)
@click.option("--caveat", help="Note shown with every reported number (needs --data).")
@file_option("--page", "Keep the page of the front current as trials end.")
@click.option("--dry-run", is_flag=True, help="Only estimate the duration, from readings and one short training.")
@runs_option
@as_json_option
def launch(
    spec: str,
    storage: str,
    trials: int | None,
    budget: float | None,
    until_plateau: bool | None,
    timeout: float | None,
    data: Path | None,
    caveat: str | None,
    page: Path | None,
    dry_run: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Create or resume a study.

    SPEC is a TOML file or the name of a built-in study. Press Ctrl-C to stop, and rerun the command to resume.
    """
    if caveat is not None and data is None:
        raise InputError("--caveat goes with --data")
    console = ERR if as_json else OUT
    changes: dict[str, Any] = {"data": data, "caveat": caveat or "", "trials": trials, "budget": budget}
    changes |= {"until_plateau": until_plateau}
    console.print(f"launching {spec}", highlight=False)  # before the imports, which take seconds
    with Screen(console, spec) as screen:
        if dry_run:
            plan = _plan(spec, storage, changes, screen)
        else:
            study, outcome = _run(spec, storage, changes, timeout, runs, page, screen)
    if dry_run:
        _report(plan.to_json() if as_json else plan_text(plan))
        if not as_json:
            more = {"timeout": timeout and f"{timeout:g}s", "page": page}
            print_next("launch", spec, *_typed(changes | more), storage=storage, runs=runs)
        return
    _report(_summary(study, outcome) if as_json else closing(study, outcome))
    if outcome.ended == "interrupted":
        sys.exit(130)
    if outcome.ended == "unreachable":
        raise CommandFailed(f"study {study.name!r}: {study.spec.device} cannot be reached; see the reasons above")
    if outcome.ended != "timeout" and not study.loaded.trained:
        raise CommandFailed(f"study {study.name!r}: no network was trained; see the reasons above")


def _run(
    spec: str,
    storage: str,
    changes: dict[str, Any],
    timeout_s: float | None,
    runs: Path,
    page: Path | None,
    screen: Screen,
    callbacks: "Sequence[OptunaCallback]" = (),
) -> "tuple[Study, Outcome]":
    """Launch a study and keep its page current."""
    from studies.library import launch
    from studies.report.page.live import LivePage

    live = LivePage(page, storage, runs, screen.print) if page else None
    callbacks = [*callbacks, *([live] if live else [])]
    study = launch(spec, storage, **changes, timeout_s=timeout_s, runs=runs, callbacks=callbacks, progress=screen)
    if live:
        live.write(study.optuna)
    assert study.outcome is not None  # it was launched
    return study, study.outcome


@click.command()
def demo() -> None:
    """Search on noisy digits and export the knee of the front.

    Takes about five minutes on two cores and downloads nothing. Writes the page of the front and a model folder below
    runs/digits. Press Ctrl-C to stop, and rerun the command to resume.
    """
    OUT.print("demo: search on noisy digits, write the front, export its knee", highlight=False)
    folder = DEFAULT_RUNS / Path(DEMO).stem
    page, model, storage = folder / "front.html", folder / "model", f"sqlite:///{folder / 'study.db'}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    with Screen(OUT, "demo") as screen:
        study, outcome = _run(DEMO, storage, {}, None, DEFAULT_RUNS, page, screen, [FrontLine(screen.print)])
    if outcome.ended == "interrupted":
        _report("stopped; rerun threshnet demo to resume")
        sys.exit(130)
    if not study.loaded.trained:
        raise CommandFailed("demo: no network was trained; see the reasons above")

    from studies.cli.export import checked_files, exported_model, fail_if_bad
    from studies.cli.tables import front_table, named_table
    from studies.export.folder import export_trial

    front = study.front()
    OUT.print(front_table(front.points))
    if front.points.named:
        OUT.print(named_table(front.points))
    lines = [*study.progress.sentences, *study.write(html=page, png=folder / "front.png")]
    chosen = "the knee" if front.points.knee else "the fastest network of the front"
    _report("\n".join([*lines, f"exporting {chosen}, {front.knee.title}"]))
    exported = exported_model(lambda: export_trial(study.loaded, front.knee.trial, model, lambda file: None), model)
    _report(f"{exported.text()}\nfiles in {model}:")
    fail_if_bad(model, checked_files(model, _report))
    _report(f"Look at {page} in a browser.")
    print_next("pareto", study.name, storage=storage)
    limit_ms = 1.1 * front.knee.metrics["latency_ms"]
    print_next("pick", study.name, "--max-latency", f"{limit_ms:.3g}ms", storage=storage)
    print_next("benchmark", str(model))
    free = next(file for number in count(1) if not (file := Path(f"mine{number if number > 1 else ''}.toml")).exists())
    print_next("init", str(free))


class FrontLine:
    """An Optuna callback that prints the front whenever it changes."""

    def __init__(self, tell: "Callable[[str], None]") -> None:
        self.tell, self.points = tell, list[tuple[float, float]]()

    def __call__(self, study: "optuna.Study", trial: "FrozenTrial") -> None:
        """Print the front if it differs from the front that was printed last."""
        from search.records import records
        from studies.fronts.front import nondominated

        points = sorted({each.point for each in nondominated([one for one in records(study) if one.competes])})
        if points != self.points:
            self.points = points
            shown = ", ".join(f"{error:.1f} % at {latency_ms:.2g} ms" for latency_ms, error in points)
            self.tell(f"front of {len(points)}: {shown}")


def _plan(spec: str, storage: str, changes: dict[str, Any], screen: Screen) -> "Plan":
    """Estimate the duration of a study. Raises CommandFailed if nothing can be measured or trained."""
    from search.latency.protocol import MeasurementError
    from search.run import counted
    from search.training.train import TrainingFailed
    from studies.start.dry_run import plan
    from studies.start.prepare import prepare
    from studies.storage import find_study

    prepared = prepare(spec, storage, **changes)
    images = prepared.images(screen.loading)
    for line in images.remarks:
        screen.print(line)
    existing = find_study(storage, prepared.spec.name)
    try:
        return plan(prepared.spec, prepared.task, images, counted(existing) if existing else 0, screen.doing)
    except (MeasurementError, TrainingFailed) as failure:
        raise CommandFailed(f"dry run of {prepared.spec.name!r}: {failure}") from None


def _typed(changes: dict[str, Any]) -> list[str]:
    """The options of a launch, as typed."""
    given = {f"--{name.replace('_', '-')}": value for name, value in changes.items() if value}
    return [word for option, value in given.items() for word in ([option] if value is True else [option, str(value)])]


def _report(result: dict[str, Any] | str) -> None:
    """Print a result: JSON, or lines."""
    if isinstance(result, str):
        OUT.print(result, highlight=False, soft_wrap=True)
    else:
        click.echo(json.dumps(result, indent=2))


def plan_text(plan: "Plan") -> str:
    """The size of a space, the cost of a network, and the time to the end of the study."""
    network, rungs = plan.cost, plan.cost.rungs
    times = [f"{duration_text(network.reading_s)} to measure it", f"{duration_text(network.training_s)} to train it"]
    if len(rungs) > 1:
        times.append(f"{duration_text(network.first_rung_s)} to the first rung ({rungs[0]} of {rungs[-1]} epochs)")
    least, most = duration_text(plan.least_s), duration_text(plan.most_s)
    size = f"{plan.left} of {plan.trials} networks left"
    if plan.budget is not None:
        size = f"a budget of {plan.budget:g} full trainings, for at most {plan.left} networks"
    left = most if len(rungs) == 1 else f"{least} (all stopped at the first rung) to {most} (all trained to the end)"
    return "\n".join(
        [
            f"space {plan.space}: {plan.size.points:.1e} points, {plan.size.networks:.1e} distinct networks",
            f"a random network, {network.macs / 1e6:.1f} M MACs, {network.latency_ms:.3g} ms: {', '.join(times)}",
            f"{size}: {left}",
        ]
    )


def closing(study: "Study", outcome: "Outcome") -> str:
    """The closing lines of a launch: its result and the next command."""
    from search.records import tally
    from search.run import MAX_REJECTED
    from search.volume import plural
    from space import size
    from studies.fronts.wording import untrained_text

    loaded, spec = study.loaded, study.spec
    ended = {
        "enough": "done.",
        "spent": "its training budget is spent.",
        "plateau": "its front has plateaued.",
        "timeout": "time limit reached; rerun the command to resume.",
        "stopped": "stopped by a callback; launch it again to resume.",
        "interrupted": "stopped; rerun the command to resume.",
        "unreachable": "stopped, its device cannot be reached; rerun the command to resume.",
        "fruitless": f"gave up: {MAX_REJECTED} consecutive duplicates or infeasible proposals.",
    }[outcome.ended]
    states = tally(loaded.records)
    so_far = f"{plural(loaded.trained, 'network')} trained"
    so_far += f", {states['stopped']} stopped early" if states["stopped"] else ""
    so_far += f", {states['failed']} failed" if states["failed"] else ""
    so_far += f", of {spec.trials}" if outcome.trials < spec.trials and spec.budget is None else ""
    runs = loaded.weights.parents[1]
    pareto = next_text("pareto", spec.name, "--html", "front.html", storage=study.storage, runs=runs)
    counted = size(spec.space)
    space = f"space {spec.space.name}: {counted.points:.1e} points, {counted.networks:.1e} distinct networks\n"
    following = f"\n{pareto}" if loaded.trained else ""
    untrained = untrained_text(loaded.records)
    summary = "".join(f"\n{sentence}" for sentence in study.progress.sentences) if loaded.trained else ""
    summary += f"\n{untrained}" if untrained else ""
    return f"{space}{spec.name}: {so_far}: {ended}{summary}{following}"


def _summary(study: "Study", outcome: "Outcome") -> dict[str, Any]:
    """The result of a launch as JSON data."""
    from search.records import tally

    states = tally(study.trials)
    counts = {state: states[state] for state in ("failed", "stopped")}
    return {"study": study.name, "ended": outcome.ended, "trained": study.loaded.trained, **counts}
