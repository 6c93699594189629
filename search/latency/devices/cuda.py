"""GPUs of this machine, each measured in a child process that sees no other GPU.

Their numbers are torch's, in training and in measuring; set CUDA_DEVICE_ORDER=PCI_BUS_ID for those of nvidia-smi.
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
    """A CUDA device of this machine; it need not exist until it is measured on."""

    name: str  # "cuda" or "cuda:N"
    index: int  # its number in torch
    visible: str  # its name in CUDA_VISIBLE_DEVICES; the same in every process, unlike the index
    runtimes: tuple[str, ...] = ("torch-graph", "torch", "onnxruntime")  # torch-graph: captured, torch: eager
    remote_lease: str = ""
    tries: int = 1

    @property
    def lease(self) -> str:
        """The name of the lease that a measurement or a training on the device holds."""
        return f"cuda{self.visible}"

    def present(self) -> None:
        """Raise InputError if torch sees no such device."""
        seen = torch.cuda.device_count()
        if not seen:
            built = "" if torch.version.cuda else ", being built without CUDA"
            raise InputError(f"device {self.name!r}: torch {torch.__version__} sees no CUDA device{built}")
        if self.index >= seen:
            there = ", ".join(f"cuda:{number}" for number in range(seen))
            raise InputError(f"device {self.name!r}: torch sees no such CUDA device, only {there}")

    def check(self, runtime: str, protocol: Protocol) -> None:
        """Raise InputError if torch sees no such device, or it does not support the protocol with this runtime."""
        self.present()
        if runtime != "onnxruntime":
            return
        if protocol.precision != "fp32":
            raise InputError(f"precision {protocol.precision!r}: the runtime 'onnxruntime' measures fp32 only")
        if protocol.channels_last:
            raise InputError("channels_last: only with torch, not with 'onnxruntime'")
        if PROVIDER not in onnxruntime.get_available_providers():
            raise InputError(
                f"runtime 'onnxruntime': onnxruntime {onnxruntime.__version__} has no {PROVIDER}; "
                "install onnxruntime-gpu in its place"
            )

    @contextlib.contextmanager
    def probe(self, runtime: str, protocol: Protocol) -> Iterator[Conversation]:
        """Start a probe for the runtime in its own process, whose only GPU is this one."""
        only = {"CUDA_VISIBLE_DEVICES": self.visible}
        with child("search.latency.probes.cuda_probe", f"{runtime} on {self.name}", protocol.threads, only) as talk:
            yield talk

    @contextlib.contextmanager
    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> Iterator[Sequence[object]]:
        """The networks in the form that the runtime's probe loads."""
        with local_models(networks, input_size, runtime, protocol.batch) as models:
            yield models

    def hints(self, state: State) -> list[str]:
        """No hints: the clock of a GPU has no governor."""
        return []

    def install(self, packages: Sequence[str]) -> None:
        """None: the packages are installed with this project."""


def cuda_device(name: str) -> Cuda:
    """The device "cuda" (the first, also "cuda:0") or "cuda:N", present or not; raises InputError for other names."""
    parsed = re.fullmatch(r"cuda(?::(0|[1-9][0-9]{0,2}))?", name)
    if not parsed:
        raise InputError(f"device {name!r}, must be cuda or cuda:N, N counted from 0")
    index = int(parsed[1] or 0)
    listed = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    visible = listed[index] if index < len(listed) and listed[index] else str(index)
    return Cuda(f"cuda:{index}" if index else "cuda", index, visible)
