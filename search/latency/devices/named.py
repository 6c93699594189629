"""The kinds of measurement devices, identified by the first part of the device name.

To add one, write a Device in a file of this folder and an entry below. The entry refers to the parser by a string, so
that help and error messages can list the kinds without importing torch.
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

    # The forms of a device name, e.g. "cuda" and "cuda:N". The part before the first colon is the kind.
    forms: tuple[str, ...]
    # A phrase that describes the device.
    about: str
    # "module:function", imported on first use: name -> Device; raises InputError for a malformed name.
    parser: str
    # A valid device name. The device does not need to exist.
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
    """Return the device called `name`; raises an InputError that lists the valid forms if the name is invalid."""
    kind = DEVICES.get(name.partition(":")[0])
    if kind is None:
        raise InputError(f"device {name!r}: must be {device_forms()}")
    device: Device = resolve_name(kind.parser)(name)
    return device


def device_forms() -> str:
    """Return the valid forms of a device name as text: "a, b or c"."""
    *others, last = [form for kind in DEVICES.values() for form in kind.forms]
    return f"{', '.join(others)} or {last}"
