"""The output of `threshnet pick` as text and as JSON."""

from collections.abc import Iterator
from typing import Any

from search.records import Record, reading
from studies.fronts.as_json import entry
from studies.fronts.front import has_knee
from studies.fronts.picking import SEED, PickRequest, PickResult, exceeded
from studies.fronts.wording import baselines_text, latency_text, names_text, title
from threshnet import strict


def pick_text(pick: PickResult) -> Iterator[str]:
    """Yield lines with the picked network, the reason and the confidence."""
    record = pick.record
    yield (
        f"{pick.study}: {_name(record)}, {record.error:.2f} % {pick.error_name}, {latency_text(record, 'ms')} on "
        f"{pick.backend}, {record.costs['params'] / 1e6:.3f}M params, {record.costs['macs'] / 1e6:.1f}M MACs"
    )
    yield f"  {baselines_text([reading(record)])}"
    for warning in reading(record).warnings:
        yield f"  ! unreliable latency: {warning}"
    yield f"Reason: {reason(pick)}."
    for sentence in neighbours(pick):
        yield f"  {sentence}."
    yield f"Confidence: {confidence_text(pick)}."
    yield f"  Noise model: {noise_text(pick)}."
    if pick.edge:
        yield f"At the limit: the latency intervals of {names_text(pick.edge)} contain it."
    if pick.caveat:
        yield f"Note: {pick.caveat}."


def reason(pick: PickResult) -> str:
    """Describe the rule that picked the network."""
    limits = " within the limits" if pick.within < pick.feasible else ""
    if pick.within == 1:
        return f"the only feasible network{limits}"
    networks = f"{pick.within} feasible networks{limits}"
    match pick.request.rule:
        case "lowest error":
            return f"the lowest error of {networks}"
        case "fastest":
            return f"the fastest of {networks}"
        case "knee" if has_knee(pick.on_front):
            return f"the knee of the front of {networks}, the point farthest below the line between that front's ends"
        case "knee" if pick.on_front == 1:
            return f"the fastest and the most accurate of {networks}"
        case "knee":
            return f"the faster of the two networks on the front of {networks}; a front of two has no knee"


def neighbours(pick: PickResult) -> Iterator[str]:
    """Yield the trade-offs between the picked network and its two neighbours on the front."""
    (ms, error), request, faster, better = pick.record.point, pick.request, pick.faster, pick.better
    limits = " within the limits on params and MACs" if pick.candidates < pick.feasible else ""
    if faster is None:
        yield f"No feasible network{limits} is faster"
    else:
        gain, price = ms - faster.point[0], faster.point[1] - error
        network = _neighbour_text(faster, request)
        yield f"The next faster network is {network}: {gain:.3f} ms less, {price:.2f} points more error"
    if better is None:
        yield f"No feasible network{limits} is more accurate"
    else:
        gain, price = error - better.point[1], better.point[0] - ms
        network = _neighbour_text(better, request)
        yield f"The next more accurate network is {network}: {gain:.2f} points less, {price:.3f} ms more"


def confidence_text(pick: PickResult) -> str:
    """Describe the confidence: how many resamples pick the same network, and which alternatives the others pick."""
    found = pick.confidence
    others = [f"{_name(record)} in {share:.1%}" for record, share in found.others]
    others += [f"none in {found.none:.1%}, since no network satisfies the limits"] if found.none else []
    alternatives = f"; otherwise {', '.join(others)}" if others else ""
    return f"the same rule picks it in {found.share:.1%} of {found.draws:,} resamples of the readings{alternatives}"


def noise_text(pick: PickResult) -> str:
    """Describe the noise model of the resamples and its limitations."""
    by_class = ", by class" if pick.record.class_errors else ""
    model = (
        f"latencies from the interval of one pass; errors binomial over {pick.validation_images:,} validation images"
        f"{by_class}, resampled independently"
    )
    if pick.training_noise is None:
        return f"{model}; seed-to-seed variance is unknown (n = 1 each) and left out, so the confidence is optimistic"
    return f"{model}, plus a standard deviation of {pick.training_noise:g} points between training seeds, as given"


def pick_json(pick: PickResult, export: str) -> dict[str, Any]:
    """Convert the pick to JSON-ready values."""
    request, found = pick.request, pick.confidence
    return {
        "study": pick.study,
        "backend": pick.backend,
        "caveat": pick.caveat,
        "pick": entry(pick.record),
        "baseline": strict.plain(reading(pick.record).used_baseline),
        "rule": request.rule,
        "reason": reason(pick),
        "limits": {
            "latency_ms": request.latency_ms,
            "error_percent": request.error,
            "params": request.params,
            "macs": request.macs,
        },
        "feasible": pick.feasible,
        "candidates": pick.candidates,
        "within_limits": pick.within,
        "next_quicker": _neighbour(pick.faster, request),
        "next_more_accurate": _neighbour(pick.better, request),
        "straddle_the_latency_limit": [record.number for record in pick.edge],
        "confidence": {
            "share": found.share,
            "instead": [
                {"trial": record.number, "name": title(record), "share": share} for record, share in found.others
            ],
            "none": found.none,
            "draws": found.draws,
            "seed": SEED,
            "validation_images": pick.validation_images,
            "training_noise_points": pick.training_noise,
            "model": noise_text(pick),
        },
        "export": export,
    }


def _neighbour(record: Record | None, request: PickRequest) -> dict[str, Any] | None:
    """Convert a neighbour of the pick to JSON-ready values, including the limits that it exceeds."""
    if record is None:
        return None
    return entry(record) | {"beyond_limits": [limit.flag for limit in exceeded(record, request)]}


def _neighbour_text(record: Record, request: PickRequest) -> str:
    """Describe a neighbour of the pick, including the limits that it exceeds."""
    beyond = " and ".join(limit.text for limit in exceeded(record, request))
    return f"{_name(record)}, beyond the limit of {beyond}" if beyond else _name(record)


def _name(record: Record) -> str:
    """Return the name of a network for use in a sentence: published name and trial number, or only the trial number."""
    return f"{title(record)} (trial {record.number})" if record.named else title(record)
