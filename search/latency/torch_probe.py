"""The child program that times a spec in eager PyTorch, fp32: `python -m search.latency.torch_probe`."""

from typing import Any

import torch

from search.latency.exchange import Ready, serve
from search.latency.timing import Protocol
from threshnet.network import build
from threshnet.spec import NetworkSpec


def prepare(model: dict[str, Any], input_size: int, protocol: Protocol) -> Ready:
    """Build the spec whose to_json() is model, untrained, for inference on (n, 3, h, w).

    Denormals count as zero, for the reason given in onnxruntime_probe.
    """
    torch.set_num_threads(protocol.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    network = build(NetworkSpec.from_json(model)).eval()
    images = torch.rand(protocol.batch, 3, input_size, input_size)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            result: torch.Tensor = network(images)
            return result

    return Ready(run, torch.__version__)


if __name__ == "__main__":
    serve(prepare)
