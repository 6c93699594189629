"""ONNX files for measuring networks: exported with a fixed batch size and untrained, or files of the user.

Weights do not change fp32 latency.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import torch
from torch import nn

from search.latency.lease import shared
from search.latency.protocol import MeasurementError
from threshnet.baselines import LibraryModel, build_library_model
from threshnet.errors import InputError
from threshnet.export.fold import folded
from threshnet.export.onnx_file import export_onnx
from threshnet.inspect_onnx import external_files
from threshnet.network import build
from threshnet.spec import NetworkSpec

# A network to measure: a spec or a model of a library, which is built untrained, or an ONNX file. The runtimes of torch
# on this machine load .safetensors files of this project and trusted .pt2 files instead.
Network = NetworkSpec | LibraryModel | Path


@contextlib.contextmanager
def onnx_files(networks: Sequence[Network], input_size: int, batch: int) -> Iterator[list[Path]]:
    """Export networks to ONNX files with float32 input (batch, 3, size, size) that are deleted after the block.

    Networks that are already files are used unchanged, except that weights in other files are included, as a device
    receives one file. Raises MeasurementError if an export fails, and InputError if a library has no such model or the
    model does not take images of this size. The global random state of torch does not change.
    """
    with tempfile.TemporaryDirectory(prefix="threshnet-") as folder:
        paths = []
        for number, network in enumerate(networks):
            if isinstance(network, Path):
                paths.append(_self_contained(network, Path(folder) / f"{number}.onnx"))
                continue
            paths.append(Path(folder) / f"{number}.onnx")
            _export(network, input_size, paths[-1], batch)
        yield paths


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
        with shared(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if isinstance(network, NetworkSpec):
                model: nn.Module = folded(build(network))  # as in an exported folder
            else:
                model = build_library_model(network, input_size)
            export_onnx(model, input_size, path, batch)
    except InputError:
        raise
    except Exception as error:  # memory or disk errors, or errors of torch's exporter, which have no common base class
        first = str(error).strip().splitlines() or [""]
        raise MeasurementError(f"the ONNX export failed: {type(error).__name__}: {first[0]}") from error
