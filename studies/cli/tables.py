"""Tables for the terminal, one function per command."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from search.latency.compare import SAME_MARGIN, Comparison
from search.latency.reading import Latency
from search.records import reading
from search.training.metrics import METRICS
from search.volume import Step
from studies.cli.plain_table import PlainTable
from studies.fronts.front import ParetoFront
from studies.fronts.moves import Moves
from studies.fronts.wording import (
    agreement_text,
    baselines_text,
    change_text,
    flag,
    latency_text,
    mark,
    title,
    verdict,
    volume_text,
)
from studies.retraining.outcome import Retrained


def front_table(front: ParetoFront) -> Table:
    """The front, fastest first."""
    shares = f"{len(front.front)} of {len(front.trained)} trained networks"
    table = PlainTable(f"Pareto front of {front.study} on {front.backend}: {shares}", optional=("MACs M", "schedules"))
    table.add_column("network", overflow="fold")
    for name in (_error(front), "ms (95 % interval)", "params M", "MACs M"):
        table.add_column(name, justify="right")
    table.add_column("schedules")
    table.caption = (
        f"{'* the knee; ' if front.knee else ''}"
        "! an unreliable reading: wide spread, unsteady, on a busy or throttled device\n"
        f"hypervolume: {volume_text(front)}\n{_baselines(front)}"
    )
    for record in front.front:
        mark = " *" if record is front.knee else ""
        table.add_row(
            title(record) + mark,
            f"{record.error:.2f}",
            latency_text(record),
            f"{record.costs['params'] / 1e6:.3f}",
            f"{record.costs['macs'] / 1e6:.1f}",
            record.schedule.replace(" | ", ", "),
            style="bold" if record.named else "",
        )
    return table


def _baselines(front: ParetoFront) -> str:
    """The idle baseline of a front's latencies."""
    return baselines_text(map(reading, front.trained))


def _error(front: ParetoFront) -> str:
    """The heading of a column of errors."""
    return f"{METRICS[front.metric].prefix}error %"


def named_table(front: ParetoFront) -> Table:
    """The named networks and what dominates each."""
    table = PlainTable("Named networks")
    table.add_column("network", style="bold", overflow="fold")
    table.add_column(_error(front), justify="right")
    table.add_column("ms", justify="right")
    table.add_column("verdict", overflow="fold")
    table.caption = _baselines(front)
    for point in front.named:
        record = point.record
        table.add_row(title(record), f"{record.error:.2f}", f"{record.latency_ms:.3f}{flag(record)}", verdict(point))
    return table


def latency_table(name: str, latency: Latency) -> Table:
    """One latency reading."""
    table = PlainTable(f"Latency of {name}")
    table.add_column("")
    table.add_column("")
    for key, value in (
        ("latency", f"{latency.latency_ms:.3f} ms{mark(latency)} on the idle device"),
        ("95 % interval", f"{latency.low_ms:.3f} to {latency.high_ms:.3f} ms within this pass, {_ended(latency)}"),
        ("ratio to the reference", f"{latency.ratio[0]:.3f} ({latency.ratio[1]:.3f} to {latency.ratio[2]:.3f})"),
        (
            "idle baseline",
            f"{latency.used_baseline.text}; now the reference network takes {latency.slowdown:.2f} times this",
        ),
        ("interquartile range", f"{100 * latency.relative_iqr:.1f} % of the median"),
        ("runs", f"{latency.runs} in {latency.rounds} rounds, of which the least-disturbed third counts"),
        ("device", f"{latency.device}: {latency.processor}, {latency.threads} thread(s)"),
        ("runtime", f"{latency.runtime} {latency.runtime_version}, {latency.precision}"),
        ("images", f"batch {latency.batch} of {latency.input_size}x{latency.input_size}"),
        *_conditions(latency),
        *(("warning", text) for text in latency.warnings),
    ):
        table.add_row(key, value)
    table.show_header = False
    return table


