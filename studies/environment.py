"""Under which conditions numbers were taken: processor, threads and versions, but nothing that names the machine."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from search.latency.processor import processor_name, usable_processors

PACKAGES = ("torch", "torchvision", "onnxruntime", "onnx", "optuna", "numpy", "threshnet-nas")


def environment() -> dict[str, Any]:
    """The conditions of this process, JSON-ready."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": usable_processors(),
        "training": {"device": "cpu", "threads": torch.get_num_threads()},
        "versions": {package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
