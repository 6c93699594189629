"""The program that times networks on the toy accelerator: 1 ms, and 1 ms more per megabyte of the file."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from search.latency.probes.probe import Loaded, serve


def load(paths: Sequence[str], settings: Mapping[str, Any]) -> Loaded:
    """Load ONNX files: one timer each, which runs the network once and returns milliseconds."""

    def timer(path: str) -> Callable[[], float]:
        milliseconds: float = settings["batch"] * (1 + Path(path).stat().st_size / 1e6)

        def run() -> float:
            time.sleep(milliseconds / 1000)
            return milliseconds * random.uniform(1, 1.01)

        return run

    return Loaded([timer(path) for path in paths], runtime_version="1.0", processor="Toy NPU")


if __name__ == "__main__":
    serve(load)
