"""What a network answers, and how often it is wrong."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from search.data import Split
from threshnet.shared_lease import SharedLease

BATCH = 100  # images per forward pass; more falls out of a CPU's caches


def scaled(images: Tensor) -> Tensor:
    """Pixels (n, 3, h, w) uint8 as the networks read them: float32 in [0, 1]."""
    return images.float() / 255


def logits(model: nn.Module, images: Tensor, turn: SharedLease = nullcontext) -> Tensor:
    """Logits (n, classes) on the CPU for (n, 3, h, w) uint8 images, in eval mode and fp32, on the model's device.

    Each batch runs inside a `turn`.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        parts = []
        for part in images.split(BATCH):
            with turn(), torch.inference_mode():
                parts.append(model(scaled(part.to(device))).float().cpu())
        return torch.cat(parts)
    finally:
        model.train(training)


def error_percent(model: nn.Module, split: Split, turn: SharedLease = nullcontext) -> float:
    """Percentage of the split's images whose largest logit is not their class; each batch runs inside a `turn`."""
    wrong = logits(model, split.images, turn).argmax(dim=1) != split.labels
    return 100 * float(wrong.double().mean())
