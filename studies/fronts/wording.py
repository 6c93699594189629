"""Sentences about networks, fronts and what moves between them."""

from collections.abc import Sequence

from search.latency.reading import Latency
from search.records import Record, reading
from studies.fronts.front import NamedPoint
from studies.fronts.moves import Moves
from threshnet.named import ABOUT


def title(record: Record) -> str:
    """How a network is called in print: its published name, or the number of its trial."""
    return ABOUT[record.named].title if record.named else f"trial {record.number}"


def verdict(point: NamedPoint) -> str:
    """Where a named network stands, in words."""
    over = "" if point.record.state == "finished" else " (over a limit)"
    if point.dominated_by:
        return "dominated by " + ", ".join(title(record) for record in point.dominated_by) + over
    place = "on the front" if point.on_front else "not on the front"
    return f"{place}{over}; no discovered network dominates it"


def flag(record: Record) -> str:
    """An exclamation mark where the latency is to be distrusted, as its spread was wide or it never became steady."""
    return " !" if reading(record).warnings else ""


def latency_text(record: Record) -> str:
    """The latency in ms with the interval of its median, flagged where it is to be distrusted."""
    latency = reading(record)
    return f"{latency.latency_ms:.3f} ({latency.low_ms:.3f}-{latency.high_ms:.3f}){flag(record)}"


def conditions(latency: Latency, where: str) -> str:
    """Where and how a latency was measured, in words."""
    texts = [
        where,
        f"{latency.runtime} {latency.runtime_version}, {latency.threads} thread{'s' if latency.threads > 1 else ''}",
        f"batch {latency.batch}",
        f"input {latency.input_size} x {latency.input_size}",
        latency.precision,
    ]
    return "; ".join(texts)


def broken_limits(record: Record) -> str:
    """The limits that a network is over, and by how much, in words."""
    return ", ".join(f"{name} by {100 * excess:.0f} %" for name, excess in record.constraints.items() if excess > 0)


LISTED = 6  # most networks that one line names


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
