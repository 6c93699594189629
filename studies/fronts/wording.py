"""Sentences about networks and fronts."""

from collections.abc import Sequence

from search.latency.reading import Latency
from search.records import Record, reading
from studies.fronts.front import NamedPoint
from studies.fronts.moves import Moves
from threshnet.named import ABOUT


def title(record: Record) -> str:
    """The printed name of a network: its published name, or the number of its trial."""
    return ABOUT[record.named].title if record.named else f"trial {record.number}"


def verdict(point: NamedPoint) -> str:
    """The position of a named network relative to the front."""
    violation = "" if point.record.state == "finished" else " (violates a constraint)"
    if point.dominated_by:
        return "dominated by " + ", ".join(title(record) for record in point.dominated_by) + violation
    place = "on the front" if point.on_front else "not on the front"
    return f"{place}{violation}; no discovered network dominates it"


def flag(record: Record) -> str:
    """An exclamation mark if the latency is unreliable, e.g. widely spread or never steady."""
    return " !" if reading(record).warnings else ""


def latency_text(record: Record) -> str:
    """The latency in ms with the interval of its median, flagged if unreliable."""
    latency = reading(record)
    return f"{latency.latency_ms:.3f} ({latency.low_ms:.3f}-{latency.high_ms:.3f}){flag(record)}"


def conditions(latency: Latency, place: str) -> str:
    """The conditions of a latency, after the `place` at which it was measured."""
    texts = [
        place,
        f"{latency.runtime} {latency.runtime_version}, {latency.threads} thread{'s' if latency.threads > 1 else ''}",
        f"batch {latency.batch}",
        f"input {latency.input_size} x {latency.input_size}",
        latency.precision,
    ]
    return "; ".join(texts)


def violations(record: Record) -> str:
    """The constraints that a network violates, each with the relative excess."""
    return ", ".join(f"{name} by {100 * excess:.0f} %" for name, excess in record.constraints.items() if excess > 0)


MAX_NAMED = 6  # networks that one line names


def change_text(moves: Moves) -> str:
    """The change of the front from one backend to another."""
    joined, left = (names_text([one.there for one in moved]) for moved in (moves.joined, moves.left))
    parts = [f"{joined} joined the front" if joined else "", f"{left} left it" if left else ""]
    parts = [part for part in parts if part] or ["the same networks are on the front"]
    return "; ".join([*parts, agreement_text(moves)])


def agreement_text(moves: Moves) -> str:
    """The rank correlation of the latencies on two backends."""
    tau = "undefined" if moves.tau is None else f"{moves.tau:.2f}"
    missing = f"; {len(moves.unmeasured)} not measured there" if moves.unmeasured else ""
    return f"Kendall's tau of {len(moves.common)} latencies {tau}{missing}"


def names_text(records: Sequence[Record]) -> str:
    """The names of networks, at most MAX_NAMED of them."""
    shown = ", ".join(map(title, records[:MAX_NAMED]))
    return shown + (f" and {len(records) - MAX_NAMED} more" if len(records) > MAX_NAMED else "")
