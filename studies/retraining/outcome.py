"""The outcome of a retraining: its networks with their errors and latencies, as a table, a figure and JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from search.training.metrics import METRICS
from studies.figures.errors import ErrorPoint, figure
from studies.fronts.wording import baselines_text, conditions
from studies.retraining.plan import RetrainingPlan
from studies.retraining.results import ExportChoice, RetrainedNetwork


@dataclass(frozen=True)
class Retrained:
    """Networks that were retrained with the same data, recipe and seeds, fastest first.

    `networks` has the errors over seeds and the latency of each network with a finished training, at least one, and
    `failures` has a line for each training that failed.
    """

    plan: RetrainingPlan
    # The folder of the trainings.
    folder: Path
    networks: tuple[RetrainedNetwork, ...]
    failures: tuple[str, ...]
    # The exported network; None if none could be chosen.
    choice: ExportChoice | None
    # The number of images that were trained on and, unless they were trained on, of validation images.
    trained_on: int
    validated_on: int | None

    @property
    def error_name(self) -> str:
        """The error in the figure: the test error or, if the test images were not read, the validation error."""
        return f"{METRICS[self.plan.metric].prefix}{'test' if self.plan.tested else 'validation'} error"

    @property
    def notes(self) -> tuple[str, ...]:
        """The conditions of the results, one sentence each."""
        plan, one = self.plan, len(self.plan.seeds) == 1
        held_out = f"validation error on {self.validated_on:,} others; " if self.validated_on else ""
        interval = "of an error rate, without the variation between trainings" if one else "of the mean over seeds"
        latency = self.networks[0].latency
        return (
            f"{plan.recipe.epochs} epochs of the recipe {plan.recipe.title} on {self.trained_on:,} images of "
            f"{plan.data.title}; {held_out}seed{'' if one else 's'} {', '.join(map(str, plan.seeds))}; "
            f"intervals of errors: 95 %, {interval}",
            f"Latencies in one pass on {conditions(latency, f'{latency.device} ({latency.processor})')}; "
            f"{baselines_text(network.latency for network in self.networks)}",
            *([f"Note: {plan.caveat}."] if plan.caveat else []),
        )

    @property
    def export_text(self) -> str:
        """Name the exported network and the reason, or say why there is none."""
        if self.choice is not None:
            return f"exported {self.choice.network.title}, seed {self.plan.seeds[0]}: {self.choice.reason}"
        if self.failures:
            return "no network exported: no network to choose from has finished all of its trainings"
        return "no network exported: without validation images nothing chooses one; name it with --export"

    def to_dataframe(self) -> pd.DataFrame:
        """Return a table with one row per network, fastest first, indexed by its title. Errors are in percent."""
        rows = []
        for one in self.networks:
            row: dict[str, object] = {"network": one.title, "params": one.params}
            row |= {"latency_ms": one.latency.latency_ms, "latency_low_ms": one.latency.low_ms}
            row |= {"latency_high_ms": one.latency.high_ms}
            for kind, error in (("validation", one.validation), ("test", one.test)):
                if error is not None:
                    row |= {f"{kind}_error": error.mean, f"{kind}_low": error.low, f"{kind}_high": error.high}
            rows.append(row | {"seeds": len(one.trainings)})
        return pd.DataFrame(rows).set_index("network")

    def figure(self) -> go.Figure:
        """Return an interactive figure: the error over latency, both with intervals."""
        chosen = self.choice and self.choice.network
        points = []
        for one in self.networks:
            error = one.test if self.plan.tested else one.validation
            assert error is not None  # a plan has one of the two
            points.append(ErrorPoint(one.title, one.latency, error.mean, error.low, error.high, one is chosen))
        notes = [*self.notes, *([f"In vermillion: {self.export_text}"] if chosen else [])]
        return figure("Retrained networks", notes, f"{self.error_name} (%), lower is better", points)

    def to_json(self) -> dict[str, Any]:
        """Return the results as JSON-serializable values."""
        return {
            "networks": [network.to_json() for network in self.networks],
            "failures": list(self.failures),
            "exported": self.choice and self.choice.network.fingerprint,
            "reason": self.export_text,
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        """The results in a notebook: a table."""
        return self.to_dataframe().to_html(float_format="{:.3f}".format, border=0)
