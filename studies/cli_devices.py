"""The commands about devices: check."""

import json
import sys

import click

from studies.options import OUT, as_json_option


@click.group()
def device() -> None:
    """Look after the devices that networks are measured on."""


@device.command()
@click.argument("device")
@click.option("--calibrate", is_flag=True, help="Record the reference network's latency anew; the device must be idle.")
@as_json_option
def check(device: str, calibrate: bool, as_json: bool) -> None:
    """Tell whether DEVICE (cpu, cuda, cuda:N, ssh://user@host) is fit to measure on; exit status 1 if not."""
    from search.latency.check import check as check_device
    from search.latency.devices import device_named
    from studies.device_table import device_table

    found = check_device(device_named(device), anew=calibrate)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    else:
        OUT.print(device_table(found))
        if found.install:
            OUT.print(f"To install what is missing:\n\n{found.install}\n", highlight=False, soft_wrap=True)
            OUT.print(f"Then measure on the device\n\n{found.afterwards}\n", highlight=False, soft_wrap=True)
    if not found.fit:
        sys.exit(1)
