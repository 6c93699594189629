"""ONNX files for measuring networks: exported with a fixed batch size and untrained, or files of the user.

Weights do not change fp32 latency.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import onnx
import torch
from torch import nn

from search.latency.lease import shared
from search.latency.protocol import MeasurementError
from search.latency.reference import REFERENCE
from threshnet.baselines import LibraryModel, build_library_model
from threshnet.errors import InputError
from threshnet.export.fold import folded
from threshnet.export.folder import export_onnx
from threshnet.inspect_onnx import external_files
from threshnet.network import build
from threshnet.spec import NetworkSpec

# A network to measure: a spec or a model of a library, which is built untrained, or an ONNX file. The runtimes of torch
# on this machine load .safetensors files of this project and trusted .pt2 files instead.
Network = NetworkSpec | LibraryModel | Path


@contextlib.contextmanager
def onnx_files(networks: Sequence[Network], input_size: int, batch: int) -> Iterator[list[Path]]:
    """Export networks to ONNX files with float32 input (batch, 3, size, size) that are deleted after the block.

    The file of the reference network is cached. Networks that are already files are used unchanged, except that weights
    in other files are included, as a device receives one file. Raises MeasurementError if an export fails, and
    InputError if a library has no such model or the model does not take images of this size. The global random state of
    torch does not change.
    """
    with tempfile.TemporaryDirectory(prefix="threshnet-") as folder:
        paths = []
        for number, network in enumerate(networks):
            if isinstance(network, Path):
                paths.append(_self_contained(network, Path(folder) / f"{number}.onnx"))
                continue
            path = _cached(input_size, batch) if network == REFERENCE else Path(folder) / f"{number}.onnx"
            if not path.exists():
                _export(network, input_size, path, batch)
            paths.append(path)
        yield paths


def _cached(input_size: int, batch: int) -> Path:
    """Return the cached file of the reference network (XDG base directories)."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "threshnet"
    return folder / f"reference-folded-{REFERENCE.fingerprint()}-{input_size}-{batch}-torch{version('torch')}.onnx"


def _self_contained(file: Path, path: Path) -> Path:
    """Return the file, or its copy at `path` if its weights are in other files."""
    try:
        if not external_files(onnx.load(file, load_external_data=False)):
            return file
        onnx.save(onnx.load(file), path)
    except Exception as error:  # memory or disk errors, or those of protobuf, e.g. for more than 2 GB of weights
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MeasurementError(f"{file}: cannot be read with its weights ({first})") from None
    return path


def _export(network: NetworkSpec | LibraryModel, input_size: int, path: Path, batch: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with shared(), torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory(dir=path.parent) as folder:
            torch.manual_seed(0)
            part = Path(folder) / path.name
            # ONNX Runtime folds these norms as well; with fewer operators, the export takes half the time.
            if isinstance(network, NetworkSpec):
                model: nn.Module = folded(build(network))
            else:
                model = build_library_model(network, input_size)
            export_onnx(model, input_size, part, batch)
            part.replace(path)
    except InputError:
        raise
    except Exception as error:  # memory or disk errors, or errors of torch's exporter, which have no common base class
        first = str(error).strip().splitlines() or [""]
        raise MeasurementError(f"the ONNX export failed: {type(error).__name__}: {first[0]}") from error
