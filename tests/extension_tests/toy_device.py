"""An accelerator of this machine that runs ONNX files."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from search.latency.conversation import Conversation
from search.latency.devices.cpu import child, local_models
from search.latency.onnx_files import Network
from search.latency.protocol import Protocol
from search.latency.reading import State
from threshnet.errors import InputError


@dataclass(frozen=True)
class Npu:
    """The accelerator; a process of its own runs the networks on it."""

    name: str = "npu"
    runtimes: tuple[str, ...] = ("onnxruntime",)
    lease: str = "npu"
    remote_lease: str = ""
    tries: int = 1

    def check(self, runtime: str, protocol: Protocol) -> None:
        """Raise InputError if the protocol asks for more than the accelerator has."""
        if protocol.precision != "fp32":
            raise InputError(f"precision {protocol.precision!r}: the device 'npu' measures fp32 only")
        if protocol.channels_last:
            raise InputError(f"channels_last: only with torch, not with {runtime!r}")

    def probe(self, runtime: str, protocol: Protocol) -> AbstractContextManager[Conversation]:
        """Start the program that loads and times networks."""
        return child("extension_tests.toy_probe", f"{runtime} on {self.name}", protocol.threads, {})

    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> AbstractContextManager[Sequence[object]]:
        """The networks as that program takes them: paths of ONNX files."""
        return local_models(networks, input_size, runtime, protocol.batch)

    def hints(self, state: State) -> list[str]:
        """Advice that `device check` prints."""
        return [] if state.load is None or state.load < 1 else ["close other programs, they share its memory"]

    def install(self, packages: Sequence[str]) -> None:
        """There is nothing to install."""


def npu_device(name: str) -> Npu:
    """The device "npu"; InputError for any other name."""
    if name != "npu":
        raise InputError(f"device {name!r}, must be npu")
    return Npu()
