"""Measurement devices by name."""

from search.latency.devices.cpu import Cpu
from search.latency.devices.cuda import cuda_device
from search.latency.devices.device import Device
from search.latency.devices.ssh import ssh_device
from threshnet.errors import InputError

DEVICES = "cpu, cuda, cuda:N or ssh://[user@]host[:port][/folder][?python=PATH]"  # what a name may be, in words


def device_named(name: str) -> Device:
    """The device of a name; InputError where there is none."""
    match name:
        case "cpu":
            return Cpu()
        case _ if name.partition(":")[0] == "cuda":
            return cuda_device(name)
        case _ if name.startswith("ssh://"):
            return ssh_device(name)
        case _:
            raise InputError(f"device {name!r}, must be {DEVICES}")
