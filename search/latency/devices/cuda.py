"""GPUs of this machine; each GPU is measured in a child process that sees no other GPU.

Training and measuring both use torch's numbering of the GPUs. Set CUDA_DEVICE_ORDER=PCI_BUS_ID to use the numbering of
nvidia-smi.
"""

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
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
    """A CUDA device of this machine; it does not need to exist until a measurement starts."""

    name: str  # "cuda" or "cuda:N"
    index: int  # its index in torch
    visible: str  # its name in CUDA_VISIBLE_DEVICES; unlike the index, it is the same in all processes
    runtimes: tuple[str, ...] = ("torch-graph", "torch", "onnxruntime")  # torch-graph: CUDA graph, torch: eager
    remote_lease: str = ""
    tries: int = 1

    @property
    def lease(self) -> str:
        """The name of the lease that is held by a measurement or a training on the device."""
        return f"cuda{self.visible}"

    def present(self) -> None:
        """Raise InputError if torch does not see the device."""
        seen = torch.cuda.device_count()
        if not seen:
            built = "" if torch.version.cuda else ", being built without CUDA"
            raise InputError(f"device {self.name!r}: torch {torch.__version__} sees no CUDA device{built}")
        if self.index >= seen:
            there = ", ".join(f"cuda:{number}" for number in range(seen))
            raise InputError(f"device {self.name!r}: torch sees no such CUDA device, only {there}")

    def check(self, runtime: str, protocol: Protocol) -> None:
        """Raise InputError if torch does not see the device or it does not support the protocol with this runtime."""
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

    def probe(self, runtime: str, protocol: Protocol) -> AbstractContextManager[Conversation]:
        """Start a probe for the runtime in a separate process that sees only this GPU."""
        only = {"CUDA_VISIBLE_DEVICES": self.visible}
        return child("search.latency.probes.cuda_probe", f"{runtime} on {self.name}", protocol.threads, only)

    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> AbstractContextManager[Sequence[object]]:
        """Convert the networks to the form that the probe of the runtime loads."""
        return local_models(networks, input_size, runtime, protocol.batch)

    def hints(self, state: State) -> list[str]:
        """Return no hints, because the clock of a GPU has no governor."""
        return []

    def install(self, packages: Sequence[str]) -> None:
        """Return None, because the packages are installed with this project."""


def cuda_device(name: str) -> Cuda:
    """Return the device "cuda" (same as "cuda:0") or "cuda:N", present or not; raises InputError for other names."""
    parsed = re.fullmatch(r"cuda(?::(0|[1-9][0-9]{0,2}))?", name)
    if not parsed:
        raise InputError(f"device {name!r}: must be cuda or cuda:N, N counted from 0")
    index = int(parsed[1] or 0)
    listed = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    visible = listed[index] if index < len(listed) and listed[index] else str(index)
    return Cuda(f"cuda:{index}" if index else "cuda", index, visible)
