"""The conditions of recorded numbers: processor, threads and versions, but nothing that identifies the machine."""

import platform
from importlib.metadata import version
from typing import Any

import torch

from search.latency.probes.probe import processor_name, usable_processors
from threshnet import __version__

PACKAGES = ("torch", "torchvision", "onnxruntime", "onnx", "optuna", "numpy")


def environment(trains_on: str = "cpu") -> dict[str, Any]:
    """The conditions of this process, which trains on the given device, JSON-ready."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": usable_processors(),
        "training": {"device": _device(trains_on), "threads": torch.get_num_threads()},
        "versions": {package: version(package) for package in PACKAGES} | {"threshnet-nas": __version__},
    }


def _device(name: str) -> str:
    """A device to train on, with its model where it is a GPU."""
    return f"{name} ({torch.cuda.get_device_name(name)})" if name.startswith("cuda") else name
