"""The model card of an exported folder: what the network is, how it was trained and measured, how to run it."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.latency.reading import Latency
from search.recipes import Recipe
from threshnet.costs import count
from threshnet.schedules import describe
from threshnet.spec import NetworkSpec


@dataclass(frozen=True)
class Story:
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
    test_error: float | None = None
    # Why there is no test error, where there is none; told to the user, not written down, as it may name a path.
    no_test: str = ""
    latency: Sequence[Latency] = ()
    caveat: str = ""


def card(spec: NetworkSpec, story: Story) -> str:
    """The card in Markdown."""
    costs = count(spec, story.input_size)
    size = story.input_size
    lines = [f"# {story.title}", "", story.origin + ".", ""]
    if story.caveat:
        lines += [f"> {story.caveat}.", ""]
    lines += [
        "| | |",
        "|---|---|",
        f"| input | float32 (n, 3, {size}, {size}), RGB scaled to [0, 1] |",
        f"| output | logits (n, {spec.classes}): {', '.join(story.classes) or 'classes without names'} |",
        f"| parameters | {costs.params:,} |",
        f"| MACs at {size}x{size} | {costs.macs:,} |",
        f"| fingerprint | {spec.fingerprint()} |",
        f"| weights | {_weights(story)} |",
        f"| validation error | {_percent(story.validation_error, 'one training, one seed')} |",
        f"| test error | {_percent(story.test_error, 'scored at export')} |",
    ]
    lines += [f"| latency, {reading.backend} | {_latency(reading)} |" for reading in story.latency]
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
    return "\n".join([*lines, "", _USE.format(size=size)])


def _weights(story: Story) -> str:
    if not story.trained_on:
        return "random: this network is untrained"
    recipe = f", recipe {story.recipe.title}, {story.recipe.epochs} epochs" if story.recipe else ""
    return story.trained_on + recipe


def _percent(value: float | None, note: str) -> str:
    return "not known" if value is None else f"{value:.2f} % ({note})"


def _latency(reading: Latency) -> str:
    flags = f"; {'; '.join(reading.warnings)}" if reading.warnings else ""
    return (
        f"{reading.latency_ms:.3f} ms ({reading.low_ms:.3f} to {reading.high_ms:.3f}, 95 % interval), "
        f"n = {reading.runs} runs, batch {reading.batch}, {reading.threads} thread(s), {reading.precision}, "
        f"{reading.processor}, {reading.runtime} {reading.runtime_version}{flags}"
    )


_USE = """## Use

Neither needs the project that made these files.

```python
import numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
images = numpy.zeros((1, 3, {size}, {size}), "float32")  # RGB in [0, 1]
(logits,) = session.run(["logits"], {{"images": images}})
```

```python
import torch
model = torch.export.load("model.pt2").module()  # can run code: load it only from people you trust
logits = model(torch.zeros(1, 3, {size}, {size}))
```

`config.json` holds the network as data, `model.safetensors` its weights with the same data as metadata. The number of
images in a batch is free in every file. Latency was measured on a file with the batch fixed, before training; weights
do not change it.
"""
