"""Networks as ONNX files for a measurement: untrained, since weights do not change fp32 latency, and batch fixed."""

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
from threshnet.export import export_onnx
from threshnet.network import build
from threshnet.spec import NetworkSpec


@contextlib.contextmanager
def onnx_files(specs: Sequence[NetworkSpec], input_size: int, batch: int) -> Iterator[list[Path]]:
    """Files that take float32 (batch, 3, size, size), gone after the block; the reference's is kept for next time.

    MeasurementError where the export fails. The global random state of torch is left alone.
    """
    with tempfile.TemporaryDirectory(prefix="threshnet-") as folder:
        paths = []
        for number, spec in enumerate(specs):
            path = Path(folder) / f"{number}.onnx"
            if spec == REFERENCE:
                path = _kept(input_size, batch)
            if not path.exists():
                _export(spec, input_size, path, batch)
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
