"""The PyTorch probe on the CPU in fp32: `python -m search.latency.probes.torch_probe`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search.latency.probes.probe import Loaded, from_jpeg, host_timer, one_thread_clock, serve
from threshnet.baselines import LibraryModel, build_library_model
from threshnet.checkpoint import load_weights
from threshnet.network import build
from threshnet.spec import NetworkSpec


def load(models: Sequence[Any], settings: Mapping[str, Any]) -> Loaded:
    """Build or load networks for inference on inputs (batch, 3, size, size).

    The runtime "torch" is eager, and the runtime "torch-compiled" uses torch.compile with default settings. Denormals
    are flushed to zero for the reason given in search.latency.probes.probe. The networks whose indices are in
    settings["from_jpeg"] decode a JPEG in every run, see `from_jpeg`.
    """
    torch.set_num_threads(settings["threads"])
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    images = torch.rand(settings["batch"], 3, settings["input_size"], settings["input_size"])
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    images = images.contiguous(memory_format=layout)
    runs: list[Callable[[], object]] = []
    for number, model in enumerate(models):
        network: Callable[[Tensor], Tensor] = built(model, settings["input_size"]).to(memory_format=layout)
        network = torch.compile(network) if settings["runtime"] == "torch-compiled" else network
        if number in settings.get("from_jpeg", ()):
            runs.append(from_jpeg(settings, partial(infer_array, network, layout)))
        else:
            runs.append(inference(network, images))
    return Loaded(map(host_timer, runs), torch.__version__, cpu_clock=one_thread_clock(settings))


def built(model: Any, input_size: int) -> nn.Module:  # noqa: ANN401 - JSON
    """Return a network in eval mode, from JSON: a spec or a library model (both untrained), or the path of a file.

    A file is .safetensors or .pt2. Loading a .pt2 can run code, so it must be trusted.
    """
    if isinstance(model, str):
        return torch.export.load(model).module() if model.endswith(".pt2") else load_weights(Path(model))
    if "constructor" in model:
        return build_library_model(LibraryModel.from_json(model), input_size).eval()
    return build(NetworkSpec.from_json(model)).eval()


def infer_array(
    network: Callable[[Tensor], Tensor], layout: torch.memory_format, images: NDArray[np.float32]
) -> Tensor:
    """Run a network on images (batch, 3, size, size) in a numpy array."""
    return inference(network, torch.from_numpy(images).contiguous(memory_format=layout))()


def inference(network: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[], Tensor]:
    """Return a function that runs a network on images without gradients."""

    def run() -> Tensor:
        with torch.inference_mode():
            return network(images)

    return run


if __name__ == "__main__":
    serve(load)
