"""Two fronts of a study compared: the networks that join and leave the front on another backend, and their ranks."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import kendalltau

from search.records import Record
from studies.fronts.front import Front


@dataclass(frozen=True)
class Moved:
    """A network measured on two backends."""

    # Its record on the first backend and on the second.
    here: Record
    there: Record
    # Rank by latency among the networks measured on both, 1 the fastest; equal latencies share a rank.
    rank_here: int
    rank_there: int


@dataclass(frozen=True)
class Moves:
    """Two fronts of one study compared."""

    # Backends, see Latency.backend.
    here: str
    there: str
    # Every network measured on both, in the order of the trials.
    common: tuple[Moved, ...]
    # On the front there but not here, and the reverse; a network not measured there counts as neither.
    joined: tuple[Moved, ...]
    left: tuple[Moved, ...]
    # Trained networks without a reading there, with their records here.
    unmeasured: tuple[Record, ...]
    # Kendall's tau-b of the common networks' latencies, -1 to 1; None if fewer than two values differ.
    tau: float | None


def moves(here: Front, there: Front) -> Moves:
    """Compare two fronts of a study (Kendall's tau-b: Kendall, 1945, as scipy computes it)."""
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
    """The rank of each value, 1 for the smallest; equal values share the smallest of their ranks."""
    ordered = sorted(values)
    return [bisect.bisect_left(ordered, value) + 1 for value in values]


def _tau(before: Sequence[float], after: Sequence[float]) -> float | None:
    if len(set(before)) < 2 or len(set(after)) < 2:
        return None
    return float(kendalltau(before, after).statistic)
