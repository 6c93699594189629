"""Predictions and errors of a network."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from search.data import Split
from search.training.metrics import ErrorCounts
from threshnet.shared_lease import SharedLease

BATCH = 100  # images per forward pass; larger batches do not fit into CPU caches


def scaled(images: Tensor) -> Tensor:
    """Scale uint8 pixels (n, 3, h, w) to float32 in [0, 1], the input of every network."""
    return images.float() / 255


def channels_last(images: Tensor) -> Tensor:
    """Scale images like `scaled`, in the channels_last memory format, in which CPUs convolve faster."""
    return scaled(images).contiguous(memory_format=torch.channels_last)


def logits(model: nn.Module, images: Tensor, shared_lease: SharedLease = nullcontext) -> Tensor:
    """Return the logits (n, classes) of uint8 images (n, 3, h, w) on the CPU.

    The forward passes run in eval mode and fp32 on the model's device. Each batch runs inside a `shared_lease`.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        parts = []
        for part in images.split(BATCH):
            with shared_lease(), torch.inference_mode():
                parts.append(model(channels_last(part.to(device))).float().cpu())
        return torch.cat(parts)
    finally:
        model.train(training)


def count_errors(model: nn.Module, split: Split, shared_lease: SharedLease = nullcontext) -> ErrorCounts:
    """Count the misclassified images of each class in a split; each batch runs inside a `shared_lease`."""
    scores = logits(model, split.images, shared_lease)
    return errors_by_class(scores.argmax(dim=1) != split.labels, split.labels, scores.shape[1])


def errors_by_class(wrong: Tensor, labels: Tensor, classes: int) -> ErrorCounts:
    """Count misclassified images by class, from a mask `wrong` (n,) and labels (n,)."""
    counts = (torch.bincount(chosen, minlength=classes).tolist() for chosen in (labels[wrong], labels))
    return ErrorCounts(*map(tuple, counts))


def error_percent(model: nn.Module, split: Split, shared_lease: SharedLease = nullcontext) -> float:
    """Return the percentage of misclassified images in a split; each batch runs inside a `shared_lease`."""
    return count_errors(model, split, shared_lease).percent()
