"""What moves when a study is looked at from another backend: who joins the front, who leaves it, how ranks change."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import kendalltau

from search.records import Record
from studies.front import Front, entry, front_json, title

LISTED = 6  # most networks that one line names


@dataclass(frozen=True)
class Moved:
    """A network that two backends measured."""

    # As seen on the one backend and on the other.
    here: Record
    there: Record
    # By latency among the networks that both measured, 1 the quickest; equal latencies share a rank.
    rank_here: int
    rank_there: int


@dataclass(frozen=True)
class Moves:
    """Two fronts of one study compared."""

    # Backends, see Latency.backend.
    here: str
    there: str
    # Every network that both measured, in the order of the trials.
    common: tuple[Moved, ...]
    # On the front there but not here, and the reverse; a network not measured there has not left.
    joined: tuple[Moved, ...]
    left: tuple[Moved, ...]
    # Trained networks without a reading there, as seen here.
    unmeasured: tuple[Record, ...]
    # Kendall's tau-b of the common networks' latencies, -1 to 1; None where fewer than two differ.
    tau: float | None


def moves(here: Front, there: Front) -> Moves:
    """What moved from one front of a study to another (Kendall's tau-b: Kendall, 1945, as scipy computes it)."""
    seen = {record.number: record for record in there.trained}
    pairs = [(record, seen[record.number]) for record in here.trained if record.number in seen]
    before, after = ([pair[side].point[0] for pair in pairs] for side in (0, 1))
    ranks = zip(_ranks(before), _ranks(after), strict=True)
    common = tuple(Moved(*pair, *rank) for pair, rank in zip(pairs, ranks, strict=True))
    fronts = [{record.number for record in front.front} for front in (here, there)]
    return Moves(
        here=here.backend,
        there=there.backend,
        common=common,
        joined=tuple(one for one in common if one.here.number in fronts[1] - fronts[0]),
        left=tuple(one for one in common if one.here.number in fronts[0] - fronts[1]),
        unmeasured=tuple(record for record in here.trained if record.number not in seen),
        tau=_tau(before, after),
    )


def study_json(fronts: Sequence[Front]) -> dict[str, Any]:
    """A study's fronts as JSON-ready values: what `threshnet pareto --json` prints and front.json holds.

    The first front as front_json has it; each further one, and its moves against the first, under "backends".
    """
    return front_json(fronts[0]) | {"backends": {front.backend: moves_json(fronts[0], front) for front in fronts[1:]}}


def moves_json(here: Front, there: Front) -> dict[str, Any]:
    """The second front as JSON-ready values, with what moved; networks are named by the numbers of their trials."""
    found = moves(here, there)
    return {
        "front": [entry(record) for record in there.front],
        "knee": there.knee.number,
        "joined": [one.here.number for one in found.joined],
        "left": [one.here.number for one in found.left],
        "tau": found.tau,
        "networks": len(found.common),
        "unmeasured": [record.number for record in found.unmeasured],
        "ranks": {str(one.here.number): [one.rank_here, one.rank_there] for one in found.common},
    }


def change(found: Moves) -> str:
    """What moved, in words."""
    joined, left = (named([one.there for one in moved]) for moved in (found.joined, found.left))
    parts = [f"{joined} joined the front" if joined else "", f"{left} left it" if left else ""]
    parts = [part for part in parts if part] or ["the same networks are on the front"]
    return "; ".join([*parts, agreement(found)])


def agreement(found: Moves) -> str:
    """How far the two backends agree, in words."""
    tau = "not defined" if found.tau is None else f"{found.tau:.2f}"
    missing = f"; {len(found.unmeasured)} not measured there" if found.unmeasured else ""
    return f"Kendall's tau of {len(found.common)} latencies {tau}{missing}"


def named(records: Sequence[Record]) -> str:
    """Networks by name, the first few."""
    shown = ", ".join(map(title, records[:LISTED]))
    return shown + (f" and {len(records) - LISTED} more" if len(records) > LISTED else "")


def _ranks(values: Sequence[float]) -> list[int]:
    """The rank of each value, 1 for the least; equal values share the least of theirs."""
    ordered = sorted(values)
    return [bisect.bisect_left(ordered, value) + 1 for value in values]


def _tau(before: Sequence[float], after: Sequence[float]) -> float | None:
    if len(set(before)) < 2 or len(set(after)) < 2:
        return None
    return float(kendalltau(before, after).statistic)
