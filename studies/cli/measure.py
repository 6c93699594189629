"""The commands that measure networks, and their common options: device, runtime and protocol."""

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from search.latency.devices.named import device_forms, device_named
from studies.cli.options import (
    ERR,
    MEASURABLE,
    OUT,
    Command,
    CommandFailed,
    Duration,
    as_json_option,
    input_option,
    storage_option,
)
from threshnet.errors import InputError

if TYPE_CHECKING:
    from search.latency.devices.device import Device
    from search.latency.protocol import Protocol


@dataclass(frozen=True)
class Setting:
    """The measuring options as typed."""

    device: str
    # None: the device's first.
    runtime: str | None
    batch: int
    threads: int
    precision: str
    channels_last: bool

    def resolved(self, tolerance: float | None = None, max_s: float | None = None) -> "tuple[Device, str, Protocol]":
        """Device, runtime and protocol; with None, values as in Protocol. Raises InputError if one does not exist."""
        from search.latency.measure import check_runtime
        from search.latency.protocol import Protocol

        device = device_named(self.device)
        runtime = self.runtime or device.runtimes[0]
        given = {name: value for name, value in vars(self).items() if name not in ("device", "runtime")}
        if tolerance is not None:
            given["tolerance"] = tolerance
        if max_s is not None:
            given |= {"max_s": max_s, "min_s": min(max_s, Protocol().min_s)}
        protocol = Protocol(**given)
        check_runtime(device, runtime, protocol)
        return device, runtime, protocol


def measuring_options(command: Command) -> Command:
    """Add the options of a Setting, passed to the command as `setting`."""

    @click.option("--device", default="cpu", show_default=True, help=f"{device_forms()}.")
    @click.option("--runtime", help="Runtime [onnxruntime on a CPU, torch-graph on a GPU].")
    @click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Batch size.")
    @click.option(
        "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Number of threads of the runtime."
    )
    @click.option("--precision", default="fp32", show_default=True, help="fp32; fp16 or bf16 on a GPU.")
    @click.option("--channels-last", is_flag=True, help="Use the NHWC memory layout (torch only).")
    @functools.wraps(command)
    def wrapped(
        device: str,
        runtime: str | None,
        batch: int,
        threads: int,
        precision: str,
        channels_last: bool,
        **others: Any,  # noqa: ANN401 - the command's own
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        setting = Setting(device, runtime, batch, threads, precision, channels_last)
        return command(setting=setting, **others)

    return wrapped


def stopping_options(command: Command) -> Command:
    """Add the options that say when a reading ends, passed as `tolerance` and `max_s`."""
    tolerance = click.option(
        "--tolerance", type=click.FloatRange(min=0), help="Target relative half-width of the 95 % interval [0.02]."
    )
    max_s = click.option("--max-s", type=click.FloatRange(min=0), help="Time limit of the measurement in seconds [2].")
    return tolerance(max_s(command))


@click.command(epilog=f"NETWORK is {MEASURABLE}.")
@click.argument("network")
@measuring_options
@stopping_options
@input_option(None, "Image size, pixels [the network's, or 32].")
@storage_option
@as_json_option
@click.option("--calibrate", is_flag=True, help="Re-measure the idle latency of the reference network.")
def measure(
    network: str,
    setting: Setting,
    size: int | None,
    storage: str,
    as_json: bool,
    tolerance: float | None,
    max_s: float | None,
    calibrate: bool,
) -> None:
    """Measure the latency of a network.

    The latency is measured relative to a reference network. Weights do not change it, so a network that is not a file
    is measured untrained. An ONNX file needs the runtime onnxruntime or openvino.
    """
    from search.latency.measure import measure_on
    from search.latency.protocol import MeasurementError
    from studies.cli.tables import latency_table
    from studies.network import measurable_network, measured_size
    from studies.screen import Screen
    from threshnet.strict import plain

    given = measurable_network(network, storage)
    device, runtime, protocol = setting.resolved(tolerance, max_s)
    pixels = measured_size([given], size, protocol.batch)
    try:
        with Screen(ERR, f"{given.title} on {device.name}") as screen:
            screen.doing("measuring")
            reading = measure_on(device, given.network, pixels, runtime, protocol, recalibrate=calibrate)
    except MeasurementError as error:
        raise CommandFailed(f"could not measure {given.title}: {error}") from None
    if as_json:
        click.echo(json.dumps({"network": given.title, **reading.summary(), **plain(reading.samples)}, indent=2))
    else:
        OUT.print(latency_table(given.title, reading))


@click.command(epilog=f"Each of NETWORKS is {MEASURABLE}.")
@click.argument("networks", nargs=-1, required=True)
@measuring_options
@input_option(None, "Image size, pixels [the networks', or 32].")
@click.option(
    "--limit",
    type=Duration(),
    default="22s",
    show_default=True,
    help="An undecided comparison ends after this time, e.g. 2m.",
)
@storage_option
@as_json_option
def compare(
    networks: tuple[str, ...], setting: Setting, size: int | None, limit: float, storage: str, as_json: bool
) -> None:
    """Compare the latencies of networks, pair by pair.

    All networks are measured in one run, in alternating rounds, and reloaded many times, because their placement in
    memory changes the latency. The verdict is SAME if the 95 % interval of the latency ratio is within 2 % of 1, FASTER
    or SLOWER if it is entirely outside that range, and UNDECIDED otherwise. The measurement continues until every pair
    is decided or the --limit is reached.
    """
    from search.latency.compare import compare_on
    from search.latency.protocol import MeasurementError
    from studies.cli.tables import comparison_table
    from studies.network import measurable_network, measured_size
    from studies.screen import Screen

    if len(networks) < 2:
        raise InputError("name at least two networks to compare")
    given = [measurable_network(network, storage) for network in networks]
    device, runtime, protocol = setting.resolved()
    pixels = measured_size(given, size, protocol.batch)
    try:
        with Screen(ERR, f"{len(given)} networks on {device.name}") as screen:
            screen.doing("comparing")
            found = compare_on(device, [one.network for one in given], pixels, runtime, protocol, limit_s=limit)
    except MeasurementError as error:
        raise CommandFailed(f"could not compare: {error}") from None
    titles = [one.title for one in given]
    if as_json:
        pairs = [
            {"a": titles[pair.a], "b": titles[pair.b], "verdict": pair.verdict}
            | {"ratio": pair.ratio, "low": pair.low, "high": pair.high}
            for pair in found.pairs
        ]
        conditions = {"device": device.name, "processor": found.processor, "input_size": pixels}
        conditions |= {"runtime": runtime, "runtime_version": found.runtime_version, "loads": found.loads}
        conditions |= protocol.to_json()
        click.echo(json.dumps({"pairs": pairs, "conditions": conditions, "warnings": found.warnings}, indent=2))
    else:
        OUT.print(comparison_table(titles, found, device.name))
