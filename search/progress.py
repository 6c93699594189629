"""The progress of a study: whether its front has plateaued, and rank correlations of early errors with final errors."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy.stats import kendalltau

from search.records import Record, stopped_at
from search.volume import Plateau, Step, curve, plateau, plural

MIN_NETWORKS = 3  # minimum number of networks for computing tau


@dataclass(frozen=True)
class RankCorrelation:
    """Rank correlations (Kendall's tau-b) between early predictors and the final error.

    Each tau is between -1 and 1, and a perfect predictor has 1. A tau is None if there are fewer than MIN_NETWORKS
    networks or if all values are equal.
    """

    # The lowest and the last rung, in epochs. None if networks are only scored at the end of training.
    rung: int | None
    top: int | None
    # Number of networks that were trained to the end and, if there are rungs, scored at the lowest and the last rung.
    networks: int
    # Tau of the error at the lowest rung, of params and of MACs. Fewer params or MACs predict a higher error.
    rung_tau: float | None
    params_tau: float | None
    macs_tau: float | None
    # Number of networks that were stopped early and never trained to the end. Their final errors are unknown.
    missing: int

    @property
    def summary(self) -> str:
        """Describe the correlations in a sentence."""
        stopped = (
            f"; {plural(self.missing, 'network')} stopped early {'is' if self.missing == 1 else 'are'} not included"
        )
        missing = stopped if self.missing else ""
        if self.networks < MIN_NETWORKS:
            return (
                f"Rank correlation with the final error: available after {MIN_NETWORKS} fully trained networks "
                f"({self.networks} so far){missing}."
            )
        early = f"error after {self.rung} of {self.top} epochs {_shown(self.rung_tau)}, " if self.rung else ""
        return (
            f"Rank correlation with the final error (Kendall's tau, 1 is a perfect predictor, n = {self.networks} "
            f"networks): {early}params {_shown(self.params_tau)}, MACs {_shown(self.macs_tau)}; by chance, |tau| stays "
            f"below {chance(self.networks):.2f} in 95 % of cases{missing}."
        )


@dataclass(frozen=True)
class StudyProgress:
    """The progress of a study: hypervolume over cost, plateau and rank correlations."""

    # The fixed reference point of the hypervolume: (latency in ms, error in percent).
    reference: tuple[float, float]
    # The hypervolume after each training, in the order in which the trainings ended.
    curve: tuple[Step, ...]
    plateau: Plateau
    correlation: RankCorrelation
    # Number of networks that were stopped early and never trained to the end, by epochs trained.
    stopped: dict[int, int]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return sentences about the plateau, the rank correlations and the networks stopped early, if any."""
        parts = [f"{plural(count, 'network')} after {plural(at, 'epoch')}" for at, count in self.stopped.items()]
        stopped = (f"Stopped early: {', '.join(parts)}.",) if parts else ()
        return (self.plateau.summary, self.correlation.summary, *stopped)

    def to_json(self) -> dict[str, Any]:
        """Return the progress, including the sentences, as JSON-serializable values."""
        return {
            "plateau": asdict(self.plateau) | {"told": self.plateau.summary},
            "audit": asdict(self.correlation) | {"told": self.correlation.summary},
            "stopped": {str(epochs): count for epochs, count in self.stopped.items()},
        }


def progress(records: Sequence[Record], reference: tuple[float, float]) -> StudyProgress:
    """Compute the progress of a study from its records, sorted by their end, and its reference point."""
    steps = tuple(curve(records, reference))
    return StudyProgress(reference, steps, plateau(steps), rank_correlation(records), stopped_at(records))


def rank_correlation(records: Sequence[Record]) -> RankCorrelation:
    """Compute the rank correlations of early predictors with the final error, using Kendall's tau-b of scipy."""
    trained = [record for record in records if record.trained]
    rungs = {epochs for record in records if len(record.rungs) > 1 or not record.trained for epochs in record.rungs}
    lowest = min(rungs, default=None)
    if lowest is not None:
        trained = [record for record in trained if lowest in record.rungs and len(record.rungs) > 1]
    errors = [record.point[1] for record in trained]
    return RankCorrelation(
        rung=lowest,
        top=max((max(record.rungs) for record in trained), default=None) if lowest is not None else None,
        networks=len(trained),
        rung_tau=None if lowest is None else tau([record.rungs[lowest] for record in trained], errors),
        params_tau=tau([-record.costs["params"] for record in trained], errors),
        macs_tau=tau([-record.costs["macs"] for record in trained], errors),
        missing=sum(stopped_at(records).values()),
    )


def tau(predictor: Sequence[float], errors: Sequence[float]) -> float | None:
    """Return Kendall's tau-b, or None if there are fewer than MIN_NETWORKS pairs or one of the inputs is constant."""
    if len(errors) < MIN_NETWORKS or len(set(predictor)) < 2 or len(set(errors)) < 2:
        return None
    return float(kendalltau(predictor, errors).statistic)


def chance(networks: int) -> float:
    """Return the chance level of |tau|, at most 1: |tau| of n unrelated pairs is lower in 95 % of cases.

    The chance level is 1.96 standard deviations. The variance is 2 (2 n + 5) / (9 n (n - 1)) (Kendall, 1938, "A new
    measure of rank correlation").
    """
    variance = 2 * (2 * networks + 5) / (9 * networks * (networks - 1))
    return min(1.0, 1.96 * math.sqrt(variance))


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
