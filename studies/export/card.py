"""The model card of an exported folder. It describes the network, its training, its measurements and how to run it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from search.latency.reading import Latency
from search.training.metrics import METRICS
from search.training.recipes import Recipe
from studies.export.latency import Speed, verdict
from studies.export.score import Score
from threshnet.costs import count
from threshnet.export.folder import INT8, ONNX, Exported
from threshnet.schedules import describe
from threshnet.spec import NetworkSpec
from threshnet.untrusted import printable


@dataclass(frozen=True)
class ModelInfo:
    """Information about an exported network in addition to its spec."""

    title: str
    # Where the network comes from: a trial of a study, a name or a file.
    origin: str
    input_size: int
    classes: tuple[str, ...] = ()
    recipe: Recipe | None = None
    # Description of the training images; empty if the weights are untrained.
    trained_on: str = ""
    # In percent, by the metric; None if unknown.
    validation_error: float | None = None
    # The error that the study minimized, see METRICS. Test errors are always plain errors, with balanced errors added.
    metric: str = "error"
    # Latency readings taken before the export, with any weights, since weights do not affect latency.
    latency: Sequence[Latency] = ()
    # Where these readings were taken.
    latency_from: str = "the study"
    # Test errors by seed if there were several trainings. The exported weights are those of the first seed.
    seeds: Mapping[int, Score] = field(default_factory=dict)
    caveat: str = ""


@dataclass(frozen=True)
class ExportResult:
    """Information about the exported files that is collected during the export."""

    exported: Exported
    # Test error of each file by file name; empty if there is no test split.
    scores: Mapping[str, Score] = field(default_factory=dict)
    # Description of the calibration images for the int8 file; empty if there is no int8 file.
    calibrated_on: str = ""
    # None if the files were not measured.
    speed: Speed | None = None


def card(spec: NetworkSpec, info: ModelInfo, result: ExportResult) -> str:
    """Write the card in Markdown."""
    costs = count(spec, info.input_size)
    size = info.input_size
    lines = [f"# {escaped(info.title)}", "", escaped(info.origin) + ".", ""]
    if info.caveat:
        lines += [f"> {escaped(info.caveat)}.", ""]
    lines += [
        "| | |",
        "|---|---|",
        f"| input | float32 (n, 3, {size}, {size}), RGB scaled to [0, 1] |",
        f"| output | logits (n, {spec.classes}): {', '.join(map(escaped, info.classes)) or 'classes without names'} |",
        f"| parameters | {costs.params:,} |",
        f"| MACs at {size}x{size} | {costs.macs:,} |",
        f"| fingerprint | {spec.fingerprint()} |",
        f"| weights | {_weights(info)} |",
        *_errors(info, result),
        *_latencies(info, result),
    ]
    lines += [
        "",
        "## Blocks",
        "",
        "| block | schedule | unit | layers | growth | transition | pool |",
        "|" + "---|" * 7,
    ]
    lines += [
        f"| {number} | {describe(block.links)} | {block.unit} | {block.depth} | "
        f"{block.growth} x {block.multiplier:g} | {block.transition} | {'yes' if block.pool else 'no'} |"
        for number, block in enumerate(spec.blocks, start=1)
    ]
    int8 = " and, in 8-bit integers, `model_int8.onnx`" if INT8 in result.exported.onnx_files else ""
    differences = ", ".join(f"{file} {value:.1g}" for file, value in result.exported.differences.items())
    folding = result.exported.folding_difference
    use = _USE.format(size=size, int8=int8, differences=differences, folding=folding, latency_from=info.latency_from)
    return "\n".join([*lines, "", use])


def escaped(text: str) -> str:
    """Escape untrusted text as one line of Markdown that is rendered verbatim, even within a table."""
    return _MARKS.sub(r"\\\g<0>", printable(text))


def _weights(info: ModelInfo) -> str:
    if not info.trained_on:
        return "random: this network is untrained"
    recipe = f", recipe {info.recipe.title}, {info.recipe.epochs} epochs" if info.recipe else ""
    return escaped(info.trained_on) + recipe


def _errors(info: ModelInfo, result: ExportResult) -> Iterator[str]:
    """Yield a table row for each error, with its conditions."""
    validation = f"{METRICS[info.metric].prefix}validation error"
    if info.validation_error is None:
        yield f"| {validation} | unknown |"
    else:
        yield f"| {validation} | {info.validation_error:.2f} % (one training, one seed) |"
    if not result.scores:
        yield "| test error | unknown |"
    for file, score in result.scores.items():
        yield f"| test error, {file} | {score.text()} |"
    if info.seeds:
        yield f"| test error over seeds | {seeds_text(info.seeds)} |"
    if result.exported.int8_agreement is not None:
        same = f"{result.exported.int8_agreement:.1f} % of them in the class of fp32"
        yield f"| int8 | calibrated on {escaped(result.calibrated_on)}; {same} |"
    if result.exported.int8_refused:
        yield f"| int8 | no file: 8 bits do not represent this network; {result.exported.int8_refused} |"


def seeds_text(seeds: Mapping[int, Score]) -> str:
    """Format the mean and standard deviation of the test errors of several trainings."""
    plain = _spread({seed: score.percent for seed, score in seeds.items()})
    balanced = {seed: score.balanced_percent for seed, score in seeds.items() if score.balanced_percent is not None}
    also = f"; balanced error: {_spread(balanced)}" if balanced else ""
    return f"{plain}{also}; the first seed is exported"


def _spread(percents: Mapping[int, float]) -> str:
    """Format the mean and standard deviation of errors in percent by seed."""
    each = ", ".join(f"seed {seed}: {percent:.2f}" for seed, percent in percents.items())
    mean, deviation = fmean(percents.values()), stdev(percents.values())
    return f"mean {mean:.2f} %, standard deviation {deviation:.2f}, n = {len(percents)} ({each})"


def _latencies(info: ModelInfo, result: ExportResult) -> Iterator[str]:
    """Yield a table row for each latency, both those from before the export and those of the exported files."""
    for reading in info.latency:
        yield f"| latency in {info.latency_from}, {escaped(reading.backend)} | {_latency(reading)} |"
    if result.speed is None:
        return
    earlier = {reading.backend: reading for reading in info.latency}
    for file, reading in result.speed.readings.items():
        before = earlier.get(reading.backend) if file == ONNX else None
        ratio = f"{reading.latency_ms / before.latency_ms:.2f}" if before else ""
        times = ratio and f"; {ratio} times the latency in {info.latency_from}"
        precision = "int8" if file == INT8 else reading.precision
        yield f"| latency measured, {file}, {escaped(reading.backend)} | {_latency(reading, precision)}{times} |"
    if result.speed.int8 is not None:
        yield f"| int8 against fp32 | {verdict(result.speed.int8)}, measured in alternating rounds |"


def _latency(reading: Latency, precision: str | None = None) -> str:
    flags = f"; {'; '.join(reading.warnings)}" if reading.warnings else ""
    return escaped(
        f"{reading.latency_ms:.3f} ms ({reading.low_ms:.3f} to {reading.high_ms:.3f}, 95 % interval), "
        f"n = {reading.runs} runs, batch {reading.batch}, {reading.threads} thread(s), "
        f"{precision or reading.precision}, {reading.processor}, {reading.runtime} {reading.runtime_version}, "
        f"idle baseline {reading.used_baseline.text}{flags}"
    )


# Characters with a meaning in Markdown, and "1. " at the start of a list item. An underscore within a word has none.
_MARKS = re.compile(r"(?<=\d)[.)](?= )|[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])|^[#+=-]")

_USE = """## Use

No file here needs the project that made it.

- `python predict.py IMAGE... | FOLDER [--model model_int8.onnx] [--json]` needs onnxruntime, numpy and pillow. It
  crops each image to its centre square, resizes it to {size}x{size} and divides by 255. Given a folder with one
  folder per class, it prints the error.
- `model.py` needs torch alone: `from model import load; logits = load()(images)`. It defines the network line by
  line; the weights come from `model.safetensors`.
- `model.onnx`{int8} for any other program: input `images`, output `logits`. The batch norms
  are folded into the convolutions wherever this is exact.
- `torch.export.load("model.pt2").module()(images)`. Loading a `.pt2` file can run code hidden in it: load it
  only if you trust its maker. The other files contain only numbers, and two programs that you can read.
- `config.json` has the network, its preprocessing and all the facts above as data.

The batch size is free in every file. `threshnet check FOLDER` verifies the files without executing them. Latencies in
{latency_from} were measured with random weights and a fixed batch size; weights do not change them.

Largest difference of a logit from the trained network's, each file loaded in its own process: {differences}.
Folding the batch norms changes a logit by {folding:.1g} at most, in double precision.
"""
