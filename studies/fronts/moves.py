"""What moves when a study is looked at from another backend: who joins the front, who leaves it, how ranks change."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import kendalltau

from search.records import Record
from studies.fronts.front import Front


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


def _ranks(values: Sequence[float]) -> list[int]:
    """The rank of each value, 1 for the least; equal values share the least of theirs."""
    ordered = sorted(values)
    return [bisect.bisect_left(ordered, value) + 1 for value in values]


def _tau(before: Sequence[float], after: Sequence[float]) -> float | None:
    if len(set(before)) < 2 or len(set(after)) < 2:
        return None
    return float(kendalltau(before, after).statistic)
