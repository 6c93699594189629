"""Comparison of a study's fronts on two backends: networks that join or leave the front, and changes in rank."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import kendalltau

from search.records import Record
from studies.fronts.front import ParetoFront


@dataclass(frozen=True)
class Moved:
    """A network that was measured on two backends."""

    # Records of the network for the first and the second backend.
    here: Record
    there: Record
    # Rank by latency among the networks measured on both backends. The fastest has rank 1. Ties share a rank.
    rank_here: int
    rank_there: int


@dataclass(frozen=True)
class Moves:
    """The differences between two fronts of one study."""

    # The first and the second backend, see Latency.backend.
    here: str
    there: str
    # All networks that were measured on both backends, in the order of trials.
    common: tuple[Moved, ...]
    # Networks that are only on the second front, and networks measured on both backends that are only on the first.
    joined: tuple[Moved, ...]
    left: tuple[Moved, ...]
    # Trained networks that were not measured on the second backend, with their records for the first.
    unmeasured: tuple[Record, ...]
    # Kendall's tau-b of the latencies of the common networks, -1 to 1. None if all latencies of a backend are equal.
    tau: float | None


def moves(here: ParetoFront, there: ParetoFront) -> Moves:
    """Compare two fronts of a study. Kendall's tau-b (Kendall, 1945) is computed with scipy."""
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
    """Return the rank of each value, starting with 1 for the smallest. Equal values share their smallest rank."""
    ordered = sorted(values)
    return [bisect.bisect_left(ordered, value) + 1 for value in values]


def _tau(before: Sequence[float], after: Sequence[float]) -> float | None:
    if len(set(before)) < 2 or len(set(after)) < 2:
        return None
    return float(kendalltau(before, after).statistic)
