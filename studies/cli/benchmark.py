"""The command that runs the files of a model folder: benchmark."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from search.latency.devices.named import device_forms
from studies.cli.options import DATA, ERR, OUT, CommandFailed, as_json_option
from studies.cli.plain_table import PlainTable

if TYPE_CHECKING:
    from search.latency.reading import Latency
    from studies.export.benchmark import FileBenchmark


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--device", default="cpu", show_default=True, help=f"Run the ONNX files on this device: {device_forms()}."
)
@click.option("--data", help=f"Also report the test error on {DATA}")
@as_json_option
def benchmark(folder: Path, device: str, data: str | None, as_json: bool) -> None:
    """Run the files of a model folder and compare them.

    Reports for each file the latency, the time from a JPEG to the class (decode, resize, infer), the size, the
    agreement with the trained network and, with --data, the test error. The ONNX files run on the device, the other
    files in torch on this CPU. Nothing is run if `threshnet check` finds a bad file in FOLDER.
    """
    from search.data import as_settings
    from studies.export.benchmark import benchmark_folder
    from studies.export.latency import RUNTIME, device_for_files
    from studies.screen import Screen

    settings, target = as_settings(data) if data else None, device_for_files(device)
    with Screen(ERR, str(folder)) as screen:
        screen.doing("running the files")
        found = benchmark_folder(folder, target, settings)
    if as_json:
        click.echo(json.dumps([file.to_json() for file in found], indent=2))
    else:
        OUT.print(benchmark_table(folder, found))
    on_device = [file for file in found if file.runtime == RUNTIME]
    if on_device and all(file.times.latency is None for file in on_device):
        raise CommandFailed(f"{folder}: no file was measured on {device}; see the reasons above")


def benchmark_table(folder: Path, files: "Sequence[FileBenchmark]") -> Table:
    """The files of a model folder, one per row, with the conditions and problems below."""
    from studies.export.benchmark import JPEG_SIZE
    from studies.fronts.wording import baselines_text
    from threshnet.export.folder import WEIGHTS

    table = PlainTable(f"Files of {folder}", optional=("agreement", "MiB", "runtime"))
    columns = dict.fromkeys(name for file in files for name in _errors(file))
    table.add_column("file", overflow="fold")
    table.add_column("runtime")
    for name in ("latency ms", "from JPEG ms", "MiB", "agreement", *columns):
        table.add_column(name, justify="right")
    for file in files:
        table.add_row(
            file.file,
            f"{file.runtime} {file.precision}",
            _milliseconds(file.times.latency, 3),
            _milliseconds(file.times.from_jpeg, 2),
            f"{file.size_bytes / 2**20:.2f}",
            _agreement(file),
            *(_errors(file).get(name, "-") for name in columns),
        )
    readings = [one for file in files for one in (file.times.latency, file.times.from_jpeg) if one]
    measured = (f"{one.runtime} {one.runtime_version} on {one.device}, {one.processor}" for one in readings)
    warnings = dict.fromkeys(warning.partition(":")[0] for one in readings for warning in unreliable(one))
    lines = [
        *dict.fromkeys(measured),
        *(f"{where}: {baselines_text(own)}" for where, own in by_backend(readings).items()),
        "latencies: batch 1, one thread, 95 % intervals",
        "from JPEG: decode an image of {}x{} pixels, resize it, infer".format(*JPEG_SIZE),
        f"agreement with {WEIGHTS}: largest difference of a logit; in int8, images of the same class",
        *(f"{file.file}: {problem}" for file in files for problem in file.times.problems),
        *([f"! unreliable ({'; '.join(warnings)}); --json prints the warnings of each reading"] if warnings else []),
    ]
    table.caption = "\n".join(lines)
    return table


def by_backend(latencies: Iterable["Latency"]) -> "dict[str, list[Latency]]":
    """Group readings by their backend."""
    found: dict[str, list[Latency]] = {}
    for one in latencies:
        found.setdefault(one.backend, []).append(one)
    return found


def unreliable(latency: "Latency") -> list[str]:
    """The warnings of a reading, without the note that the batch size of an exported file is always dynamic."""
    return [warning for warning in latency.warnings if not warning.startswith("dynamic shape")]


def _milliseconds(latency: "Latency | None", digits: int) -> str:
    if latency is None:
        return "-"
    mark = " !" if unreliable(latency) else ""
    return _with_interval(latency.latency_ms, latency.low_ms, latency.high_ms, digits) + mark


def _errors(file: "FileBenchmark") -> dict[str, str]:
    """The errors of a file on the test split by the name of their column; empty without data."""
    if file.score is None:
        return {}
    found = {"test error %": _with_interval(file.score.percent, *file.score.interval, 1)}
    if counts := file.score.by_class:
        balanced = _with_interval(counts.percent("balanced_error"), *counts.interval("balanced_error"), 1)
        found["balanced error %"] = balanced
    return found


def _with_interval(value: float, low: float, high: float, digits: int) -> str:
    return f"{value:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _agreement(file: "FileBenchmark") -> str:
    if file.same_class_percent is not None:
        return f"{file.same_class_percent:.0f} %"
    return "-" if file.difference is None else f"{file.difference:.1g}"
