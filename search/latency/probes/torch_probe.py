"""The PyTorch probe for untrained networks on the CPU in fp32: `python -m search.latency.probes.torch_probe`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from search.latency.probes.probe import Loaded, host_timer, serve
from threshnet.baselines import LibraryModel, build_library_model
from threshnet.network import build
from threshnet.spec import NetworkSpec


def load(models: Sequence[Any], settings: Mapping[str, Any]) -> Loaded:
    """Build untrained networks (specs or library models, as JSON) for inference on inputs (batch, 3, size, size).

    The runtime "torch" is eager, and the runtime "torch-compiled" uses torch.compile with default settings. Denormals
    are flushed to zero for the reason given in search.latency.probes.probe.
    """
    torch.set_num_threads(settings["threads"])
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    images = torch.rand(settings["batch"], 3, settings["input_size"], settings["input_size"])
    layout = torch.channels_last if settings["channels_last"] else torch.contiguous_format
    images = images.contiguous(memory_format=layout)
    networks: list[Callable[[Tensor], Tensor]] = []
    for model in models:
        network = built(model, settings["input_size"]).to(memory_format=layout)
        networks.append(torch.compile(network) if settings["runtime"] == "torch-compiled" else network)
    return Loaded([host_timer(inference(network, images)) for network in networks], torch.__version__)


def built(model: Any, input_size: int) -> nn.Module:  # noqa: ANN401 - JSON
    """Build the untrained network of a spec or of a library model (as JSON), in eval mode."""
    if "constructor" in model:
        return build_library_model(LibraryModel.from_json(model), input_size).eval()
    return build(NetworkSpec.from_json(model)).eval()


def inference(network: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[], Tensor]:
    """Return a function that runs a network on images without gradients."""

    def run() -> Tensor:
        with torch.inference_mode():
            return network(images)

    return run


if __name__ == "__main__":
    serve(load)
