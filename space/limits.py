"""Limits on the cost of a study's networks, as Optuna constraints: a trial is feasible if each is at most 0."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from threshnet import strict
from threshnet.costs import Costs
from threshnet.strict import Range

Most = Annotated[float, Range(above=0)]


@dataclass(frozen=True)
class Limits:
    """Upper limits at the study's input size; None = no limit."""

    # Number of parameters.
    params: Most | None = None
    # Multiply-accumulates for one image.
    macs: Most | None = None
    # Bytes of the outputs of all leaf modules for one image (torchstat's memory).
    memory_bytes: Most | None = None
    # Milliseconds on the study's device, through its first runtime.
    latency_ms: Most | None = None

    def __post_init__(self) -> None:
        strict.check(self, "limits")

    def of_costs(self, costs: Costs) -> dict[str, float]:
        """Constraints on counted costs: the relative excess over each limit, feasible if <= 0."""
        return self._excess({"params": costs.params, "macs": costs.macs, "memory_bytes": costs.memory_bytes})

    def of_latency(self, latency_ms: float) -> dict[str, float]:
        """Constraints on the measured latency."""
        return self._excess({"latency_ms": latency_ms})

    def _excess(self, values: Mapping[str, float]) -> dict[str, float]:
        limits = {name: getattr(self, name) for name in values}
        return {name: values[name] / limit - 1 for name, limit in limits.items() if limit is not None}
