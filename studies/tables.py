"""Tables for the terminal, one function per command."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from search.latency.timing import Latency
from studies.front import Front, flag, latency_text, title, verdict
from studies.listing import Listed
from threshnet.costs import Costs


def front_table(front: Front) -> Table:
    """The front, quickest first."""
    table = _table(f"Pareto front of {front.study}: {len(front.front)} of {len(front.trained)} trained networks")
    table.add_column("network", no_wrap=True)
    for name in ("error %", "ms (95 % interval)", "params M", "MACs M"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("schedules")
    table.caption = "* the knee; the interval is that of the median within one pass; ! spread wide or unsteady"
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


def named_table(front: Front) -> Table:
    """The named networks and what dominates each."""
    table = _table("Named networks")
    table.add_column("network", style="bold", no_wrap=True)
    table.add_column("error %", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for point in front.named:
        record = point.record
        table.add_row(title(record), f"{record.error:.2f}", f"{record.latency_ms:.3f}{flag(record)}", verdict(point))
    return table


def costs_table(rows: Sequence[tuple[str, int, Costs]]) -> Table:
    """Costs of networks at one input size."""
    table = _table(f"Costs at {rows[0][2].input_size}x{rows[0][2].input_size}")
    table.add_column("network", style="bold", no_wrap=True)
    for name in ("classes", "params", "MACs G", "FLOPs G*", "MAdd G*", "MiB*"):
        table.add_column(name, justify="right")
    for name, classes, costs in rows:
        table.add_row(
            name,
            str(classes),
            f"{costs.params:,}",
            f"{costs.macs / 1e9:.6f}",
            f"{costs.flops / 1e9:.6f}",
            f"{costs.madd / 1e9:.6f}",
            f"{costs.memory_mib:.4f}",
        )
    table.caption = "* as torchstat counts them; MiB: outputs of all modules in fp32"
    return table


def latency_table(name: str, latency: Latency) -> Table:
    """One latency reading."""
    table = _table(f"Latency of {name}")
    table.add_column("")
    table.add_column("")
    for key, value in (
        ("median", f"{latency.median_ms:.3f} ms"),
        ("95 % interval of the median", f"{latency.low_ms:.3f} to {latency.high_ms:.3f} ms, within this pass"),
        ("interquartile range", f"{latency.iqr_ms:.3f} ms ({100 * latency.relative_iqr:.1f} %)"),
        ("runs", str(len(latency.samples_ms))),
        ("device", f"{latency.device}: {latency.processor}, {latency.threads} thread(s)"),
        ("runtime", f"{latency.runtime} {latency.runtime_version}, {latency.precision}"),
        ("images", f"batch {latency.batch} of {latency.input_size}x{latency.input_size}"),
        *(("warning", text) for text in latency.warnings),
    ):
        table.add_row(key, value)
    table.show_header = False
    return table


def studies_table(storage: str, listed: Sequence[Listed]) -> Table:
    """The studies of a storage."""
    table = _table(f"Studies in {storage}")
    table.add_column("study", style="bold", no_wrap=True)
    for name in ("trained", "untrained", "failed", "repeated", "open", "volume"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last activity", no_wrap=True)
    for study in listed:
        states = study.states
        table.add_row(
            study.name,
            str(states.get("finished", 0) + states.get("infeasible", 0)),
            *(str(states.get(state, 0)) for state in ("not trained", "failed", "duplicate")),
            str(sum(states.get(state, 0) for state in ("interrupted", "running", "waiting"))),
            "-" if study.hypervolume is None else f"{study.hypervolume:.2f}",
            study.last_activity or "-",
        )
    table.caption = (
        "open: interrupted, running or waiting; "
        "volume: hypervolume in ms x percent, below 1.1 x the worst trained network of the study"
    )
    return table


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
