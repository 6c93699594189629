"""The progress of a study: its standing while it runs; at the end, the plateau of its front and rank correlations."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optuna import Study
from scipy.stats import kendalltau

from search.box import Box, Objective
from search.records import Record, record, remeasured, stopped_at
from search.volume import Plateau, Step, box_of, curve, plateau, plural

SHARES = (0.25, 0.5, 1.0)  # of the upper edge of the latency, for the lowest errors so far
MIN_NETWORKS = 3  # minimum number of networks for computing tau


@dataclass(frozen=True)
class Standing:
    """The standing of a study."""

    # Number of trials that count towards the size of the study, and this size.
    counted: int
    trials: int
    # Search cost so far in full trainings, and the budget of the study, None if it has none.
    cost: float
    budget: float | None
    # Trials that continued the training of a network that was stopped at a rung.
    resumed: int
    # Trials whose network was pruned before training or stopped at a rung, without the measurements of named networks.
    pruned: int
    failed: int
    # Lowest error in percent of the feasible networks within each latency in ms; None if there is no such network.
    best: tuple[tuple[float, float | None], ...]
    # Hypervolume in percent of the box. None without trained networks.
    hypervolume_percent: float | None

    @property
    def spent(self) -> float:
        """Share of the budget that is spent, 0 to 1; 0 without a budget."""
        return 0.0 if self.budget is None else min(1.0, self.cost / self.budget)

    @property
    def done(self) -> float:
        """Share of the study that is done, 0 to 1: of its trials or of its budget, whichever is larger."""
        return max(self.spent, min(1.0, self.counted / self.trials))


class Standings:
    """Computes the standing of a study after each trial; a trial is parsed again only if it gets another reading.

    `trials` is the size of the study, and `budget` its budget in full trainings, if any. The other arguments determine
    its box, see search.volume.box_of.
    """

    def __init__(
        self,
        study: Study,
        trials: int,
        budget: float | None,
        objective: Objective,
        class_images: Sequence[int],
        limit_ms: float | None,
    ) -> None:
        self.study, self.trials, self.budget = study, trials, budget
        self.objective, self.class_images, self.limit_ms = objective, class_images, limit_ms
        self.ended: dict[int, Record] = {}
        self.again: dict[int, dict[str, Any]] = {}

    def now(self, counted: int, cost: float) -> Standing:
        """Return the standing. `cost` is the search cost so far in full trainings."""
        again = remeasured(self.study)
        for trial in self.study.get_trials(deepcopy=False):
            later = again.get(trial.number, {})
            if trial.state.is_finished() and (
                trial.number not in self.ended or later != self.again.get(trial.number, {})
            ):
                self.ended[trial.number] = record(trial, later)
        self.again = again
        records = [self.ended[number] for number in sorted(self.ended)]
        points = [each.point for each in records if each.competes]
        limits_ms: tuple[float, ...] = ()
        volume = None
        if any(each.trained for each in records):
            box = box_of(records, self.objective, self.class_images, self.limit_ms)
            limits_ms = tuple(share * box.max_latency_ms for share in SHARES)
            volume = box.share_percent(points)
        return Standing(
            counted=counted,
            trials=self.trials,
            cost=cost,
            budget=self.budget,
            resumed=sum(each.continues is not None and not each.named for each in records),
            pruned=sum(each.state in ("stopped", "not trained") and not each.named for each in records),
            failed=sum(each.state == "failed" for each in records),
            best=tuple((most, min((error for ms, error in points if ms <= most), default=None)) for most in limits_ms),
            hypervolume_percent=volume,
        )


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

    # The box of the hypervolume.
    box: Box
    # The hypervolume after each training, in the order in which the trainings ended.
    curve: tuple[Step, ...]
    plateau: Plateau
    correlation: RankCorrelation
    # Number of networks that were stopped early and never trained to the end, by epochs trained.
    stopped: dict[int, int]

    @property
    def reference(self) -> tuple[float, float]:
        """Return the upper edges of the box: (latency in ms, error in percent)."""
        return self.box.reference

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


def progress(records: Sequence[Record], box: Box) -> StudyProgress:
    """Compute the progress of a study from its records, sorted by their end, and its box."""
    steps = tuple(curve(records, box))
    return StudyProgress(box, steps, plateau(steps), rank_correlation(records), stopped_at(records))


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
