"""What the page's cards tell of single networks, as a line of JSON each, as far as the page has room."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from search.latency.probes.probe import least_disturbed_cycles, round_medians
from search.latency.reading import Latency, State
from search.records import Record
from studies.fronts.front import Front
from studies.fronts.wording import conditions, title
from studies.report.page.data import number
from studies.study import LoadedStudy
from threshnet.drawing import schedule_svg

# Raw samples, curves and drawings of thousands of trials are tens of megabytes, more than a page can open at once. So
# they are in it for the fronts, then the named networks, then the latest trials, up to so many characters; the other
# cards say so. A page reads a card's line only when the card is opened.
ROOM = 4_000_000
SAMPLE_DIGITS = 4  # significant ones of a raw sample


def details(loaded: LoadedStudy, fronts: Sequence[Front], room: int = ROOM) -> dict[int, str]:
    """A JSON document on one line for each trial that there is room for, by the trial's number."""
    found: dict[int, str] = {}
    for record in _by_importance(loaded, fronts):
        text = json.dumps(detail(record, loaded.spec.input_size), separators=(",", ":"))
        if len(text) > room:
            continue  # a smaller one may still fit
        room -= len(text)
        found[record.number] = text
    return found


def detail(record: Record, input_size: int) -> dict[str, Any]:
    """One trial as its card shows it; `input_size` in pixels is that of the drawing's maps."""
    return {
        "drawing": schedule_svg(record.network, input_size, title(record)) if record.network else "",
        "losses": [[epoch["number"], number(epoch["loss"])] for epoch in record.epochs],
        "rungs": [[epochs, number(error)] for epochs, error in record.rungs.items()],
        "readings": [_reading(name, latency) for name, latency in record.latency.items()],
    }


def _by_importance(loaded: LoadedStudy, fronts: Sequence[Front]) -> Iterator[Record]:
    """Every trial that has a network once: those of the fronts, then the named ones, then the latest first."""
    known = {record.number: record for record in loaded.records if record.network}
    first = [record.number for front in fronts for record in front.front]
    named = [record.number for record in known.values() if record.named]
    yield from (known[at] for at in dict.fromkeys([*first, *named, *reversed(known)]))


def _reading(name: str, latency: Latency) -> dict[str, Any]:
    """One latency reading with its raw samples: milliseconds by cycle and run, and the cycles that count."""
    quiet = least_disturbed_cycles(round_medians((latency.reference_rounds_ms, latency.rounds_ms)))
    return {
        "backend": name,
        "ms": [number(value) for value in (latency.latency_ms, latency.low_ms, latency.high_ms)],
        "rounds": [[float(f"{ms:.{SAMPLE_DIGITS}g}") for ms in cycle] for cycle in latency.rounds_ms],
        "quiet": quiet.tolist(),
        "conditions": conditions(latency, latency.processor or latency.device),
        "facts": [
            f"ratio to the reference network {latency.ratio[0]:.3f}",
            f"reference {latency.reference_ms:.3f} ms on the quiet device, {latency.slowdown:.2f} times that meanwhile",
            f"interquartile range {latency.relative_iqr:.1%} of the median",
            "ended as precise enough" if latency.ended == "precise" else "ended when time was up",
            *_machine(latency.before, latency.after),
        ],
        "warnings": list(latency.warnings),
    }


def _machine(before: State, after: State) -> Iterator[str]:
    """How the machine fared, as far as it tells."""
    for name, unit, start, end in (
        ("temperature", " °C", before.temperature_c, after.temperature_c),
        ("clock", " MHz", before.clock_mhz, after.clock_mhz),
        ("load", "", before.load, after.load),
    ):
        if start is not None and end is not None:
            yield f"{name} {start:.4g} to {end:.4g}{unit}"
    if before.governor:
        yield f"governor {before.governor}"
