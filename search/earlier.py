"""Networks of earlier work, whose trainings and readings a search can start from."""

from collections.abc import Mapping
from dataclasses import dataclass

from threshnet.spec import NetworkSpec


@dataclass(frozen=True)
class Outcome:
    """The latency and the errors of a network in earlier work."""

    # Milliseconds; None if it was not measured.
    latency_ms: float | None
    # Errors in percent, keyed by the share of a full training, above 0 and up to 1.
    errors: Mapping[float, float]
    # Outcomes of one source have the same data, recipe and device. The levels of different sources are not compared.
    source: int = 0


@dataclass(frozen=True)
class EarlierNetwork:
    """A network of earlier work and its outcome."""

    network: NetworkSpec
    outcome: Outcome
