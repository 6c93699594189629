"""The model card of an exported folder: what the network is, how it was trained and measured, how to run it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from search.latency.reading import Latency
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
    """What is known of an exported network besides its spec."""

    title: str
    # Where it comes from: a study's trial, a name, a file.
    origin: str
    input_size: int
    classes: tuple[str, ...] = ()
    recipe: Recipe | None = None
    # What the weights were trained on, in words; empty for untrained weights.
    trained_on: str = ""
    # Percent; None where it is not known.
    validation_error: float | None = None
    # Readings of the network, with whatever weights, from before the export.
    latency: Sequence[Latency] = ()
    # Test errors of all trainings, by seed, where there were several; the first one's weights are the exported ones.
    seeds: Mapping[int, Score] = field(default_factory=dict)
    caveat: str = ""


@dataclass(frozen=True)
class ExportResult:
    """What the export itself found out about the files it wrote."""

    exported: Exported
    # Errors on the test split by file name; empty where there is no test split.
    scores: Mapping[str, Score] = field(default_factory=dict)
    # Which images the int8 file was calibrated on, in words; empty where there is no such file.
    calibrated_on: str = ""
    # None where the files were not measured.
    speed: Speed | None = None


def card(spec: NetworkSpec, story: ModelInfo, found: ExportResult) -> str:
    """The card in Markdown."""
    costs = count(spec, story.input_size)
    size = story.input_size
    lines = [f"# {escaped(story.title)}", "", escaped(story.origin) + ".", ""]
    if story.caveat:
        lines += [f"> {escaped(story.caveat)}.", ""]
    lines += [
        "| | |",
        "|---|---|",
        f"| input | float32 (n, 3, {size}, {size}), RGB scaled to [0, 1] |",
        f"| output | logits (n, {spec.classes}): {', '.join(map(escaped, story.classes)) or 'classes without names'} |",
        f"| parameters | {costs.params:,} |",
        f"| MACs at {size}x{size} | {costs.macs:,} |",
        f"| fingerprint | {spec.fingerprint()} |",
        f"| weights | {_weights(story)} |",
        *_errors(story, found),
        *_latencies(story, found),
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
    int8 = " and, in 8-bit integers, `model_int8.onnx`" if INT8 in found.exported.onnx_files else ""
    differences = ", ".join(f"{file} {value:.1g}" for file, value in found.exported.differences.items())
    folding = found.exported.folding_difference
    return "\n".join([*lines, "", _USE.format(size=size, int8=int8, differences=differences, folding=folding)])


def escaped(text: str) -> str:
    """Text of unknown origin as one line of Markdown that reads as it stands, also within a table."""
    return _MARKS.sub(r"\\\g<0>", printable(text))


def _weights(story: ModelInfo) -> str:
    if not story.trained_on:
        return "random: this network is untrained"
    recipe = f", recipe {story.recipe.title}, {story.recipe.epochs} epochs" if story.recipe else ""
    return escaped(story.trained_on) + recipe


def _errors(story: ModelInfo, found: ExportResult) -> Iterator[str]:
    """Rows of the errors, each with how it came about."""
    if story.validation_error is None:
        yield "| validation error | not known |"
    else:
        yield f"| validation error | {story.validation_error:.2f} % (one training, one seed) |"
    if not found.scores:
        yield "| test error | not known |"
    for file, score in found.scores.items():
        yield f"| test error, {file} | {score.told()} |"
    if story.seeds:
        yield f"| test error over seeds | {seeds_told(story.seeds)} |"
    if found.exported.int8_agreement is not None:
        same = f"{found.exported.int8_agreement:.1f} % of them in the class of fp32"
        yield f"| int8 | calibrated on {escaped(found.calibrated_on)}; {same} |"
    if found.exported.int8_refused:
        yield f"| int8 | no file: 8 bits do not follow this network; {found.exported.int8_refused} |"


def seeds_told(seeds: Mapping[int, Score]) -> str:
    """Mean and spread of the test errors of several trainings, in words."""
    percents = [score.percent for score in seeds.values()]
    each = ", ".join(f"seed {seed}: {score.percent:.2f}" for seed, score in seeds.items())
    spread = f"standard deviation {stdev(percents):.2f}, n = {len(percents)} ({each})"
    return f"mean {fmean(percents):.2f} %, {spread}; the first seed is exported"


def _latencies(story: ModelInfo, found: ExportResult) -> Iterator[str]:
    """Rows of the latencies: promised before the export, measured on the files themselves."""
    for reading in story.latency:
        yield f"| latency promised, {escaped(reading.backend)} | {_latency(reading)} |"
    if found.speed is None:
        return
    study_latency = {reading.backend: reading for reading in story.latency}
    for file, reading in found.speed.readings.items():
        before = study_latency.get(reading.backend) if file == ONNX else None
        times = f"; {reading.latency_ms / before.latency_ms:.2f} times what was promised" if before else ""
        precision = "int8" if file == INT8 else reading.precision
        yield f"| latency measured, {file}, {escaped(reading.backend)} | {_latency(reading, precision)}{times} |"
    if found.speed.int8 is not None:
        yield f"| int8 against fp32 | {verdict(found.speed.int8)}, measured in turns |"


def _latency(reading: Latency, precision: str | None = None) -> str:
    flags = f"; {'; '.join(reading.warnings)}" if reading.warnings else ""
    return escaped(
        f"{reading.latency_ms:.3f} ms ({reading.low_ms:.3f} to {reading.high_ms:.3f}, 95 % interval), "
        f"n = {reading.runs} runs, batch {reading.batch}, {reading.threads} thread(s), "
        f"{precision or reading.precision}, {reading.processor}, {reading.runtime} {reading.runtime_version}{flags}"
    )


# What Markdown would take for a sign of its own, "1. " for one of a list; an underscore within a word is none.
_MARKS = re.compile(r"(?<=\d)[.)](?= )|[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])|^[#+=-]")

_USE = """## Use

Nothing here needs the project that made it.

- `python predict.py IMAGE... | FOLDER [--model model_int8.onnx] [--json]` needs onnxruntime, numpy and pillow. It
  crops each image to its centre square, resizes it to {size}x{size} and divides by 255. Given a folder with one
  folder per class, it tells the error.
- `model.py` needs torch alone: `from model import load; logits = load()(images)`. The network stands in it line by
  line; the weights come from `model.safetensors`.
- `model.onnx`{int8} for any other program: input `images`, output `logits`. The batch norms
  are folded into the convolutions where that is exact.
- `torch.export.load("model.pt2").module()(images)`. Reading a `.pt2` file can run code that is hidden in it: load it
  only if you trust who made it. The other files hold nothing but numbers, and two programs that you can read.
- `config.json` holds the network, its preprocessing and all that is said above as data.

The number of images in a batch is free in every file. `threshnet check FOLDER` tells whether the files agree, without
running any program in the folder. Promised latencies were measured on a file with the batch fixed, before training;
weights do not change them.

Largest difference of a logit from the trained network's, each file loaded in a process of its own: {differences}.
Folding the batch norms changes a logit by {folding:.1g} at most, in double precision.
"""
