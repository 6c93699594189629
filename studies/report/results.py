"""Reports about a study: page, figure, tables, and a results folder that records how each number was measured."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from search.progress import StudyProgress
from search.records import reading, tally
from search.training.metrics import METRICS
from space import size
from studies.defaults import DEFAULT_STORAGE
from studies.figures.chrome import NoChrome
from studies.figures.files import write_png
from studies.fronts.as_json import study_json
from studies.fronts.front import ParetoFront
from studies.fronts.moves import moves
from studies.fronts.wording import baselines_text, change_text, flag, latency_text, title, verdict, volume_text
from studies.report.page.file import write_report
from studies.study import LoadedStudy
from threshnet.errors import InputError
from threshnet.export.folder import README, protect_readme

MAX_LISTED = 20  # maximum number of front networks on the results page
MAX_FURTHER = 3  # maximum number of further backends on the results page


def write(
    loaded: LoadedStudy,
    fronts: Sequence[ParetoFront],
    progress: StudyProgress,
    *,
    storage: str = DEFAULT_STORAGE,
    html: Path | None = None,
    png: Path | None = None,
    csv: Path | None = None,
    folder: Path | None = None,
) -> Iterator[str]:
    """Write the requested files and yield a line for each of them, including a PNG that could not be drawn.

    `storage` appears in the export commands on the page. Raises InputError if a file cannot be written.
    """
    try:
        if html:
            html.parent.mkdir(parents=True, exist_ok=True)
            write_report(loaded, fronts, progress, html, storage)
            yield f"wrote {html}"
        if csv:
            csv.parent.mkdir(parents=True, exist_ok=True)
            trials_table(loaded).to_csv(csv, index=False, float_format="%.10g")
            yield f"wrote {csv}"
        if png:
            png.parent.mkdir(parents=True, exist_ok=True)
            yield _picture(fronts, png)
        if folder:
            protect_readme(folder, "front.json")
            folder.mkdir(parents=True, exist_ok=True)
            trials_table(loaded).to_csv(folder / "trials.csv", index=False, float_format="%.10g")
            (folder / "front.json").write_text(json.dumps(results_json(fronts, progress), indent=2) + "\n")
            settings = loaded.spec.to_json()
            settings["data"].pop("path", None)  # it would reveal folders of this machine
            conditions = {"spec": settings, "launches": loaded.environments}
            (folder / "environment.json").write_text(json.dumps(conditions, indent=2) + "\n")
            (folder / README).write_text(results_page(loaded, fronts, progress))
            yield _picture(fronts, folder / "figure.png")
            yield f"wrote {folder}"
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be written ({error.strerror})") from None


def results_json(fronts: Sequence[ParetoFront], progress: StudyProgress) -> dict[str, Any]:
    """Return the fronts and the progress of a study as JSON-ready values."""
    return study_json(fronts) | progress.to_json()


def trials_table(loaded: LoadedStudy) -> pd.DataFrame:
    """Return a table with one row for each trial, in order. For `state`, see search.records.State."""
    rows = []
    for record in loaded.records:
        row: dict[str, object] = {
            "trial": record.number,
            "state": record.state,
            "name": title(record) if record.named else "",
            "error_percent": record.error if record.trained else None,
            "latency_ms": record.latency_ms if record.trained else None,
        }
        for backend, latency in record.latency.items():
            row |= {
                f"{backend}: ms": latency.latency_ms,
                f"{backend}: low ms": latency.low_ms,
                f"{backend}: high ms": latency.high_ms,
                f"{backend}: ratio to the reference": latency.ratio[0],
                f"{backend}: relative iqr": latency.relative_iqr,
                f"{backend}: idle baseline ms": latency.reference_ms,
                f"{backend}: idle baseline": latency.used_baseline.text,
                f"{backend}: rescaled": latency.rescaled,
                f"{backend}: runs": latency.runs,
                f"{backend}: warnings": "; ".join(latency.warnings),
            }
        row |= {key: record.costs.get(key) for key in ("params", "macs", "memory_bytes")}
        row |= {
            "rungs": json.dumps(record.rungs) if record.rungs else "",
            "continues": record.continues,
            "image_passes": record.image_passes or None,
            "seconds": record.seconds,
            "schedule": record.schedule,
            "fingerprint": record.fingerprint,
            "network": json.dumps(record.network.to_json()) if record.network else "",
            "duplicate_of": record.duplicate_of,
            "reason": record.reason,
        }
        rows.append(row)
    table = pd.DataFrame(rows)
    runs = [column for column in map(str, table.columns) if column.endswith(": runs")]
    whole = ("params", "macs", "memory_bytes", "image_passes", "continues", "duplicate_of", *runs)
    return table.astype(dict.fromkeys(whole, "Int64"))


def results_page(loaded: LoadedStudy, fronts: Sequence[ParetoFront], progress: StudyProgress) -> str:
    """Return the README.md of a results folder: the search, its conditions and its fronts, in at most 60 lines."""
    front, spec, recipe = fronts[0], loaded.spec, loaded.spec.recipe
    plateau, *others = progress.sentences
    discovered = [record for record in front.trained if not record.named]
    example = reading(front.trained[0])
    flagged = sum(bool(reading(record).warnings) for record in front.trained)
    held_out = f"{spec.dataset.validation:,}" if spec.dataset.validation else "a fifth of the"
    error = f"{METRICS[spec.metric].prefix}error"
    given = spec.dataset.memory.validation if spec.dataset.memory else 0
    scored_on = f"{given:,} validation images" if given else f"{held_out} images held out of the training split"
    trained_on = f"{spec.dataset.train:,}" if spec.dataset.train else "all other"
    source = f' --data DIR --caveat "{spec.caveat}"' if spec.dataset.name == "folder" else ""
    counted = size(spec.space)
    several = len(loaded.environments) > 1
    launches = [(f", launch {n}" if several else "", one) for n, one in enumerate(loaded.environments, start=1)]
    latency_of = f"{example.runtime} {example.runtime_version}, {example.precision}, batch {example.batch}"
    lines = [
        f"# {spec.name}",
        "",
        *([f"{spec.about}."] if spec.about else []),
        *([f"**{front.caveat[0].upper()}{front.caveat[1:]}.**"] if front.caveat else []),
        "",
        f"![the front of {spec.name}](figure.png)",
        "",
        f"- Space: {counted.points:.1e} parameter points, {counted.networks:.1e} distinct networks, granularity "
        f"{spec.space.granularity}; sampler {spec.sampler}, seed {spec.seed}.",
        f"- Networks: {len(front.trained)} trained, {len(discovered)} of them discovered; "
        + ", ".join(f"{count} {state}" for state, count in tally(loaded.records).most_common())
        + ".",
        f"- {front.error_name.capitalize()}: on {scored_on}; n = 1 training per network, seed {spec.seed}, "
        f"so differences of a point or so are within noise. No test image was used.",
        f"- Training: recipe {recipe.title}, {recipe.epochs} epochs of {trained_on} images, "
        f"{spec.input_size}x{spec.input_size}, {spec.space.classes} classes.",
        f"- Latency: {latency_of}, {example.threads} thread(s), in a process of its own, in rounds of "
        f"{spec.protocol.round_runs} runs that alternate with the reference network's: their ratio, with its 95 % "
        f"interval, times the idle latency of the reference network ({baselines_text(map(reading, front.trained))}). "
        f"{flagged} of {len(front.trained)} readings are flagged (!): wide, unsteady, or taken on a busy device.",
        *(f"- Device{launch}: {_conditions(environment)}." for launch, environment in launches),
        f"- Hypervolume: {volume_text(front)}. {plateau}",
        f"- {' '.join(others)}",
        *_elsewhere(fronts),
        "",
        f"| on the front | {error} % | latency ms (95 % interval) | params M | MACs M |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {title(record)}{' (knee)' if record is front.knee else ''} | {record.error:.2f} | {latency_text(record)} | "
        f"{record.costs['params'] / 1e6:.3f} | {record.costs['macs'] / 1e6:.1f} |"
        for record in front.front[:MAX_LISTED]
    ]
    if len(front.front) > MAX_LISTED:
        lines.append(f"| and {len(front.front) - MAX_LISTED} more in front.json | | | | |")
    lines += ["", f"| named network | {error} % | latency ms | position |", "|---|---|---|---|"]
    lines += [
        f"| {title(p.record)} | {p.record.error:.2f} | {p.record.latency_ms:.3f}{flag(p.record)} | {verdict(p)} |"
        for p in front.named
    ]
    lines += [
        "",
        f"Made by `threshnet launch {spec.name}{source}` and `threshnet pareto {spec.name} --results DIR`.",
        "Every trial: trials.csv. Conditions and settings: environment.json.",
    ]
    return "\n".join(lines) + "\n"


def _conditions(environment: dict[str, Any]) -> str:
    """Describe the machine and the package versions of an environment."""
    versions = ", ".join(f"{package} {version}" for package, version in environment["versions"].items() if version)
    return (
        f"{environment['processor']}, {environment['cores']} core(s), training in {environment['training']['threads']} "
        f"thread(s), {environment['system']}, Python {environment['python']}, {versions}"
    )


def _elsewhere(fronts: Sequence[ParetoFront]) -> Iterator[str]:
    """Yield a line for each front on a further backend."""
    for front in fronts[1 : MAX_FURTHER + 1]:
        latency = reading(front.picked)
        where = f"{front.backend} ({latency.processor}, {latency.runtime} {latency.runtime_version})"
        on_front = f"{len(front.front)} of {len(front.trained)} networks on the front"
        knee = f", knee {title(front.knee)}" if front.knee else ""
        yield f"- On {where}: {on_front}{knee}; {change_text(moves(fronts[0], front))}."
    if len(fronts) > MAX_FURTHER + 1:
        yield f"- Further backends, {len(fronts) - MAX_FURTHER - 1} of them: front.json."


def _picture(fronts: Sequence[ParetoFront], file: Path) -> str:
    try:
        write_png(fronts, file)
    except NoChrome as reason:
        return f"{file} not written: {reason}"
    return f"wrote {file}"
