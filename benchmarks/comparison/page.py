"""The Markdown page of the comparison: one row for each system, and a verdict on each published claim."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.cells import INPUT_SIZE
from benchmarks.comparison.claims import size_rows, speed_rows
from benchmarks.comparison.runs import Protocols
from benchmarks.comparison.systems import Kind, kind_of
from benchmarks.report import Document, interval, table
from search.latency.protocol import Protocol
from search.training.metrics import error_interval
from search.training.recipes import Recipe
from threshnet.costs import Costs
from threshnet.published import INPUT_SIZE as PUBLISHED_SIZE

LOWER_RATE = " †"  # marks systems that were trained with a lower learning rate


@dataclass(frozen=True)
class Row:
    """Results of one system. A missing result is None."""

    key: str
    kind: Kind
    title: str
    # Where the definition of its layers comes from.
    origin: str
    # Costs at 224x224, the input size of the published costs, and at the input size of training and measurement.
    costs_published: Costs | None
    costs: Costs | None
    # The format of Latency.summary.
    latency: Mapping[str, Any] | None
    # The format of runs.trained.
    training: Mapping[str, Any] | None

    @property
    def complete(self) -> bool:
        """True if the system was counted, measured and trained."""
        return None not in (self.costs, self.latency, self.training)

    @property
    def error(self) -> tuple[float, float, float] | None:
        """Test error with its binomial 95 % interval, in percent, or None if the system was not trained."""
        if self.training is None:
            return None
        percent: float = self.training["test_error_percent"]
        return percent, *error_interval(percent, self.training["test_images"])

    @property
    def lower_rate(self) -> bool:
        """True if the training used a lower learning rate than the recipe specifies."""
        return self.training is not None and self.training["rate"] != 1

    def to_json(self) -> Document:
        """Convert the row to JSON-ready values."""
        return {
            "system": self.key,
            "title": self.title,
            "origin": self.origin,
            "costs": {str(costs.input_size): asdict(costs) for costs in (self.costs, self.costs_published) if costs},
            "latency": self.latency,
            "training": self.training,
        }

    @staticmethod
    def from_json(row: Document) -> "Row":
        """Restore a row from the output of `to_json`."""
        costs = {int(size): Costs(**values) for size, values in row["costs"].items()}
        return Row(
            key=row["system"],
            kind=kind_of(row["system"]),
            title=row["title"],
            origin=row["origin"],
            costs_published=costs.get(PUBLISHED_SIZE),
            costs=costs.get(INPUT_SIZE),
            latency=row["latency"],
            training=row["training"],
        )


def render(document: Document) -> str:
    """Render the page of a recorded run."""
    return markdown(
        [Row.from_json(row) for row in document["rows"]],
        document["pairs"],
        protocols_of(document),
        document["conditions"],
        document["caveat"],
    )


def protocols_of(document: Document) -> Protocols:
    """Return the protocols of a recorded run."""
    recorded = document["protocols"]
    # Earlier runs did not record the numbers of images. They used these numbers.
    images = {"train": 10_000, "validation": 5_000} | recorded.get("images", {})
    return Protocols(Recipe(**recorded["recipe"]), **images, latency=Protocol(**recorded["latency"]))


def markdown(
    rows: Sequence[Row], pairs: Mapping[str, Mapping[str, Any]], protocols: Protocols, facts: str, caveat: str
) -> str:
    """Return the page: rows, protocol and claims. `pairs` maps the key of each peer to its runs.paired result."""
    recipe = protocols.recipe
    titles = {row.key: row.title for row in rows}
    claims = [*speed_rows(titles, pairs), *size_rows(titles, {row.key: row.costs for row in rows if row.costs})]
    return "\n".join(
        [
            "# All systems under one protocol",
            "",
            *([f"**{caveat[0].upper()}{caveat[1:]}.**", ""] if caveat else []),
            "![test error against latency](figure.png)",
            "",
            table(
                ["system", "params M", "MACs M", "MACs G at 224", "latency ms (95 %)", "test error % (95 %)"],
                [cells(row) for row in rows],
            ),
            "",
            f"- Training: recipe {recipe.title}, {recipe.epochs} epochs of {protocols.train:,} images, 32x32 input "
            "without resizing, 10 classes, n = 1 training each. The published recipe has 200 epochs of 50,000 images; "
            "a short training favours networks that learn quickly.",
            *lower_rates(rows),
            "- Test error: on the whole test split, which was not used for any decision. The intervals are binomial "
            "and do not include seed-to-seed variance.",
            f"- Latency: ONNX Runtime, {protocols.latency.threads} thread(s), batch {protocols.latency.batch}, fp32, "
            "32x32 input, measured in rounds with the reference network; ! marks a reading with warnings (below).",
            "- The baselines are the ImageNet networks of torchvision and timm, which reduce a 32x32 image to one "
            "pixel. *Stride 8*: the same layers with the first reductions at stride 1, the usual adaptation to small "
            "images.",
            f"- Conditions: {facts}.",
            "",
            "## The published claims",
            "",
            table(["claim", "compared with", "here", "verdict"], claims),
            "",
            "Speed: latency of the other network divided by that of ThreshNet79, minus 1, with its 95 % interval; both "
            "were measured alternately in one run on this CPU. The claims are for an RTX 3050 and a Raspberry Pi 4; "
            "nothing was measured on either here. The authors do not say which ShuffleNet and EfficientNet they mean.",
            "",
            "`threshnet costs all` compares the published costs with these and explains the differences.",
            *reading_warnings(rows, {titles[key]: pair for key, pair in pairs.items()}),
        ]
    )


def cells(row: Row) -> list[str]:
    """Return the cells of a system's table row."""
    latency = row.latency and interval(*(row.latency[name] for name in ("latency_ms", "low_ms", "high_ms")))
    flag = " !" if row.latency and row.latency["warnings"] else ""
    error = row.error
    return [
        row.title,
        f"{row.costs.params / 1e6:.2f}" if row.costs else "not counted",
        f"{row.costs.macs / 1e6:.1f}" if row.costs else "not counted",
        f"{row.costs_published.macs / 1e9:.2f}" if row.costs_published else "not counted",
        f"{latency}{flag}" if latency else "not measured",
        f"{error[0]:.2f} ({error[1]:.1f} to {error[2]:.1f}){LOWER_RATE if row.lower_rate else ''}"
        if error
        else "not trained",
    ]


def lower_rates(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a note that lists the systems trained with a lower learning rate."""
    systems = [f"{row.title} ({row.training['rate']:g})" for row in rows if row.training and row.lower_rate]
    if systems:
        yield (
            f"-{LOWER_RATE}: with the learning rate of the recipe, the training loss stayed at chance level, so the "
            f"network was retrained with a fraction of it: {', '.join(systems)}."
        )


def reading_warnings(rows: Sequence[Row], pairs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line with the warnings about readings and paired readings. `pairs` has the titles of networks as keys."""
    readings = {row.title: row.latency for row in rows if row.latency}
    readings |= {f"{title}, paired": pair for title, pair in pairs.items()}
    texts = [f"{title} ({'; '.join(one['warnings'])})" for title, one in readings.items() if one["warnings"]]
    yield from ["", f"! Readings with warnings: {', '.join(texts)}."] if texts else []
