"""The conditions under which numbers were recorded: processor, threads and versions, but not the machine's identity."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from search.latency.probes.probe import processor_name, usable_processors
from threshnet import __version__

PACKAGES = ("torch", "torchvision", "onnxruntime", "onnx", "optuna", "numpy")


def environment(trains_on: str = "cpu") -> dict[str, Any]:
    """Return the conditions of this process as JSON-ready values. `trains_on` is the device that it trains on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": usable_processors(),
        "training": {"device": _device(trains_on), "threads": torch.get_num_threads()},
        "versions": {package: _version(package) for package in PACKAGES} | {"threshnet-nas": __version__},
    }


def _version(package: str) -> str | None:
    """The version of a distribution; None if it is not installed, e.g. if onnxruntime-gpu replaces onnxruntime."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device(name: str) -> str:
    """Return the name of a training device, including the GPU model if it is a GPU."""
    return f"{name} ({torch.cuda.get_device_name(name)})" if name.startswith("cuda") else name
