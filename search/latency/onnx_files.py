"""Networks as ONNX files for a measurement: batch fixed, untrained, since weights do not change fp32 latency."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from search.latency.lease import shared
from search.latency.protocol import MeasurementError
from search.latency.reference import REFERENCE
from threshnet.export.folder import export_onnx
from threshnet.network import build
from threshnet.spec import NetworkSpec

# What is measured: the network of a spec, or an ONNX file as it is, whose input is `threshnet.export.folder.INPUT`.
Network = NetworkSpec | Path


@contextlib.contextmanager
def onnx_files(networks: Sequence[Network], input_size: int, batch: int) -> Iterator[list[Path]]:
    """Files that take float32 (batch, 3, size, size), gone after the block; the reference's is kept for next time.

    A network that is a file already is handed on as it is. MeasurementError where the export fails. The global random
    state of torch is left alone.
    """
    with tempfile.TemporaryDirectory(prefix="threshnet-") as folder:
        paths = []
        for number, network in enumerate(networks):
            if isinstance(network, Path):
                paths.append(network)
                continue
            path = _kept(input_size, batch) if network == REFERENCE else Path(folder) / f"{number}.onnx"
            if not path.exists():
                _export(network, input_size, path, batch)
            paths.append(path)
        yield paths


def _kept(input_size: int, batch: int) -> Path:
    """Where the reference's file is kept (XDG base directories)."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "threshnet"
    return folder / f"reference-{REFERENCE.fingerprint()}-{input_size}-{batch}-torch{version('torch')}.onnx"


def _export(spec: NetworkSpec, input_size: int, path: Path, batch: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with shared(), torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory(dir=path.parent) as folder:
            torch.manual_seed(0)
            part = Path(folder) / path.name
            export_onnx(build(spec), input_size, part, batch)
            part.replace(path)
    except Exception as error:  # memory, disk, or torch's exporter, whose errors have no common kind
        first = str(error).strip().splitlines() or [""]
        raise MeasurementError(f"the ONNX export failed: {type(error).__name__}: {first[0]}") from error
