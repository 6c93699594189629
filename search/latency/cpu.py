"""Devices of this machine: the CPU, measured in a child process with fixed threads."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from search.latency.conversation import Conversation, probe
from search.latency.lease import CPU
from search.latency.onnx_files import onnx_files
from search.latency.protocol import Protocol
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec

ROOT = Path(__file__).resolve().parents[2]  # the folder from which `search` and `threshnet` are imported
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
FROM_FILES = ("onnxruntime", "openvino")  # runtimes that take ONNX files; the others build the network


@dataclass(frozen=True)
class Cpu:
    """The CPU of this machine."""

    name: str = CPU
    runtimes: tuple[str, ...] = ("onnxruntime", "torch", "torch-compiled", "openvino")
    lease: str = CPU
    far_lease: str = ""
    tries: int = 1

    def check(self, runtime: str, protocol: Protocol) -> None:
        """InputError where the protocol asks for what this device has not."""
        if protocol.precision != "fp32":
            raise InputError(f"precision {protocol.precision!r}: the device 'cpu' measures fp32 only")
        if protocol.channels_last and runtime in FROM_FILES:
            raise InputError(f"channels_last: goes with torch, not with {runtime!r}")
        if runtime == "openvino" and find_spec("openvino") is None:
            raise InputError("runtime 'openvino' is not installed; pip install 'threshnet-nas[openvino]'")

    @contextlib.contextmanager
    def probe(self, runtime: str, protocol: Protocol) -> Iterator[Conversation]:
        """A probe for the runtime, in a process of its own."""
        module = {"onnxruntime": "probe", "openvino": "openvino_probe"}.get(runtime, "torch_probe")
        hidden = {"CUDA_VISIBLE_DEVICES": ""}
        with child(f"search.latency.{module}", f"{runtime} on {self.name}", protocol.threads, hidden) as talk:
            yield talk

    @contextlib.contextmanager
    def models(
        self, talk: Conversation, specs: Sequence[NetworkSpec], input_size: int, runtime: str, protocol: Protocol
    ) -> Iterator[Sequence[object]]:
        """The networks as the runtime's probe takes them."""
        with local_models(specs, input_size, runtime, protocol.batch) as models:
            yield models


@contextlib.contextmanager
def local_models(specs: Sequence[NetworkSpec], input_size: int, runtime: str, batch: int) -> Iterator[Sequence[object]]:
    """Networks as a runtime's probe on this machine takes them: paths of ONNX files, or the specs as JSON."""
    if runtime not in FROM_FILES:
        yield [spec.to_json() for spec in specs]
        return
    with onnx_files(specs, input_size, batch) as paths:
        yield [str(path) for path in paths]


def child(
    module: str, name: str, threads: int, variables: dict[str, str]
) -> contextlib.AbstractContextManager[Conversation]:
    """A probe module as a child process with fixed threads; our packages are importable there from anywhere."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    fixed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    command = [sys.executable, "-P", "-m", module]  # -P: a folder `search` in the user's working directory is not ours
    return probe(name, command, {**os.environ, **fixed, **variables})