def comparison_table(titles: Sequence[str], found: Comparison, device: str) -> Table:
    """The verdict on each pair of networks."""
    table = PlainTable("Latency, pair by pair", optional=("ms now",))
    for name in ("network", "is", "than / as"):
        table.add_column(name, style="bold" if name == "is" else "", overflow="fold")
    table.add_column("ratio (95 % interval)", justify="right")
    table.add_column("ms now", justify="right")
    for pair in found.pairs:
        now = f"{found.latency_ms[pair.a]:.3f}, {found.latency_ms[pair.b]:.3f}"
        ratio = f"{pair.ratio:.3f} ({pair.low:.3f}-{pair.high:.3f})"
        table.add_row(titles[pair.a], pair.verdict, titles[pair.b], ratio, now)
    table.caption = (
        f"{device}: {found.processor}, {found.runtime} {found.runtime_version}; "
        f"networks loaded {found.loads} times; SAME: within {SAME_MARGIN:.0%}; ms now: not relative to an idle baseline"
    )
    table.caption += "".join(f"\nwarning: {warning}" for warning in found.warnings)
    return table


def _ended(latency: Latency) -> str:
    return "at the target precision" if latency.ended == "precise" else "at the time limit"


def _conditions(latency: Latency) -> Iterator[tuple[str, str]]:
    """The state of the device before and after."""
    for name, unit in (("temperature_c", "degrees C"), ("clock_mhz", "MHz"), ("governor", ""), ("load", "")):
        before, after = getattr(latency.before, name), getattr(latency.after, name)
        if before is not None:
            shown = f"{before:g}, {after:g} after" if isinstance(before, float) else before
            yield name.partition("_")[0], f"{shown} {unit}".strip()


def volume_table(
    curves: Mapping[str, Sequence[Step]], linear: Mapping[str, float], full_training: int, box: str
) -> Table:
    """The ends of the curves; `linear` are their hypervolumes in percent on a linear axis.

    `full_training` is the cost of one in training images, `box` describes the box.
    """
    table = PlainTable(f"Hypervolume {box}")
    table.add_column("study", style="bold", overflow="fold")
    for name in ("trainings", "cost", "% of the box", "% on a linear axis"):
        table.add_column(name, justify="right")
    for name, steps in curves.items():
        end = steps[-1]
        cost = f"{end.image_passes / full_training:.1f}"
        table.add_row(name, str(len(steps)), cost, f"{end.share_percent:.2f}", f"{linear[name]:.2f}")
    table.caption = (
        "trainings: up to a rung or to their end; "
        f"cost: training images processed, in full trainings of {full_training:,}, failed ones included"
    )
    return table


def retrained_table(retrained: Retrained) -> Table:
    """The retrained networks, fastest first."""
    prefix = METRICS[retrained.plan.metric].prefix
    table = PlainTable("Retrained networks", optional=("params M", "seeds"))
    table.add_column("network", overflow="fold")
    columns = ["params M", "ms\n(95 % interval)"]
    columns += [f"{prefix}validation error %\n(95 % interval)"] if retrained.plan.held_out else []
    columns += [f"{prefix}test error %\n(95 % interval)"] if retrained.plan.tested else []
    for name in (*columns, "seeds"):
        table.add_column(name, justify="right")
    for one in retrained.networks:
        latency = one.latency
        table.add_row(
            one.title,
            f"{one.params / 1e6:.3f}",
            f"{latency.latency_ms:.3f} ({latency.low_ms:.3f}-{latency.high_ms:.3f}){mark(latency)}",
            *(error.text() for error in (one.validation, one.test) if error),
            str(len(one.trainings)),
        )
    return table


def moves_tables(found: Moves) -> Iterator[Table | str]:
    """The networks that joined or left the front, with their ranks by latency, then the rank correlation."""
    if not found.joined and not found.left:
        yield f"On {found.there}: {change_text(found)}."
        return
    table = PlainTable(f"Moved on {found.there}, against {found.here}")
    table.add_column("network", overflow="fold")
    table.add_column("the front")
    for name in ("error %", "objective's ms", "ms there", "rank by ms"):
        table.add_column(name, justify="right")
    common = [*found.joined, *found.left]
    table.caption = "; ".join(
        f"{where}: {baselines_text(reading(getattr(one, side)) for one in common)}"
        for where, side in ((found.here, "here"), (found.there, "there"))
    )
    for moved, change in ((found.joined, "joined"), (found.left, "left")):
        for one in moved:
            table.add_row(
                title(one.here),
                change,
                f"{one.here.error:.2f}",
                f"{one.here.latency_ms:.3f}{flag(one.here)}",
                f"{one.there.latency_ms:.3f}{flag(one.there)}",
                f"{one.rank_here} to {one.rank_there}",
                style="bold" if one.here.named else "",
            )
    yield table
    yield f"On {found.there}: {agreement_text(found)}."
