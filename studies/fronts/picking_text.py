"""What `threshnet pick` says of a network, in sentences and as JSON."""

from collections.abc import Iterator
from typing import Any

from search.records import Record
from studies.fronts.as_json import entry
from studies.fronts.picking import SEED, Pick, PickRequest, broken
from studies.fronts.wording import latency_text, named, title


def pick_told(pick: Pick) -> Iterator[str]:
    """The pick and its reasons, a line each."""
    record = pick.record
    yield (
        f"{pick.study}: {_who(record)}, {record.error:.2f} % validation error, {latency_text(record)} ms on "
        f"{pick.backend}, {record.costs['params'] / 1e6:.3f}M params, {record.costs['macs'] / 1e6:.1f}M MACs"
    )
    yield f"Why: {reason(pick)}."
    for sentence in neighbours(pick):
        yield f"  {sentence}."
    yield f"How sure: {sureness(pick)}."
    yield f"  Noise: {noise(pick)}."
    if pick.edge:
        yield f"On the edge: the latency intervals of {named(pick.edge)} reach to both sides of the limit."
    if pick.caveat:
        yield f"Note: {pick.caveat}."


def reason(pick: Pick) -> str:
    """The rule that picked it."""
    limits = " within the limits" if pick.within < pick.feasible else ""
    if pick.within == 1:
        return f"the only feasible network{limits}"
    networks = f"{pick.within} feasible networks{limits}"
    match pick.asked.rule:
        case "least error":
            return f"the least error of {networks}"
        case "quickest":
            return f"the quickest of {networks}"
        case "knee":
            return f"the knee of the front of {networks}, the point farthest below the line between that front's ends"


def neighbours(pick: Pick) -> Iterator[str]:
    """What the next networks on the front would give and cost."""
    (ms, error), asked, quicker, better = pick.record.point, pick.asked, pick.quicker, pick.better
    limits = " within the limits on params and MACs" if pick.candidates < pick.feasible else ""
    if quicker is None:
        yield f"No feasible network{limits} is quicker"
    else:
        gain, price = ms - quicker.point[0], quicker.point[1] - error
        yield f"The next quicker is {_beside(quicker, asked)}: {gain:.3f} ms less costs {price:.2f} points of error"
    if better is None:
        yield f"No feasible network{limits} is more accurate"
    else:
        gain, price = error - better.point[1], better.point[0] - ms
        yield f"The next more accurate is {_beside(better, asked)}: {gain:.2f} points better costs {price:.3f} ms"


def sureness(pick: Pick) -> str:
    """How often the rule picks it when the readings are drawn anew, and what else it picks."""
    told = pick.confidence
    others = [f"{_who(record)} in {share:.1%}" for record, share in told.others]
    others += [f"none in {told.none:.1%}, as no network keeps the limits"] if told.none else []
    instead = f"; instead {', '.join(others)}" if others else ""
    return f"the same rule picks it in {told.share:.1%} of {told.draws:,} draws of the readings' noise{instead}"


def noise(pick: Pick) -> str:
    """What was drawn anew, and what the draws leave out."""
    latency = "latencies by the interval of one pass"
    known = f"{pick.validation_images:,} validation images, drawn independently"
    if pick.training_noise is None:
        unknown = (
            "what another training of a network would give is not known (n = 1 each) and left out: less sure than told"
        )
        return f"{latency}; errors by the binomial of {known}; {unknown}"
    return (
        f"{latency}; errors by the binomial of {known}, and {pick.training_noise:g} points between trainings, as given"
    )


def pick_json(pick: Pick, export: str) -> dict[str, Any]:
    """The pick as JSON-ready values."""
    asked, told = pick.asked, pick.confidence
    return {
        "study": pick.study,
        "backend": pick.backend,
        "caveat": pick.caveat,
        "pick": entry(pick.record),
        "rule": asked.rule,
        "reason": reason(pick),
        "limits": {
            "latency_ms": asked.latency_ms,
            "error_percent": asked.error,
            "params": asked.params,
            "macs": asked.macs,
        },
        "feasible": pick.feasible,
        "candidates": pick.candidates,
        "within_limits": pick.within,
        "next_quicker": _neighbour(pick.quicker, asked),
        "next_more_accurate": _neighbour(pick.better, asked),
        "straddle_the_latency_limit": [record.number for record in pick.edge],
        "confidence": {
            "share": told.share,
            "instead": [
                {"trial": record.number, "name": title(record), "share": share} for record, share in told.others
            ],
            "none": told.none,
            "draws": told.draws,
            "seed": SEED,
            "validation_images": pick.validation_images,
            "training_noise_points": pick.training_noise,
            "model": noise(pick),
        },
        "export": export,
    }


def _neighbour(record: Record | None, asked: PickRequest) -> dict[str, Any] | None:
    """A network beside the pick as JSON-ready values, with the limits that it lies beyond."""
    if record is None:
        return None
    return entry(record) | {"beyond_limits": [limit.flag for limit in broken(record, asked)]}


def _beside(record: Record, asked: PickRequest) -> str:
    """A network beside the pick, with the limits that it lies beyond."""
    beyond = " and ".join(limit.told for limit in broken(record, asked))
    return f"{_who(record)}, beyond the limit of {beyond}" if beyond else _who(record)


def _who(record: Record) -> str:
    """A network in a sentence: its published name with its trial, or its trial alone."""
    return f"{title(record)} (trial {record.number})" if record.named else title(record)
