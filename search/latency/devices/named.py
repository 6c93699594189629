"""Kinds of measurement devices, by the first part of a device's name.

To add one, write its Device in a file of this folder and an entry below. An entry names its parser as text, so that
help and errors can list the kinds without importing torch.
"""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from threshnet.errors import InputError

if TYPE_CHECKING:
    from search.latency.devices.device import Device


@dataclass(frozen=True)
class DeviceKind:
    """An entry of DEVICES."""

    # The forms of a name, up to the first colon the kind itself: "cuda", "cuda:N".
    forms: tuple[str, ...]
    # One clause: what the device is.
    about: str
    # "module:function", imported on first use: name -> Device; raises InputError for a malformed name.
    parser: str
    # A name that the parser accepts, even if there is no such device.
    example: str


DEVICES: dict[str, DeviceKind] = {
    "cpu": DeviceKind(("cpu",), "the CPU of this machine", "search.latency.devices.cpu:cpu_device", "cpu"),
    "cuda": DeviceKind(
        ("cuda", "cuda:N"), "an NVIDIA GPU of this machine", "search.latency.devices.cuda:cuda_device", "cuda"
    ),
    "ssh": DeviceKind(
        ("ssh://[user@]host[:port][/folder][?python=PATH]",),
        "a machine reached over ssh",
        "search.latency.devices.ssh:ssh_device",
        "ssh://host",
    ),
}


def device_named(name: str) -> "Device":
    """The device of a name; raises InputError, which lists the forms of a name, for any other."""
    kind = DEVICES.get(name.partition(":")[0])
    if kind is None:
        raise InputError(f"device {name!r}, must be {device_forms()}")
    device: Device = resolve_name(kind.parser)(name)
    return device


def device_forms() -> str:
    """The forms that a device's name may have: "a, b or c"."""
    *others, last = [form for kind in DEVICES.values() for form in kind.forms]
    return f"{', '.join(others)} or {last}"
