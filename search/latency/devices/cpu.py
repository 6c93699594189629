"""The CPU of this machine, measured in a child process with a fixed number of threads."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from search.latency.conversation import Conversation, probe
from search.latency.devices.named import device_forms
from search.latency.lease import CPU
from search.latency.onnx_files import Network, onnx_files
from search.latency.protocol import Protocol
from search.latency.reading import State
from threshnet.errors import InputError

ROOT = Path(__file__).resolve().parents[3]  # the folder that contains the packages `search` and `threshnet`
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
FROM_FILES = ("onnxruntime", "openvino")  # runtimes that load ONNX files; the others build or load networks in torch
TORCH_FILES = (".safetensors", ".pt2")  # suffixes of the files that torch loads


@dataclass(frozen=True)
class Cpu:
    """The CPU of this machine."""

    name: str = CPU
    runtimes: tuple[str, ...] = ("onnxruntime", "torch", "torch-compiled", "openvino")
    lease: str = CPU
    remote_lease: str = ""
    tries: int = 1

    def check(self, runtime: str, protocol: Protocol) -> None:
        """Raise InputError if the device does not support the protocol with this runtime."""
        if protocol.precision != "fp32":
            raise InputError(f"precision {protocol.precision!r}: the device 'cpu' measures fp32 only")
        if protocol.channels_last and runtime in FROM_FILES:
            raise InputError(f"channels_last: only with torch, not with {runtime!r}")
        if runtime == "openvino" and find_spec("openvino") is None:
            raise InputError("runtime 'openvino' is not installed; pip install 'threshnet-nas[openvino]'")

    def probe(self, runtime: str, protocol: Protocol) -> AbstractContextManager[Conversation]:
        """Start a probe for the runtime in its own process."""
        module = {"onnxruntime": "probe", "openvino": "openvino_probe"}.get(runtime, "torch_probe")
        hidden = {"CUDA_VISIBLE_DEVICES": ""}
        return child(f"search.latency.probes.{module}", f"{runtime} on {self.name}", protocol.threads, hidden)

    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> AbstractContextManager[Sequence[object]]:
        """Convert the networks to the form that the probe of the runtime loads."""
        return local_models(networks, input_size, runtime, protocol.batch)

    def hints(self, state: State) -> list[str]:
        """Return hints for more reliable readings, based on the reported state, one line each."""
        return governor_hints(state)

    def install(self, packages: Sequence[str]) -> None:
        """Return None, because the packages are installed with this project."""


def cpu_device(name: str) -> Cpu:
    """Return the device "cpu"; raises InputError for any other name."""
    if name != CPU:
        raise InputError(f"device {name!r}: must be {device_forms()}")
    return Cpu()


def governor_hints(state: State) -> list[str]:
    """Return a hint for a steady clock, unless the governor is already `performance`."""
    if state.governor in (None, "performance"):
        return []
    return [
        f"the clock's governor is {state.governor}, performance is steadier: "
        "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    ]


@contextlib.contextmanager
def local_models(networks: Sequence[Network], input_size: int, runtime: str, batch: int) -> Iterator[Sequence[object]]:
    """Convert networks to the form that a probe on this machine loads: networks as JSON, or paths of files.

    Raises InputError if a network is a file that the runtime cannot load.
    """
    for network in networks:
        if isinstance(network, Path) and (network.suffix in TORCH_FILES) == (runtime in FROM_FILES):
            fitting = " or ".join(FROM_FILES) if runtime not in FROM_FILES else "torch"
            raise InputError(f"runtime {runtime!r}: cannot load {network}; choose --runtime {fitting}")
    if runtime not in FROM_FILES:
        yield [str(network) if isinstance(network, Path) else network.to_json() for network in networks]
        return
    with onnx_files(networks, input_size, batch) as paths:
        yield [str(path) for path in paths]


def child(
    module: str, name: str, threads: int, variables: dict[str, str]
) -> contextlib.AbstractContextManager[Conversation]:
    """Start a probe module as a child process with a fixed number of threads and access to this project's packages."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    fixed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    command = [sys.executable, "-P", "-m", module]  # -P: do not import `search` from the working directory
    return probe(name, command, {**os.environ, **fixed, **variables})
