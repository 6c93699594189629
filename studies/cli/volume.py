"""The command that shows hypervolume over search cost: volume."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from studies.cli.options import ERR, OUT, StorageUrl, as_json_option, file_option, runs_option
from studies.defaults import DEFAULT_STORAGE, STORAGE_VARIABLE
from threshnet.errors import InputError

if TYPE_CHECKING:
    from studies.study import LoadedStudy


@click.command()
@click.argument("studies", metavar="STUDY...", nargs=-1, required=True)
@click.option(
    "--storage",
    "storages",
    multiple=True,
    type=StorageUrl(),
    default=(DEFAULT_STORAGE,),
    show_default=True,
    envvar=STORAGE_VARIABLE,
    show_envvar=True,
    help="Optuna URL or journal:PATH, for all studies or one per study in the same order.",
)
@file_option("--png", "Write the curves as a picture; needs Chrome or Chromium.")
@as_json_option
@runs_option
def volume(
    studies: tuple[str, ...],
    storages: tuple[str, ...],
    png: Path | None,
    as_json: bool,
    runs: Path,
) -> None:
    """Show hypervolume over search cost.

    Shows how the hypervolume of the feasible networks grows with the search cost. The cost is the number of training
    images processed, in units of a full training of the first study. All studies use the box of the first study.
    """
    from dataclasses import asdict

    from search.records import reading
    from search.volume import curve, feasible_hypervolume, plateau
    from studies.cli.tables import volume_table
    from studies.fronts.wording import baselines_text, box_text
    from studies.storage import shown
    from studies.study import ended, full_training, load_study, require_trained, study_box
    from threshnet.strict import plain

    if len(storages) not in (1, len(studies)):
        raise InputError(f"--storage {len(storages)} times for {len(studies)} studies: once, or once per study")
    places = storages * len(studies) if len(storages) == 1 else storages
    keys = list(zip(studies, map(shown, places), strict=True))
    if len(set(keys)) < len(keys):
        raise InputError(f"{', '.join(studies)}: a study is named twice")
    alike = len(set(studies)) < len(studies)  # their names need the storage to tell them apart
    titles = [f"{name} ({place})" if alike else name for name, place in keys]
    loaded = {
        each: load_study(name, place, runs=runs) for each, name, place in zip(titles, studies, places, strict=True)
    }
    first = next(iter(loaded.values()))
    for title, study in loaded.items():
        require_trained(study, title)
    box, price = study_box(first), full_training(first)
    curves = {name: curve(ended(one), box) for name, one in loaded.items()}
    linear = {name: feasible_hypervolume(one.records, box.linear) for name, one in loaded.items()}
    linear_percent = {name: box.linear.percent(volume) for name, volume in linear.items()}
    judged = {name: plateau(steps) for name, steps in curves.items()}
    baselines = {
        name: baselines_text(reading(record) for record in one.records if record.trained)
        for name, one in loaded.items()
    }
    relative = f"in percent of the box of {studies[0]}: {box_text(box)}"
    caveats = dict.fromkeys([*(one.spec.caveat for one in loaded.values()), incomparable(list(loaded.values()))])
    caveat = "; ".join(each for each in caveats if each)
    if as_json:
        document = {
            "box": plain(box),
            "reference": {"latency_ms": box.max_latency_ms, "error_percent": box.max_error},
            "full_training": price,
            "caveat": caveat,
            "studies": {
                name: {
                    "plateau": asdict(judged[name]) | {"told": judged[name].summary},
                    "baseline": baselines[name],
                    "linear": {"hypervolume": linear[name], "hypervolume_percent": linear_percent[name]},
                    "curve": [asdict(step) for step in steps],
                }
                for name, steps in curves.items()
            },
        }
        click.echo(json.dumps(document, indent=2))
    else:
        OUT.print(volume_table(curves, linear_percent, price, relative))
        for name, one in judged.items():
            OUT.print(f"{name}: {one.summary}", highlight=False)
            OUT.print(f"{name}: {baselines[name]}", highlight=False)
        if caveat:
            OUT.print(f"Note: {caveat}.", highlight=False)
    if png:
        from studies.figures.chrome import NoChrome
        from studies.figures.files import write_picture
        from studies.figures.front import WIDTH
        from studies.figures.volume import volume_plot

        about = [
            f"Hypervolume of fully trained feasible networks {relative}. The cost includes stopped and failed trainings"
        ]
        chart = volume_plot(curves, price, [*about, *([f"Caveat: {caveat}"] if caveat else [])])
        try:
            png.parent.mkdir(parents=True, exist_ok=True)
            write_picture(chart, WIDTH, png)
            ERR.print(f"wrote {png}", soft_wrap=True)
        except NoChrome as reason:
            ERR.print(f"{png} not written: {reason}", soft_wrap=True)
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be written ({error.strerror})") from None


def incomparable(several: "Sequence[LoadedStudy]") -> str:
    """The reason why the hypervolumes of several studies are not comparable; '' if they are."""
    from studies.study import backends_of

    first = several[0]
    facts: dict[str, list[object]] = {
        "images": [one.images for one in several],
        "limits": [one.spec.limits for one in several],
        "recipes": [one.spec.recipe for one in several],
        "backends": [backends_of(one)[:1] for one in several],
    }
    differing = [name for name, values in facts.items() if any(value != values[0] for value in values)]
    return f"not comparable with {first.spec.name}: they differ in {', '.join(differing)}" if differing else ""
