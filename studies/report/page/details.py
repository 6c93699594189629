"""The details of single networks for the page's cards, one line of JSON each, within a size limit."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from search.latency.reading import Latency, State
from search.records import Record
from studies.fronts.front import Front
from studies.fronts.wording import conditions, title
from studies.report.page.data import number
from studies.study import LoadedStudy
from threshnet.drawing import schedule_svg

# Raw samples, curves and drawings of thousands of trials are tens of megabytes, more than a page can open at once. The
# page has them for the fronts, then the named networks, then the latest trials, up to this many characters; the other
# cards say that they are missing. A page parses a card's line only when the card is opened.
MAX_CHARACTERS = 4_000_000
SAMPLE_DIGITS = 4  # significant digits of a raw sample


def details(loaded: LoadedStudy, fronts: Sequence[Front], room: int = MAX_CHARACTERS) -> dict[int, str]:
    """One line of JSON per trial, by trial number, for as many trials as fit."""
    found: dict[int, str] = {}
    for record in _by_importance(loaded, fronts):
        text = json.dumps(detail(record, loaded.spec.input_size), separators=(",", ":"))
        if len(text) > room:
            continue  # a smaller one may still fit
        room -= len(text)
        found[record.number] = text
    return found


def detail(record: Record, input_size: int) -> dict[str, Any]:
    """The card of one trial; `input_size` in pixels is that of the drawing's feature maps."""
    return {
        "drawing": schedule_svg(record.network, input_size, title(record)) if record.network else "",
        "losses": [[epoch["number"], number(epoch["loss"])] for epoch in record.epochs],
        "rungs": [[epochs, number(error)] for epochs, error in record.rungs.items()],
        "readings": [_reading(name, latency) for name, latency in record.latency.items()],
    }


def _by_importance(loaded: LoadedStudy, fronts: Sequence[Front]) -> Iterator[Record]:
    """Every trial that has a network, once: those of the fronts, the named ones, then the latest first."""
    records = {record.number: record for record in loaded.records if record.network}
    first = [record.number for front in fronts for record in front.front]
    named = [record.number for record in records.values() if record.named]
    yield from (records[at] for at in dict.fromkeys([*first, *named, *reversed(records)]))


def _reading(name: str, latency: Latency) -> dict[str, Any]:
    """One latency reading with its raw samples: milliseconds by cycle and run, and the cycles that count."""
    return {
        "backend": name,
        "ms": [number(value) for value in (latency.latency_ms, latency.low_ms, latency.high_ms)],
        "rounds": [[float(f"{ms:.{SAMPLE_DIGITS}g}") for ms in cycle] for cycle in latency.rounds_ms],
        "counted": latency.counted_cycles.tolist(),
        "conditions": conditions(latency, latency.processor or latency.device),
        "facts": [
            f"ratio to the reference network {latency.ratio[0]:.3f}",
            f"reference {latency.reference_ms:.3f} ms when idle, {latency.slowdown:.2f} times that in this reading",
            f"interquartile range {latency.relative_iqr:.1%} of the median",
            "stopped at the target precision" if latency.ended == "precise" else "stopped at the time limit",
            *_machine(latency.before, latency.after),
        ],
        "warnings": list(latency.warnings),
    }


def _machine(before: State, after: State) -> Iterator[str]:
    """The state of the machine before and after, as far as it is reported."""
    for name, unit, start, end in (
        ("temperature", " °C", before.temperature_c, after.temperature_c),
        ("clock", " MHz", before.clock_mhz, after.clock_mhz),
        ("load", "", before.load, after.load),
    ):
        if start is not None and end is not None:
            yield f"{name} {start:.4g} to {end:.4g}{unit}"
    if before.governor:
        yield f"governor {before.governor}"
