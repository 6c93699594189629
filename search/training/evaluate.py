"""Predictions of a network, and its error rate."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from search.data import Split
from threshnet.shared_lease import SharedLease

BATCH = 100  # images per forward pass; larger batches no longer fit into a CPU's caches


def scaled(images: Tensor) -> Tensor:
    """Scale uint8 pixels (n, 3, h, w) to float32 in [0, 1], the input of every network."""
    return images.float() / 255


def logits(model: nn.Module, images: Tensor, shared_lease: SharedLease = nullcontext) -> Tensor:
    """Logits (n, classes) on the CPU for (n, 3, h, w) uint8 images, in eval mode and fp32, on the model's device.

    Each batch runs inside a `shared_lease`.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        parts = []
        for part in images.split(BATCH):
            with shared_lease(), torch.inference_mode():
                parts.append(model(scaled(part.to(device))).float().cpu())
        return torch.cat(parts)
    finally:
        model.train(training)


def error_percent(model: nn.Module, split: Split, shared_lease: SharedLease = nullcontext) -> float:
    """Percentage of the split's images that are misclassified; each batch runs inside a `shared_lease`."""
    wrong = logits(model, split.images, shared_lease).argmax(dim=1) != split.labels
    return 100 * float(wrong.double().mean())
