"""The commands on measurement devices: check."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from rich.table import Table

from search.latency.devices.named import device_forms, device_named
from studies.cli.options import ERR, OUT, as_json_option, print_next
from studies.cli.plain_table import PlainTable

if TYPE_CHECKING:
    from search.latency.check import About, Check


def device_table(check: "Check") -> Table:
    """The facts about a device, its problems and hints."""
    verdict = "suitable for measuring" if check.fit else "not suitable for measuring"
    table = PlainTable(f"{check.device}: {verdict}")
    table.show_header = False
    table.add_column("")
    table.add_column("", overflow="fold")
    for key, value in _rows(check):
        table.add_row(key, value)
    return table


def _rows(check: "Check") -> Iterator[tuple[str, str]]:
    if check.about:
        yield from _facts(check.about)
    if check.latency_ms and check.reference_ms:
        yield "runtime", f"{check.runtime} {check.runtime_version} survives its first inference"
        ratio = check.latency_ms / check.reference_ms
        measured = f"{check.latency_ms:.3f} ms, {ratio:.2f} times the idle baseline of {check.reference_ms:.3f} ms"
        yield "reference network", measured
    for problem in check.problems:
        yield "problem", problem
    for hint in check.hints:
        yield "hint", hint


def _facts(about: "About") -> Iterator[tuple[str, str]]:
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
        yield name, "not reported" if value is None else f"{value}{unit}"
    yield (
        "throttled",
        "not reported" if state.throttled is None else f"{state.throttled:#x}" if state.throttled else "no",
    )


@click.group()
def device() -> None:
    """Manage measurement devices."""


@device.command(epilog=f"DEVICE is {device_forms()}.")
@click.argument("device")
@click.option(
    "--calibrate", is_flag=True, help="Re-measure the reference network's idle latency; the device must be idle."
)
@as_json_option
def check(device: str, calibrate: bool, as_json: bool) -> None:
    """Check whether a device is suitable for measuring.

    The exit status is 1 if the device is not suitable.
    """
    from search.latency.check import check as check_device
    from studies.screen import Screen

    with Screen(ERR, f"checking {device}") as screen:
        screen.doing("measuring the reference network")
        found = check_device(device_named(device), recalibrate=calibrate)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        OUT.print(device_table(found))
        if found.install:
            OUT.print(f"To install what is missing:\n\n{found.install}\n", highlight=False, soft_wrap=True)
            print_next("device", "check", found.afterwards or device)
        elif found.fit:
            print_next("measure", "threshnet28", "--device", device)
    if not found.fit:
        sys.exit(1)
