"""Search a template exhaustively for networks with given costs: counts all matches and lists the nearest.

Every network consists of two partial networks that meet in one state (channels, pools so far), and its costs are the
sums of theirs. All partial networks of each state are enumerated, the second ones are sorted by one cost, and each
first one is joined with the range of second ones that can bring this cost to its target (meet in the middle: Horowitz
and Sahni, 1974, "Computing partitions with applications to the knapsack problem"). The other costs are compared after
that. Nothing is sampled or skipped, and the costs of every returned network are counted again from its spec.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from threshnet import strict
from threshnet.costs import Costs, total
from threshnet.errors import InputError
from threshnet.named import NAMED
from threshnet.recover.partial import (
    COLUMNS,
    Frame,
    Ints,
    PartialNetworks,
    State,
    concatenate,
    convolutions,
    empty_partial,
    extend,
    head_costs,
    map_size,
    stem_costs,
)
from threshnet.recover.templates import POOLS, Template
from threshnet.shapes import walk
from threshnet.spec import NetworkSpec
from threshnet.strict import OneOf, Range

Floats = NDArray[np.float64]
PAIRS_PER_BATCH = 1_000_000  # pairs of partial networks joined at a time


@dataclass(frozen=True)
class Figure:
    """A stated cost; every count that rounds to it has distance 0."""

    # One of COLUMNS.
    column: Annotated[str, OneOf(COLUMNS)]
    value: Annotated[float, Range(above=0)]
    # Half a unit in its last digit.
    rounding: Annotated[float, Range(0)]

    def __post_init__(self) -> None:
        strict.check(self)


@dataclass(frozen=True)
class Match:
    """A network whose costs, counted by threshnet.costs, are close to the stated ones."""

    template: str
    # Key of NAMED for a named network; classes and activation are not compared.
    named: str | None
    spec: NetworkSpec
    costs: Costs
    convs: int
    # Largest relative difference from the figures, as a fraction; a cost that rounds to its figure has difference 0.
    distance: float
    # The same without allowing for rounding; breaks ties in distance.
    difference: float
    # Rank in that order, 1 = nearest; ties share a rank.
    rank: int


@dataclass(frozen=True)
class Recovery:
    """The result of searching some templates."""

    templates: tuple[Template, ...]
    figures: tuple[Figure, ...]
    # Largest distance of a match, as a fraction.
    within: float
    # Number of matches in the templates.
    matches: int
    # Least and greatest value of each of COLUMNS among the matches; empty if there are none.
    spans: dict[str, tuple[int, int]]
    # Named networks first, then the others by distance.
    listed: tuple[Match, ...]


@dataclass(frozen=True)
class Batch:
    """Some matches of one frame: codes (blocks, n), COLUMNS (5, n), distance and difference (n,)."""

    frame: Frame
    codes: NDArray[np.int16]
    costs: Ints
    distance: Floats
    difference: Floats


def recover(
    templates: Sequence[Template], figures: Sequence[Figure], within: float, show: int, input_size: int, classes: int
) -> Recovery:
    """Find all networks of the templates whose distance from the figures is at most `within`; lists `show` of them.

    Raises InputError for fewer than two figures other than convolutions, or an input too small for the templates'
    pools.
    """
    if sum(figure.column != "convs" for figure in figures) < 2:
        raise InputError("name two or more of --params, --flops, --madd and --memory, and --convs if it is known")
    for template in templates:
        for stem in template.stems:
            map_size(stem, input_size, POOLS)
    known = [_named_match(name, template, figures, input_size, classes) for name in NAMED for template in templates]
    named_matches = [each for each in known if each is not None and each.distance <= within]
    closer_counts, matches = [0] * len(named_matches), 0
    ranges = np.empty((len(COLUMNS), 0), dtype=np.int64)
    best: list[tuple[float, float, NetworkSpec, str]] = []
    for template in templates:
        for batch in matching(template, figures, within, input_size, classes):
            matches += batch.distance.size
            ranges = _ranges(np.hstack([ranges, batch.costs]))
            for place, one in enumerate(named_matches):
                closer = (batch.distance < one.distance) | (
                    (batch.distance == one.distance) & (batch.difference < one.difference)
                )
                closer_counts[place] += int(closer.sum())
            best = _nearest([*best, *_nearest_specs(batch, show + len(named_matches))], show + len(named_matches))
    listed_first = [replace(one, rank=1 + count) for one, count in zip(named_matches, closer_counts, strict=True)]
    chosen = {one.spec.fingerprint() for one in listed_first}
    others, rank = [], 0
    for place, (distance, difference, spec, template_name) in enumerate(best, start=1):
        if place == 1 or (distance, difference) != best[place - 2][:2]:
            rank = place
        if spec.fingerprint() not in chosen:
            others.append(_match(spec, template_name, None, figures, input_size, rank))
    listed_first.sort(key=lambda one: one.rank)
    listed = (*listed_first, *others)[: max(show, len(listed_first))]
    spans = {column: (min(own), max(own)) for column, own in zip(COLUMNS, ranges.tolist(), strict=True) if own}
    return Recovery(tuple(templates), tuple(figures), within, matches, spans, listed)


def _ranges(costs: Ints) -> Ints:
    """Minimum and maximum of each row of (5, n), as (5, 2); (5, 0) if n is 0."""
    return np.stack([costs.min(axis=1), costs.max(axis=1)], axis=1) if costs.size else costs


def distances(costs: Ints, figures: Sequence[Figure]) -> tuple[Floats, Floats]:
    """Distance and difference (n,) of costs (figures, n), as defined in Match."""
    values = np.array([[figure.value] for figure in figures])
    rounding = np.array([[figure.rounding] for figure in figures])
    errors = np.abs(costs - values)
    return (np.maximum(errors - rounding, 0) / values).max(axis=0), (errors / values).max(axis=0)


def matching(
    template: Template, figures: Sequence[Figure], within: float, input_size: int, classes: int
) -> Iterator[Batch]:
    """Yield all networks of a template within a distance from the figures, in batches, each network once."""
    columns = [COLUMNS.index(figure.column) for figure in figures]
    most = np.full(len(COLUMNS), np.iinfo(np.int64).max)
    most[columns] = [np.floor(figure.value * (1 + within) + figure.rounding) for figure in figures]
    for stem, blocks, dense in product(template.stems, template.blocks, template.dense):
        frame = Frame(template, stem, blocks, dense, template.dropouts[0], classes, input_size)
        middle = (blocks + 1) // 2
        start = {(stem.widths[1], 0): empty_partial(stem_costs(frame))}
        for position in range(middle):
            start = extend(frame, start, position, most)
        for dropouts in template.dropouts:
            dropping = replace(frame, dropouts=dropouts)
            for state, first in start.items():
                if first.last.size:
                    second = _second_parts(dropping, state, middle, most - first.costs.min(axis=1))
                    for codes, costs in _join(first, second, figures, within) if second.last.size else ():
                        distance, difference = distances(costs[columns], figures)
                        near = distance <= within
                        yield Batch(dropping, codes[:, near], costs[:, near], distance[near], difference[near])


def _second_parts(frame: Frame, state: State, middle: int, most: Ints) -> PartialNetworks:
    """Partial networks from a state to the end of the network, with the costs of the head."""
    runs = {state: empty_partial(np.zeros(len(COLUMNS), dtype=np.int64))}
    for position in range(middle, frame.blocks):
        runs = extend(frame, runs, position, most)
    return concatenate(
        [replace(one, costs=one.costs + head_costs(frame, end)[:, None]) for (end, _), one in runs.items()]
    )


def _join(
    first: PartialNetworks, second: PartialNetworks, figures: Sequence[Figure], within: float
) -> Iterator[tuple[NDArray[np.int16], Ints]]:
    """Codes (blocks, n) and COLUMNS (5, n) of all pairs whose summed costs are near the figures."""
    convs, columns = COLUMNS.index("convs"), [COLUMNS.index(figure.column) for figure in figures]
    low, high = (np.full(len(COLUMNS), side * np.inf) for side in (-1, 1))
    for side, ends in ((-1, low), (1, high)):
        ends[columns] = [figure.value * (1 + side * within) + side * figure.rounding for figure in figures]
    main = next(column for column in columns if column != convs)
    step = int(high[main]) + 2  # exceeds the main cost of every partial network, as costlier ones were dropped
    conv_counts, totals = [np.zeros_like(part.costs[main]) for part in (first, second)], range(1)
    if convs in columns:
        conv_counts = [part.costs[convs] for part in (first, second)]
        fewest, greatest = (sum(int(end(one)) for one in conv_counts) for end in (np.min, np.max))
        totals = range(max(int(np.ceil(low[convs])), fewest), min(int(np.floor(high[convs])), greatest) + 1)
    # Sort the second parts by number of convolutions, then by the main cost.
    key = conv_counts[1] * step + second.costs[main]
    order = np.argsort(key, kind="stable")
    key = key[order]
    for total_convs in totals:
        base = (total_convs - conv_counts[0]) * step
        least = np.maximum(np.floor(low[main] - first.costs[main]), 0).astype(np.int64)
        most = np.floor(high[main] - first.costs[main]).astype(np.int64)
        begin = np.searchsorted(key, base + least, side="left")
        pairs = np.maximum(np.searchsorted(key, base + most, side="right") - begin, 0)
        upto = np.cumsum(pairs)
        left = 0
        while left < pairs.size:
            done = upto[left - 1] if left else 0
            right = max(int(np.searchsorted(upto, done + PAIRS_PER_BATCH, side="right")), left + 1)
            here = pairs[left:right]
            one = np.repeat(np.arange(left, right), here)
            two = order[
                np.arange(one.size)
                - np.repeat(upto[left:right] - here - done, here)
                + np.repeat(begin[left:right], here)
            ]
            left = right
            ordered = first.last[one] <= second.first[two]  # growths never decrease
            one, two = one[ordered], two[ordered]
            costs = first.costs[:, one] + second.costs[:, two]
            near = ((costs >= low[:, None]) & (costs <= high[:, None])).all(axis=0)
            yield np.vstack([first.codes[:, one[near]], second.codes[:, two[near]]]), costs[:, near]


def _nearest_specs(batch: Batch, most: int) -> list[tuple[float, float, NetworkSpec, str]]:
    """The nearest networks of a batch, at most `most`."""
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


def _named_match(
    name: str, template: Template, figures: Sequence[Figure], input_size: int, classes: int
) -> Match | None:
    """The named network with this number of classes, if the template contains it; its rank is 0."""
    spec = replace(NAMED[name], classes=classes, activation="relu")
    return _match(spec, template.name, name, figures, input_size, 0) if template.contains(spec) else None


def _match(
    spec: NetworkSpec, template: str, name: str | None, figures: Sequence[Figure], input_size: int, rank: int
) -> Match:
    """A match with its costs counted from the network's rows."""
    rows = walk(spec, input_size)
    costs, convs = total(rows, input_size), convolutions(rows)
    counted = [convs if figure.column == "convs" else getattr(costs, figure.column) for figure in figures]
    distance, difference = distances(np.array([counted], dtype=np.int64).T, figures)
    return Match(template, name, spec, costs, convs, float(distance[0]), float(difference[0]), rank)
