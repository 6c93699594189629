"""The comparison as Markdown: a row for each system, and a verdict on each published claim."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparison.claims import size_rows, speed_rows
from benchmarks.comparison.runs import Protocols
from benchmarks.comparison.systems import System
from benchmarks.report import interval, table
from search.intervals import error_interval
from threshnet.costs import Costs

SLOWED = " †"  # marks a training at a lower learning rate


@dataclass(frozen=True)
class Row:
    """What is known of one system; None where it was not taken or failed."""

    system: System
    # At 224x224, in which the published costs are stated, and at the size that is trained and measured.
    costs_published: Costs | None
    costs: Costs | None
    # As Latency.summary tells it.
    latency: Mapping[str, Any] | None
    # As comparison_runs.trained gives it.
    training: Mapping[str, Any] | None

    @property
    def filled(self) -> bool:
        """Whether it was costed, measured and trained."""
        return None not in (self.costs, self.latency, self.training)

    @property
    def error(self) -> tuple[float, float, float] | None:
        """Test error, percent, with its binomial 95 % interval; None where it was not trained."""
        if self.training is None:
            return None
        percent: float = self.training["test_error_percent"]
        return percent, *error_interval(percent, self.training["test_images"])


def markdown(
    rows: Sequence[Row], pairs: Mapping[str, Mapping[str, Any]], protocols: Protocols, facts: str, caveat: str
) -> str:
    """The page: protocol, rows, claims; `pairs` holds comparison_runs.paired by the other system's key."""
    recipe = protocols.recipe
    by_key = {row.system.key: row.system for row in rows}
    claims = [*speed_rows(by_key, pairs), *size_rows(by_key, {row.system.key: row.costs for row in rows if row.costs})]
    return "\n".join(
        [
            "# Every system, trained and measured alike",
            "",
            *([f"**{caveat[0].upper()}{caveat[1:]}.**", ""] if caveat else []),
            "![test error against latency](figure.png)",
            "",
            table(
                ["system", "params M", "MACs M", "MACs G at 224", "latency ms (95 %)", "test error % (95 %)"],
                [cells(row) for row in rows],
            ),
            "",
            f"- Training: recipe {recipe.title}, {recipe.epochs} epochs of {protocols.train:,} images, 32x32 straight "
            f"in, 10 classes, n = 1 training each. The published training has 200 epochs of 50,000; a short one "
            f"favours what learns quickly.",
            *slowed(rows),
            "- Test error: the whole test split, nothing chosen by it; the interval is binomial and knows nothing of "
            "seeds.",
            f"- Latency: ONNX Runtime, {protocols.latency.threads} thread(s), batch {protocols.latency.batch}, fp32, "
            "32x32, in rounds against the reference network; ! marks what is to be distrusted (below).",
            "- The comparison networks are their libraries' for ImageNet, which shrink a 32x32 image to one pixel. "
            "*Stride 8*: the same layers, the earliest reductions left out, the usual adaptation to small images.",
            f"- {facts}.",
            "",
            "## The published claims",
            "",
            table(["claim", "compared with", "here", "verdict"], claims),
            "",
            "Speed: latency of the other network over ThreshNet79's, less 1, with its 95 % interval, both measured in "
            "turns in one run on this CPU. The claims are of an RTX 3050 and a Raspberry Pi 4, on neither of which "
            "anything was measured here; which ShuffleNet and EfficientNet are meant is not published.",
            "",
            "`threshnet costs all` sets the published costs beside these, with what explains the differences.",
            *reading_warnings(rows, {by_key[key].title: pair for key, pair in pairs.items()}),
        ]
    )


def cells(row: Row) -> list[str]:
    """A row of the table."""
    latency = row.latency and interval(*(row.latency[name] for name in ("latency_ms", "low_ms", "high_ms")))
    flag = " !" if row.latency and row.latency["warnings"] else ""
    error = row.error
    return [
        row.system.title,
        f"{row.costs.params / 1e6:.2f}" if row.costs else "not counted",
        f"{row.costs.macs / 1e6:.1f}" if row.costs else "not counted",
        f"{row.costs_published.macs / 1e9:.2f}" if row.costs_published else "not counted",
        f"{latency}{flag}" if latency else "not measured",
        f"{error[0]:.2f} ({error[1]:.1f} to {error[2]:.1f}){SLOWED if at_lower_rate(row) else ''}"
        if error
        else "not trained",
    ]


def at_lower_rate(row: Row) -> bool:
    """Whether a row's training is not by the recipe's own learning rate."""
    return row.training is not None and row.training["rate"] != 1


def slowed(rows: Sequence[Row]) -> Iterator[str]:
    """Which systems the recipe's learning rate left at a blind guess."""
    told = [f"{row.system.title} ({row.training['rate']:g})" for row in rows if row.training and at_lower_rate(row)]
    if told:
        yield (
            f"-{SLOWED}: at the recipe's learning rate its training loss stayed that of a blind guess, so it was "
            f"trained anew at a share of it: {', '.join(told)}."
        )


def reading_warnings(rows: Sequence[Row], pairs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What speaks against readings and against comparisons (by the other network's title), in a line."""
    taken = {row.system.title: row.latency for row in rows if row.latency}
    taken |= {f"{title}, in turns": pair for title, pair in pairs.items()}
    told = [f"{title} ({'; '.join(one['warnings'])})" for title, one in taken.items() if one["warnings"]]
    yield from ["", f"! To be distrusted: {', '.join(told)}."] if told else []
