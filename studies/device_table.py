"""The table of `threshnet device check`."""

from collections.abc import Iterator

from rich.table import Table

from search.latency.check import About, Check
from studies.options import plain_table


def device_table(check: Check) -> Table:
    """What is known of a device, and what speaks against it."""
    verdict = "fit to measure on" if check.fit else "not fit to measure on"
    table = plain_table(f"{check.device}: {verdict}")
    table.show_header = False
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    for key, value in _rows(check):
        table.add_row(key, value)
    return table


def _rows(check: Check) -> Iterator[tuple[str, str]]:
    if check.about:
        yield from _facts(check.about)
    if check.latency_ms and check.reference_ms:
        yield "runtime", f"{check.runtime} {check.runtime_version} survives its first inference"
        ratio = check.latency_ms / check.reference_ms
        told = f"{check.latency_ms:.3f} ms, {ratio:.2f} times the recorded {check.reference_ms:.3f} ms"
        yield "reference network", told
    for problem in check.problems:
        yield "problem", problem
    for hint in check.hints:
        yield "hint", hint


def _facts(about: About) -> Iterator[tuple[str, str]]:
    state = about.state
    yield "processor", f"{about.processor}, {about.processors} usable, {about.machine}, {about.bits}-bit"
    yield "python", about.python
    yield "numpy", about.versions.numpy or "not installed"
    yield "onnxruntime", about.versions.onnxruntime or "not installed"
    for name, value, unit in (
        ("free memory", about.free_mib, " MiB"),
        ("governor", state.governor, ""),
        ("clock", state.clock_mhz, " MHz"),
        ("temperature", state.temperature_c, " degrees C"),
        ("load", state.load, ""),
    ):
        yield name, "not told" if value is None else f"{value}{unit}"
    yield "throttled", "not told" if state.throttled is None else f"{state.throttled:#x}" if state.throttled else "no"
