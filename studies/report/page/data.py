"""The data of a study's page as JSON-ready values: fronts, progress and trials."""

import math
from collections.abc import Sequence
from typing import Any

from scipy.stats import kendalltau, spearmanr

from search.progress import StudyProgress
from search.records import Record, reading
from search.training.metrics import error_interval
from search.volume import Step
from studies.defaults import DEFAULT_STORAGE
from studies.fronts.front import ParetoFront, competitors
from studies.fronts.moves import moves
from studies.fronts.wording import UNRELIABLE_NOTE, box_text, change_text, conditions, title, verdict, violations
from studies.report.importances import importances
from studies.storage import export_parts, place_options
from studies.study import LoadedStudy, full_training
from threshnet.named import ABOUT

DIGITS = 6  # significant digits of a number on the page
MAX_STEPS = 1000  # maximum number of steps in the hypervolume curve


def page_data(
    loaded: LoadedStudy, fronts: Sequence[ParetoFront], progress: StudyProgress, storage: str = DEFAULT_STORAGE
) -> dict[str, Any]:
    """Return the data of the page: fronts, columns with all trials, progress and parameter importances.

    The export commands on the page contain `storage` without password and query.
    """
    first = fronts[0]
    return {
        "study": first.study,
        "about": first.about,
        "caveat": first.caveat,
        "validation": loaded.images.get("validation"),
        "error_name": first.error_name,
        "balanced": first.metric == "balanced_error",
        "export": export_parts(loaded.spec.name, place_options(storage, loaded.weights.parents[1])),
        "summary": list(progress.sentences),
        "fronts": [front_data(fronts[0], front) for front in fronts],
        "trials": trials_data(loaded, fronts),
        "volume": volume_data(progress, full_training(loaded), first.backend),
        "importances": importances(loaded),
        "macs": macs_data(loaded, first.backend),
    }


def front_data(first: ParetoFront, front: ParetoFront) -> dict[str, Any]:
    """Return one front: trial numbers of its networks, fastest first, and the measurement conditions."""
    latency = reading(front.picked)
    processor = "" if latency.processor in ("", latency.device) else f" ({latency.processor})"
    feasible = bool(competitors(front.trained))
    return {
        "backend": front.backend,
        "conditions": conditions(latency, latency.device + processor),
        "trained": len(front.trained),
        "front": [record.number for record in front.front],
        "knee": front.knee.number if front.knee else None,
        "named": [{"trial": point.record.number, "verdict": verdict(point)} for point in front.named],
        "over": [record.number for record in front.trained if record.state == "infeasible" or record.postponed],
        "feasible": feasible,
        "hypervolume": number(front.hypervolume),
        "share": number(front.share_percent),
        "linear_share": number(front.linear_share_percent),
        "moved": "" if front is first else change_text(moves(first, front)),
    }


def trials_data(loaded: LoadedStudy, fronts: Sequence[ParetoFront]) -> dict[str, list[Any]]:
    """Return all trials as columns of equal length, in the order of the study. Missing values are None.

    A value in "error" is [percent, low, high], see error_interval and Record.error_images. "latency" has a column for
    each front, with values [ms, low, high, 1 if unreliable].
    """
    images = loaded.images.get("validation")
    return {
        "number": [record.number for record in loaded.records],
        "state": [record.state for record in loaded.records],
        "name": [title(record) if record.named else "" for record in loaded.records],
        "error": [_error(record, images) for record in loaded.records],
        "latency": [[_latency(record, front.backend) for record in loaded.records] for front in fronts],
        **{key: [record.costs.get(key) for record in loaded.records] for key in ("params", "macs", "memory_bytes")},
        "seconds": [number(record.seconds) for record in loaded.records],
        "image_passes": [record.image_passes or None for record in loaded.records],
        "schedule": [record.schedule for record in loaded.records],
        "fingerprint": [record.fingerprint for record in loaded.records],
        "note": [note(record) for record in loaded.records],
        "kept": [record.trained and record.weights is not None for record in loaded.records],
    }


def note(record: Record) -> str:
    """Return further information about a trial in one line."""
    parts = [ABOUT[record.named].origin] if record.named in ABOUT else []
    if record.state == "infeasible":
        parts.append(f"violates {violations(record)}")
    if record.postponed and record.trained:
        parts.append(UNRELIABLE_NOTE)
    if record.state == "stopped" and record.rungs and not record.reason:
        epochs = max(record.rungs)
        parts.append(f"stopped after {epochs} epoch{'s' if epochs > 1 else ''} at {record.rungs[epochs]:.2f} %")
    if record.continues is not None:
        parts.append(f"{'trains the network' if record.named else 'resumes the training'} of trial {record.continues}")
    if record.duplicate_of is not None:
        parts.append(f"duplicate of trial {record.duplicate_of}")
    return "; ".join([*parts, *([record.reason] if record.reason else [])])


def volume_data(progress: StudyProgress, price: int, backend: str) -> dict[str, Any]:
    """Return hypervolume over cost on the objective's backend, as steps [full trainings, percent of the box, trial].

    `price` is the cost of one full training in training images processed.
    """
    return {
        "price": price,
        "box": box_text(progress.box),
        "backend": backend,
        "steps": [
            [number(step.image_passes / price), number(step.share_percent), step.trial]
            for step in corners(progress.curve)
        ],
    }


def corners(steps: Sequence[Step]) -> list[Step]:
    """Return the steps that increase the hypervolume, at most MAX_STEPS of them, and the last step."""
    grew = [
        step
        for before, step in zip((None, *steps), steps, strict=False)
        if not before or step.hypervolume > before.hypervolume
    ]
    every = math.ceil(len(grew) / MAX_STEPS) or 1
    return [*grew[::every], *steps[-1:]]


def macs_data(loaded: LoadedStudy, backend: str) -> dict[str, Any]:
    """Return one trial of each measured network, and the rank correlation of their latencies and MACs.

    A trained network is shown by its trained trial, another one by its last trial. The correlation is None if it is
    undefined.
    """
    trained_last = sorted(loaded.records, key=lambda record: record.trained)
    measured = {r.fingerprint: r for r in trained_last if backend in r.latency and "macs" in r.costs}
    macs = [record.costs["macs"] for record in measured.values()]
    latencies = [record.latency[backend].latency_ms for record in measured.values()]
    defined = len(set(macs)) > 1 and len(set(latencies)) > 1 and len(macs) > 2
    return {
        "trials": sorted(record.number for record in measured.values()),
        "tau": number(float(kendalltau(macs, latencies).statistic)) if defined else None,
        "rho": number(float(spearmanr(macs, latencies).statistic)) if defined else None,
    }


def number(value: float | None) -> float | None:
    """Round a value to the precision of the page. Returns None if the value is not finite."""
    return float(f"{value:.{DIGITS}g}") if value is not None and math.isfinite(value) else None


def _error(record: Record, images: int | None) -> list[float | None] | None:
    if not record.trained or record.error is None:
        return None
    low, high = error_interval(record.error, record.error_images(images)) if images else (record.error, record.error)
    return [number(record.error), number(low), number(high)]


def _latency(record: Record, backend: str) -> list[float | None] | None:
    latency = record.latency.get(backend)
    if latency is None:
        return None
    values = [number(value) for value in (latency.latency_ms, latency.low_ms, latency.high_ms)]
    return [*values, 1] if latency.warnings else values
