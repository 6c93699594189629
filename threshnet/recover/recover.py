"""Which networks of a template have given costs: all of them counted, the nearest named.

Every network is a first half and a second half that meet in one state (channels, pools so far), and its costs are the
halves' sums. The halves of each state are enumerated whole, the second ones sorted by one cost, and each first half is
joined with the range of second ones that could bring that cost to the figure asked for (meet in the middle: Horowitz
and Sahni, 1974, "Computing partitions with applications to the knapsack problem"); the other costs are then compared.
Nothing is sampled or left out. Every network that is returned is counted again from its own spec.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from threshnet.costs import Costs, total
from threshnet.errors import InputError
from threshnet.named import NAMED
from threshnet.recover.partial import (
    COLUMNS,
    Frame,
    Ints,
    Runs,
    State,
    convolutions,
    edge,
    extended,
    head_costs,
    started,
    stem_costs,
    together,
)
from threshnet.recover.templates import POOLS, Template
from threshnet.shapes import walk
from threshnet.spec import NetworkSpec

Floats = NDArray[np.float64]
PAIRS = 1_000_000  # joined at a time


@dataclass(frozen=True)
class Figure:
    """One cost as it was stated: every value that rounds to it is meant."""

    # One of COLUMNS.
    column: str
    value: float
    # Half a unit of its last digit.
    half: float


@dataclass(frozen=True)
class Match:
    """A network with about the costs asked for, counted by threshnet.costs."""

    template: str
    # Key of NAMED, but for classes and activation, which are not looked for.
    named: str | None
    spec: NetworkSpec
    costs: Costs
    convs: int
    # The largest relative difference over the figures, 0 for a cost that rounds to its figure; a share.
    distance: float
    # The same with figures taken as exact; it orders those of equal distance.
    difference: float
    # Place in that order, 1 the nearest; equals share it.
    rank: int


@dataclass(frozen=True)
class Recovery:
    """What was found in some templates."""

    templates: tuple[Template, ...]
    figures: tuple[Figure, ...]
    # Largest distance, a share.
    within: float
    # How many networks of the templates are that near.
    matches: int
    # The least and the greatest of each of COLUMNS among them; empty where there is none.
    spans: dict[str, tuple[int, int]]
    # Named ones first, then the others by distance.
    listed: tuple[Match, ...]


@dataclass(frozen=True)
class Batch:
    """Matches of one frame: their choices block by block (blocks, n), COLUMNS (5, n), distance and difference (n,)."""

    frame: Frame
    codes: NDArray[np.int16]
    costs: Ints
    distance: Floats
    difference: Floats


def recover(
    templates: Sequence[Template], figures: Sequence[Figure], within: float, show: int, input_size: int, classes: int
) -> Recovery:
    """Every network of the templates whose distance from the figures is at most `within`; `show` of them listed.

    InputError for fewer than two figures besides that of convolutions, or an input that the templates' pools use up.
    """
    if sum(figure.column != "convs" for figure in figures) < 2:
        raise InputError("recover from what? two or more of --params, --flops, --madd, --memory; --convs besides")
    for template in templates:
        for stem in template.stems:
            edge(stem, input_size, POOLS)
    known = [_known(name, template, figures, input_size, classes) for name in NAMED for template in templates]
    special = [each for each in known if each is not None and each.distance <= within]
    nearer, matches = [0] * len(special), 0
    ends = np.empty((len(COLUMNS), 0), dtype=np.int64)
    best: list[tuple[float, float, NetworkSpec, str]] = []
    for template in templates:
        for batch in matching(template, figures, within, input_size, classes):
            matches += batch.distance.size
            ends = _ends(np.hstack([ends, batch.costs]))
            for place, one in enumerate(special):
                closer = (batch.distance < one.distance) | (
                    (batch.distance == one.distance) & (batch.difference < one.difference)
                )
                nearer[place] += int(closer.sum())
            best = _nearest([*best, *_specs(batch, show + len(special))], show + len(special))
    on_top = [replace(one, rank=1 + count) for one, count in zip(special, nearer, strict=True)]
    chosen = {one.spec.fingerprint() for one in on_top}
    others, rank = [], 0
    for place, (distance, difference, spec, home) in enumerate(best, start=1):
        if place == 1 or (distance, difference) != best[place - 2][:2]:
            rank = place
        if spec.fingerprint() not in chosen:
            others.append(_found(spec, home, None, figures, input_size, rank))
    on_top.sort(key=lambda one: one.rank)
    listed = (*on_top, *others)[: max(show, len(on_top))]
    spans = {column: (min(own), max(own)) for column, own in zip(COLUMNS, ends.tolist(), strict=True) if own}
    return Recovery(tuple(templates), tuple(figures), within, matches, spans, listed)


def _ends(costs: Ints) -> Ints:
    """The least and the greatest of each row of (5, n), as (5, 2); (5, 0) where there is none."""
    return np.stack([costs.min(axis=1), costs.max(axis=1)], axis=1) if costs.size else costs


def distances(costs: Ints, figures: Sequence[Figure]) -> tuple[Floats, Floats]:
    """Distance and difference (n,) of costs (figures, n), see Found."""
    values, halves = (np.array([[getattr(figure, key)] for figure in figures]) for key in ("value", "half"))
    off = np.abs(costs - values)
    return (np.maximum(off - halves, 0) / values).max(axis=0), (off / values).max(axis=0)


def matching(
    template: Template, figures: Sequence[Figure], within: float, input_size: int, classes: int
) -> Iterator[Batch]:
    """All networks of a template within that distance, some at a time, each once."""
    columns = [COLUMNS.index(figure.column) for figure in figures]
    most = np.full(len(COLUMNS), np.iinfo(np.int64).max)
    most[columns] = [np.floor(figure.value * (1 + within) + figure.half) for figure in figures]
    for stem, blocks, dense in product(template.stems, template.blocks, template.dense):
        frame = Frame(template, stem, blocks, dense, template.dropouts[0], classes, input_size)
        middle = (blocks + 1) // 2
        start = {(stem.widths[1], 0): started(stem_costs(frame))}
        for position in range(middle):
            start = extended(frame, start, position, most)
        for dropouts in template.dropouts:
            dropping = replace(frame, dropouts=dropouts)
            for state, first in start.items():
                if first.last.size:
                    second = _endings(dropping, state, middle, most - first.costs.min(axis=1))
                    for codes, costs in _joined(first, second, figures, within) if second.last.size else ():
                        distance, difference = distances(costs[columns], figures)
                        near = distance <= within
                        yield Batch(dropping, codes[:, near], costs[:, near], distance[near], difference[near])


def _endings(frame: Frame, state: State, middle: int, most: Ints) -> Runs:
    """The second halves that go on from a state, their heads counted."""
    runs = {state: started(np.zeros(len(COLUMNS), dtype=np.int64))}
    for position in range(middle, frame.blocks):
        runs = extended(frame, runs, position, most)
    return together([replace(one, costs=one.costs + head_costs(frame, end)[:, None]) for (end, _), one in runs.items()])


def _joined(
    first: Runs, second: Runs, figures: Sequence[Figure], within: float
) -> Iterator[tuple[NDArray[np.int16], Ints]]:
    """Choices (blocks, n) and COLUMNS (5, n) of all pairs of halves whose sums are near the figures."""
    convs, columns = COLUMNS.index("convs"), [COLUMNS.index(figure.column) for figure in figures]
    low, high = (np.full(len(COLUMNS), side * np.inf) for side in (-1, 1))
    for side, ends in ((-1, low), (1, high)):
        ends[columns] = [figure.value * (1 + side * within) + side * figure.half for figure in figures]
    main = next(column for column in columns if column != convs)
    step = int(high[main]) + 2  # more than any half costs, as dearer ones are left out
    tallies, wanted = [np.zeros_like(half.costs[main]) for half in (first, second)], range(1)
    if convs in columns:
        tallies = [half.costs[convs] for half in (first, second)]
        fewest, greatest = (sum(int(end(one)) for one in tallies) for end in (np.min, np.max))
        wanted = range(max(int(np.ceil(low[convs])), fewest), min(int(np.floor(high[convs])), greatest) + 1)
    # Second halves by their convolutions, then by the main cost.
    key = tallies[1] * step + second.costs[main]
    order = np.argsort(key, kind="stable")
    key = key[order]
    for convolutions_of_both in wanted:
        base = (convolutions_of_both - tallies[0]) * step
        least = np.maximum(np.floor(low[main] - first.costs[main]), 0).astype(np.int64)
        most = np.floor(high[main] - first.costs[main]).astype(np.int64)
        begin = np.searchsorted(key, base + least, side="left")
        pairs = np.maximum(np.searchsorted(key, base + most, side="right") - begin, 0)
        upto = np.cumsum(pairs)
        left = 0
        while left < pairs.size:
            done = upto[left - 1] if left else 0
            right = max(int(np.searchsorted(upto, done + PAIRS, side="right")), left + 1)
            here = pairs[left:right]
            one = np.repeat(np.arange(left, right), here)
            two = order[
                np.arange(one.size)
                - np.repeat(upto[left:right] - here - done, here)
                + np.repeat(begin[left:right], here)
            ]
            left = right
            rising = first.last[one] <= second.first[two]
            one, two = one[rising], two[rising]
            costs = first.costs[:, one] + second.costs[:, two]
            near = ((costs >= low[:, None]) & (costs <= high[:, None])).all(axis=0)
            yield np.vstack([first.codes[:, one[near]], second.codes[:, two[near]]]), costs[:, near]


def _specs(batch: Batch, most: int) -> list[tuple[float, float, NetworkSpec, str]]:
    """The nearest of a batch as networks."""
    order = np.lexsort((batch.difference, batch.distance))[:most]
    return [
        (
            float(batch.distance[place]),
            float(batch.difference[place]),
            batch.frame.spec(tuple(map(int, batch.codes[:, place]))),
            batch.frame.template.name,
        )
        for place in order
    ]


def _nearest(
    some: list[tuple[float, float, NetworkSpec, str]], most: int
) -> list[tuple[float, float, NetworkSpec, str]]:
    return sorted(some, key=lambda one: (*one[:2], one[2].fingerprint()))[:most]


def _known(name: str, template: Template, figures: Sequence[Figure], input_size: int, classes: int) -> Match | None:
    """The named network with these classes, where the template holds it; rank 0."""
    spec = replace(NAMED[name], classes=classes, activation="relu")
    return _found(spec, template.name, name, figures, input_size, 0) if template.holds(spec) else None


def _found(
    spec: NetworkSpec, template: str, name: str | None, figures: Sequence[Figure], input_size: int, rank: int
) -> Match:
    """A network counted from its own rows."""
    rows = walk(spec, input_size)
    costs, convs = total(rows, input_size), convolutions(rows)
    counted = [convs if figure.column == "convs" else getattr(costs, figure.column) for figure in figures]
    distance, difference = distances(np.array([counted], dtype=np.int64).T, figures)
    return Match(template, name, spec, costs, convs, float(distance[0]), float(difference[0]), rank)
