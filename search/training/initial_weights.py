"""Initial weights that shorten a training: a whitening first convolution, and convolutions that pass on their input.

Both are from the records for short trainings on CIFAR-10: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU"
(2024, arXiv:2404.00498), sections 3.1 and 3.2.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from search.training.evaluate import scaled
from search.training.recipes import Recipe

WHITENING_IMAGES = 2_000  # number of training images whose patches are whitened
MIN_VARIANCE = 5e-4  # added to the variance of each direction, as in the cited work


@torch.no_grad()
def prepare(model: nn.Module, images: Tensor, recipe: Recipe) -> None:
    """Change the initial weights of a network on the CPU as the recipe asks for.

    `images` are the training images (n, 3, h, w), uint8. Random numbers are not used.
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if recipe.identity:
        for convolution in convolutions:
            if convolution.kernel_size == (3, 3) and convolution.groups == 1 and convolution.in_channels > 3:
                nn.init.dirac_(convolution.weight[: convolution.in_channels])
    if recipe.whitened:
        first = convolutions[0]
        _whiten(first.weight, patches(images[:WHITENING_IMAGES], first))


def patches(images: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Return the patches (patches, 3 x height x width) of uint8 images (n, 3, h, w) that a convolution reads."""
    size, stride, padding = convolution.kernel_size, convolution.stride, convolution.padding
    assert not isinstance(padding, str), "no network of this project pads by a word"
    found = functional.unfold(scaled(images.cpu()), size, padding=padding, stride=stride)
    return found.transpose(1, 2).flatten(0, 1)


def _whiten(filters: Tensor, seen: Tensor) -> None:
    """Set filters (c, 3, h, w) to the directions of highest variance of patches (n, 3 x h x w) and their opposites.

    Each direction has unit variance. If there are more filters than twice the directions, the others do not change.
    """
    variances, directions = torch.linalg.eigh(torch.cov(seen.T))  # ascending
    whitening = (directions / (variances + MIN_VARIANCE).sqrt()).T.flip(0).reshape(-1, *filters.shape[1:])
    pairs = min(len(filters) // 2, len(whitening))
    filters[:pairs] = whitening[:pairs]
    filters[pairs : 2 * pairs] = -whitening[:pairs]
