"""GPUs of this machine, each measured in a child process that sees no other.

They are numbered as torch does, in training as in measuring; set CUDA_DEVICE_ORDER=PCI_BUS_ID for nvidia-smi's numbers.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnxruntime
import torch

from search.latency.conversation import Conversation
from search.latency.devices.cpu import child, local_models
from search.latency.onnx_files import Network
from search.latency.protocol import Protocol
from search.latency.reading import State
from threshnet.errors import InputError

PROVIDER = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Cuda:
    """A CUDA device of this machine, which need not have it until it is asked to measure."""

    name: str  # "cuda" or "cuda:N"
    index: int  # torch's number of it
    visible: str  # what CUDA_VISIBLE_DEVICES calls it; the same in every process, unlike the index
    runtimes: tuple[str, ...] = ("torch-graph", "torch", "onnxruntime")  # torch-graph: captured, torch: eager
    remote_lease: str = ""
    tries: int = 1

    @property
    def lease(self) -> str:
        """Which lease a measurement on it, or a training, holds."""
        return f"cuda{self.visible}"

    def present(self) -> None:
        """InputError where torch sees no such device."""
        seen = torch.cuda.device_count()
        if not seen:
            built = "" if torch.version.cuda else ", being built without CUDA"
            raise InputError(f"device {self.name!r}: torch {torch.__version__} sees no CUDA device{built}")
        if self.index >= seen:
            there = ", ".join(f"cuda:{number}" for number in range(seen))
            raise InputError(f"device {self.name!r}: torch sees no such CUDA device, only {there}")

    def check(self, runtime: str, protocol: Protocol) -> None:
        """InputError where torch sees no such device or the protocol asks for what it has not."""
        self.present()
        if runtime != "onnxruntime":
            return
        if protocol.precision != "fp32":
            raise InputError(f"precision {protocol.precision!r}: the runtime 'onnxruntime' measures fp32 only")
        if protocol.channels_last:
            raise InputError("channels_last: goes with torch, not with 'onnxruntime'")
        if PROVIDER not in onnxruntime.get_available_providers():
            raise InputError(
                f"runtime 'onnxruntime': onnxruntime {onnxruntime.__version__} has no {PROVIDER}; "
                "install onnxruntime-gpu in its place"
            )

    @contextlib.contextmanager
    def probe(self, runtime: str, protocol: Protocol) -> Iterator[Conversation]:
        """A probe for the runtime, in a process of its own whose only GPU is this one."""
        only = {"CUDA_VISIBLE_DEVICES": self.visible}
        with child("search.latency.probes.cuda_probe", f"{runtime} on {self.name}", protocol.threads, only) as talk:
            yield talk

    @contextlib.contextmanager
    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> Iterator[Sequence[object]]:
        """The networks as the runtime's probe takes them."""
        with local_models(networks, input_size, runtime, protocol.batch) as models:
            yield models

    def hints(self, state: State) -> list[str]:
        """Nothing: the clock of a GPU has no governor."""
        return []

    def install(self, packages: Sequence[str]) -> None:
        """None: what runs here is installed with this project."""


def cuda_device(name: str) -> Cuda:
    """The device "cuda" (the first, also as "cuda:0") or "cuda:N", present or not; InputError for any other name."""
    parsed = re.fullmatch(r"cuda(?::(0|[1-9][0-9]{0,2}))?", name)
    if not parsed:
        raise InputError(f"device {name!r}, must be cuda or cuda:N, N counted from 0")
    index = int(parsed[1] or 0)
    listed = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    visible = listed[index] if index < len(listed) and listed[index] else str(index)
    return Cuda(f"cuda:{index}" if index else "cuda", index, visible)
