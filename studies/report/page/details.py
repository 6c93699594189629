"""Details of networks for the cards of the page: one line of JSON for each network, with a limit on the total size."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from search.latency.reading import Latency, State
from search.latency.samples import Samples
from search.records import Record
from search.storing import samples_of
from studies.fronts.front import ParetoFront
from studies.fronts.wording import baselines_text, conditions, title
from studies.report.page.data import number
from studies.study import LoadedStudy
from threshnet.drawing import schedule_svg

# The raw samples, curves and drawings of thousands of trials take tens of megabytes, too much for one page. The page
# contains those of the fronts, then the named networks, then the latest trials, up to this number of characters. The
# other cards report that the details are missing. The page parses the line of a card only when the card is opened.
MAX_CHARACTERS = 4_000_000
SAMPLE_DIGITS = 4  # significant digits of a raw sample


def details(loaded: LoadedStudy, fronts: Sequence[ParetoFront], room: int = MAX_CHARACTERS) -> dict[int, str]:
    """Return one line of JSON for each trial by trial number, for as many trials as fit."""
    found: dict[int, str] = {}
    for record in _by_importance(loaded, fronts):
        text = json.dumps(detail(record, loaded.spec.input_size, loaded.weights), separators=(",", ":"))
        if len(text) > room:
            continue  # a smaller card may still fit
        room -= len(text)
        found[record.number] = text
    return found


def detail(record: Record, input_size: int, weights: Path) -> dict[str, Any]:
    """Return the card of one trial. The drawing shows the feature maps at `input_size`, in pixels.

    The raw latency samples are read from the artifacts in the folder `weights`.
    """
    return {
        "drawing": schedule_svg(record.network, input_size, title(record)) if record.network else "",
        "losses": [[epoch["number"], number(epoch["loss"])] for epoch in record.epochs],
        "rungs": [[epochs, number(error)] for epochs, error in record.rungs.items()],
        "readings": [_reading(name, latency, samples_of(latency, weights)) for name, latency in record.latency.items()],
    }


def _by_importance(loaded: LoadedStudy, fronts: Sequence[ParetoFront]) -> Iterator[Record]:
    """Yield each trial with a network once: first the trials on the fronts, then named networks, then latest first."""
    records = {record.number: record for record in loaded.records if record.architecture}
    first = [record.number for front in fronts for record in front.front]
    named = [record.number for record in records.values() if record.named]
    yield from (records[at] for at in dict.fromkeys([*first, *named, *reversed(records)]))


def _reading(name: str, latency: Latency, samples: Samples | None) -> dict[str, Any]:
    """Return one latency reading with its raw samples, i.e. milliseconds by cycle and run, and the counted cycles.

    Without raw samples, both lists are empty.
    """
    return {
        "backend": name,
        "ms": [number(value) for value in (latency.latency_ms, latency.low_ms, latency.high_ms)],
        "rounds": [
            [float(f"{ms:.{SAMPLE_DIGITS}g}") for ms in cycle] for cycle in (samples.counted_ms if samples else ())
        ],
        "counted": samples.counted_cycles.tolist() if samples else [],
        "conditions": conditions(latency, latency.processor or latency.device),
        "facts": [
            f"ratio to the reference network {latency.ratio[0]:.3f}",
            baselines_text([latency]),
            f"the reference network took {latency.slowdown:.2f} times as long in this reading",
            f"interquartile range {latency.relative_iqr:.1%} of the median",
            *(
                [f"{latency.lost} of {latency.runs} runs lost the processor; their CPU time counts"]
                if latency.lost
                else []
            ),
            *([f"the process lost its processor {latency.switches} times"] if latency.switches else []),
            *([f"priority of the process {latency.priority}"] if latency.priority else []),
            "stopped at the target precision" if latency.ended == "precise" else "stopped at the time limit",
            *_machine(latency.before, latency.after),
        ],
        "warnings": list(latency.warnings),
    }


def _machine(before: State, after: State) -> Iterator[str]:
    """Describe the state of the machine before and after a measurement, as far as it is known."""
    for name, unit, start, end in (
        ("temperature", " °C", before.temperature_c, after.temperature_c),
        ("clock", " MHz", before.clock_mhz, after.clock_mhz),
        ("load", "", before.load, after.load),
    ):
        if start is not None and end is not None:
            yield f"{name} {start:.4g} to {end:.4g}{unit}"
    if before.governor:
        yield f"governor {before.governor}"
