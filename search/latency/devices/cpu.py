"""Devices of this machine: the CPU, measured in a child process with fixed threads."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
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

ROOT = Path(__file__).resolve().parents[3]  # the folder from which `search` and `threshnet` are imported
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
FROM_FILES = ("onnxruntime", "openvino")  # runtimes that take ONNX files; the others build the network


@dataclass(frozen=True)
class Cpu:
    """The CPU of this machine."""

    name: str = CPU
    runtimes: tuple[str, ...] = ("onnxruntime", "torch", "torch-compiled", "openvino")
    lease: str = CPU
    remote_lease: str = ""
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
        with child(f"search.latency.probes.{module}", f"{runtime} on {self.name}", protocol.threads, hidden) as talk:
            yield talk

    @contextlib.contextmanager
    def models(
        self, talk: Conversation, networks: Sequence[Network], input_size: int, runtime: str, protocol: Protocol
    ) -> Iterator[Sequence[object]]:
        """The networks as the runtime's probe takes them."""
        with local_models(networks, input_size, runtime, protocol.batch) as models:
            yield models

    def hints(self, state: State) -> list[str]:
        """What would make its readings better, given the state it reports; one line each."""
        return governor_hints(state)

    def install(self, packages: Sequence[str]) -> None:
        """None: what runs here is installed with this project."""


def cpu_device(name: str) -> Cpu:
    """The device "cpu"; InputError for any other name."""
    if name != CPU:
        raise InputError(f"device {name!r}, must be {device_forms()}")
    return Cpu()


def governor_hints(state: State) -> list[str]:
    """How to keep a CPU's clock steady, if its governor does not."""
    if state.governor in (None, "performance"):
        return []
    return [
        f"the clock's governor is {state.governor}, performance is steadier: "
        "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    ]


@contextlib.contextmanager
def local_models(networks: Sequence[Network], input_size: int, runtime: str, batch: int) -> Iterator[Sequence[object]]:
    """Networks as a runtime's probe on this machine takes them: paths of ONNX files, or the specs as JSON.

    InputError where a runtime that builds networks is given a file.
    """
    if runtime not in FROM_FILES:
        yield [_as_json(network, runtime) for network in networks]
        return
    with onnx_files(networks, input_size, batch) as paths:
        yield [str(path) for path in paths]


def _as_json(network: Network, runtime: str) -> dict[str, object]:
    if isinstance(network, Path):
        raise InputError(f"runtime {runtime!r}: builds networks from specs; {network} needs {' or '.join(FROM_FILES)}")
    return network.to_json()


def child(
    module: str, name: str, threads: int, variables: dict[str, str]
) -> contextlib.AbstractContextManager[Conversation]:
    """A probe module as a child process with fixed threads; our packages are importable there from anywhere."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    fixed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    command = [sys.executable, "-P", "-m", module]  # -P: a folder `search` in the user's working directory is not ours
    return probe(name, command, {**os.environ, **fixed, **variables})
