"""The optimizers of a training."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from search.training.recipes import Recipe

NESTEROV_MOMENTUM = 0.9


class Optimiser(Protocol):
    """The part of torch.optim.Optimizer that a training uses."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of parameters with their settings, of which "lr" may be changed."""

    def step(self) -> object:
        """Update the parameters by their gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for `load_state_dict`."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state."""


class Muon:
    """Muon for the kernels of convolutions, and AdamW for the other parameters.

    torch.optim.Muon updates matrices only. It gets each kernel (d, c, h, w) as a matrix (d, c x h x w) in the same
    memory. Its updates are scaled to the size of AdamW's (Liu et al., "Muon is scalable for LLM training", 2025,
    arXiv:2502.16982), so that one learning rate suits both.
    """

    def __init__(self, kernels: Sequence[nn.Parameter], others: Sequence[dict[str, Any]], recipe: Recipe) -> None:
        self.kernels = kernels
        self.matrices = [nn.Parameter(_matrix(kernel.detach())) for kernel in kernels]
        rate, decay = recipe.learning_rate, recipe.weight_decay
        self.muon = torch.optim.Muon(self.matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(others, lr=rate, fused=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both optimizers."""
        return [*self.muon.param_groups, *self.adamw.param_groups]

    def step(self) -> None:
        """Update all parameters by their gradients."""
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.grad = None if kernel.grad is None else _matrix(kernel.grad)
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both optimizers."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of both optimizers."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])


def optimiser_of(model: nn.Module, recipe: Recipe) -> Optimiser:
    """Create the optimizer of the recipe, without weight decay for norms and biases."""
    parameters = list(model.parameters())
    weights = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0}
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, vectors]
    match recipe.optimiser:
        case "adam":
            return torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
        case "nesterov":
            return torch.optim.SGD(
                groups, lr=recipe.learning_rate, momentum=NESTEROV_MOMENTUM, nesterov=True, fused=True
            )
        case "muon":
            kernels = [weight for weight in weights if weight.ndim == 4]
            matrices = [weight for weight in weights if weight.ndim != 4]
            return Muon(kernels, [{"params": matrices, "weight_decay": recipe.weight_decay}, vectors], recipe)


def _matrix(kernel: Tensor) -> Tensor:
    """Return a view (d, c x h x w) of a kernel (d, c, h, w) in either memory format."""
    if not kernel.is_contiguous():  # channels_last; the order of the columns does not matter
        kernel = kernel.permute(0, 2, 3, 1)
    return kernel.view(len(kernel), -1)
