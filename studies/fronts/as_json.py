"""Fronts as JSON-ready values."""

from collections.abc import Sequence
from typing import Any

from search.records import Record, reading
from studies.fronts.front import ParetoFront
from studies.fronts.moves import moves
from studies.fronts.wording import title
from threshnet.strict import plain


def front_json(front: ParetoFront) -> dict[str, Any]:
    """Convert one front to JSON-ready values."""
    return {
        "study": front.study,
        "about": front.about,
        "caveat": front.caveat,
        "backend": front.backend,
        "objectives": {
            "error_percent": f"{front.error_name} of one training",
            "latency_ms": "ratio to the reference network times its idle latency, with a 95 % interval",
        },
        "baseline": plain(reading(front.picked).used_baseline),
        "trained": len(front.trained),
        "hypervolume": front.hypervolume,
        "hypervolume_percent": front.share_percent,
        "linear": {"hypervolume": front.linear_hypervolume, "hypervolume_percent": front.linear_share_percent},
        "box": plain(front.box),
        "reference": {"latency_ms": front.box.max_latency_ms, "error_percent": front.box.max_error},
        "knee": front.knee.number if front.knee else None,
        "front": [
            entry(record) | {"spec": record.network.to_json() if record.network else None} for record in front.front
        ],
        "named": [
            entry(point.record)
            | {
                "on_front": point.on_front,
                "feasible": point.record.state == "finished",
                "dominated_by": [record.number for record in point.dominated_by],
            }
            for point in front.named
        ],
    }


def entry(record: Record) -> dict[str, Any]:
    """Convert one trained network to JSON-ready values."""
    latency = reading(record)
    return {
        "trial": record.number,
        "name": title(record),
        "fingerprint": record.fingerprint,
        "error_percent": record.error,
        "latency_ms": record.latency_ms,
        "latency_interval_ms": [latency.low_ms, latency.high_ms],
        "latency_relative_iqr": latency.relative_iqr,
        "latency_warnings": list(latency.warnings),
        "latency_rescaled": latency.rescaled,
        "params": record.costs["params"],
        "macs": record.costs["macs"],
        "schedule": record.schedule,
    }


def study_json(fronts: Sequence[ParetoFront]) -> dict[str, Any]:
    """Convert a study's fronts to JSON-ready values for `threshnet pareto --json` and front.json.

    The first front has the format of front_json. "backends" compares each further front with the first one.
    """
    return front_json(fronts[0]) | {"backends": {front.backend: moves_json(fronts[0], front) for front in fronts[1:]}}


def moves_json(here: ParetoFront, there: ParetoFront) -> dict[str, Any]:
    """Compare the second front with the first, as JSON-ready values. Trial numbers identify the networks."""
    compared = moves(here, there)
    return {
        "front": [entry(record) for record in there.front],
        "knee": there.knee.number if there.knee else None,
        "joined": [one.here.number for one in compared.joined],
        "left": [one.here.number for one in compared.left],
        "tau": compared.tau,
        "networks": len(compared.common),
        "unmeasured": [record.number for record in compared.unmeasured],
        "ranks": {str(one.here.number): [one.rank_here, one.rank_there] for one in compared.common},
    }
