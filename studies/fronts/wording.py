"""Sentences about networks and fronts."""

from collections.abc import Iterable, Sequence

from search.box import Box
from search.latency.reading import Latency
from search.records import Record, reading
from studies.fronts.front import NamedPoint, ParetoFront
from studies.fronts.moves import Moves
from threshnet.named import ABOUT


def title(record: Record) -> str:
    """Return the display name of a network: the name of a named network, otherwise its trial number."""
    if record.named is None:
        return f"trial {record.number}"
    return ABOUT[record.named].title if record.named in ABOUT else record.named


def verdict(point: NamedPoint) -> str:
    """Describe the position of a named network relative to the front."""
    remarks = [
        *(["violates a constraint"] if point.record.state != "finished" else []),
        *(["latency unreliable"] if point.record.postponed else []),
    ]
    if point.dominated_by:
        return "; ".join([*remarks, f"dominated by {', '.join(map(title, point.dominated_by))}"])
    outside = "a point to compare" if point.record.model else "not on the front"
    place = "on the front" if point.on_front else outside
    return "; ".join([place, *remarks, "no discovered network dominates it"])


def untrained_text(records: Sequence[Record]) -> str:
    """Name the named networks that the study measured and has not trained; "" if there are none."""
    done = {record.named for record in records if record.trained or record.state == "failed"}
    names = dict.fromkeys(title(record) for record in records if record.named and record.named not in done)
    if not names:
        return ""
    return f"Named networks not trained yet: {', '.join(names)}; they take at most half of the trainings of a study."


def flag(record: Record) -> str:
    """Return an exclamation mark if the latency is unreliable, e.g. if it varies widely or never becomes steady."""
    return mark(reading(record))


def mark(latency: Latency) -> str:
    """Return an exclamation mark if a reading has warnings."""
    return " !" if latency.warnings else ""


def latency_text(record: Record, unit: str = "") -> str:
    """Format the latency in ms with the interval of its median and the unit, and flag it if it is unreliable."""
    latency = reading(record)
    return f"{latency.latency_ms:.3f} ({latency.low_ms:.3f}-{latency.high_ms:.3f}){unit and f' {unit}'}{flag(record)}"


def conditions(latency: Latency, place: str) -> str:
    """Describe the conditions of a latency measurement. `place` is the name of the machine and comes first."""
    texts = [
        place,
        f"{latency.runtime} {latency.runtime_version}, {latency.threads} thread{'s' if latency.threads > 1 else ''}",
        f"batch {latency.batch}",
        f"input {latency.input_size} x {latency.input_size}",
        latency.precision,
    ]
    return "; ".join(texts)


def box_text(box: Box) -> str:
    """Describe the edges of a box: "0.2 to 3 ms on a log axis, 0 to 90 % error"."""
    latency = f"{box.min_latency_ms:.4g} to {box.max_latency_ms:.4g} ms on a {box.axis} axis"
    return f"{latency}, 0 to {box.max_error:.4g} % error"


def volume_text(front: ParetoFront) -> str:
    """Describe the hypervolume of a front as a share of its box and, if its axis is a log axis, on a linear one."""
    share = f"{front.share_percent:.2f} % of the box ({box_text(front.box)})"
    return share if front.box.axis == "linear" else f"{share}; {front.linear_share_percent:.2f} % on a linear axis"


def baselines_text(latencies: Iterable[Latency]) -> str:
    """Describe the idle baselines of readings, and how many of the readings were rescaled to them."""
    used = [*latencies]
    texts = dict.fromkeys(f"idle baseline {latency.used_baseline.text}" for latency in used)
    rescaled = sum(latency.rescaled for latency in used)
    note = f"{rescaled} of {len(used)} latencies rescaled from an earlier one" if rescaled else ""
    return "; ".join([*texts, *([note] if note else [])])


UNRELIABLE_NOTE = "latency unreliable, not on the front until it is measured again"  # about a postponed network


def violations(record: Record) -> str:
    """List the constraints that a network violates, with the relative excess of each."""
    return ", ".join(f"{name} by {100 * excess:.0f} %" for name, excess in record.constraints.items() if excess > 0)


MAX_NAMED = 6  # maximum number of networks named in one line


def change_text(moves: Moves) -> str:
    """Describe how the front changes from one backend to another."""
    joined, left = (names_text([one.there for one in moved]) for moved in (moves.joined, moves.left))
    parts = [f"{joined} joined the front" if joined else "", f"{left} left it" if left else ""]
    parts = [part for part in parts if part] or ["the same networks are on the front"]
    return "; ".join([*parts, agreement_text(moves)])


def agreement_text(moves: Moves) -> str:
    """Describe the rank correlation between the latencies on two backends."""
    tau = "undefined" if moves.tau is None else f"{moves.tau:.2f}"
    missing = f"; {len(moves.unmeasured)} not measured there" if moves.unmeasured else ""
    return f"Kendall's tau of {len(moves.common)} latencies {tau}{missing}"


def names_text(records: Sequence[Record]) -> str:
    """List the names of at most MAX_NAMED networks."""
    shown = ", ".join(map(title, records[:MAX_NAMED]))
    return shown + (f" and {len(records) - MAX_NAMED} more" if len(records) > MAX_NAMED else "")
