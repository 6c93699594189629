"""The optimizers: settings, exact resumption, and Muon against torch's own on matrices."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from search_tests.tiny import NETWORK, RECIPE, dark_and_bright
from torch import Tensor, nn

from search.training.optimisers import NESTEROV_MOMENTUM, Muon, optimiser_of
from search.training.recipes import Recipe
from search.training.train import Training, train
from threshnet.network import ThreshNet, build

NESTEROV = replace(RECIPE, optimiser="nesterov", learning_rate=0.1, weight_decay=5e-4)
MUON = replace(RECIPE, optimiser="muon", learning_rate=1e-2)
BOTH = pytest.mark.parametrize("recipe", [NESTEROV, MUON], ids=["nesterov", "muon"])


def start(recipe: Recipe) -> Training[ThreshNet]:
    return Training(partial(build, NETWORK), dark_and_bright(24), recipe, flip=True, seed=0)


@BOTH
def test_training_fits_separable_classes(recipe: Recipe) -> None:
    split, validation = dark_and_bright(64), dark_and_bright(32, seed=9)
    assert train(NETWORK, split, validation, replace(recipe, epochs=8), flip=True, seed=0).error == 0.0


@BOTH
def test_a_restored_training_ends_with_the_same_weights(recipe: Recipe) -> None:
    whole, first, second = start(recipe), start(recipe), start(recipe)
    for training in (whole, whole, first):
        training.step_epoch()
    second.load_state_dict(first.state_dict())
    second.step_epoch()
    assert [epoch.loss for epoch in second.epochs] == [epoch.loss for epoch in whole.epochs]
    for mine, theirs in zip(second.result().parameters(), whole.result().parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_nesterov_is_sgd_without_decay_of_norms() -> None:
    optimiser = optimiser_of(build(NETWORK), NESTEROV)
    assert isinstance(optimiser, torch.optim.SGD)
    weights, vectors = optimiser.param_groups
    assert (weights["weight_decay"], vectors["weight_decay"]) == (5e-4, 0.0)
    assert {(group["momentum"], group["nesterov"]) for group in (weights, vectors)} == {(NESTEROV_MOMENTUM, True)}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_updates_kernels_as_matrices_and_the_rest_with_adamw(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    model.to(memory_format=layout)
    kernel, bias, scale, shift, linear, offset = model.parameters()
    optimiser = optimiser_of(model, MUON)
    assert isinstance(optimiser, Muon)
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    expected = torch.optim.Muon([matrix], lr=1e-2, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    others = [nn.Parameter(each.detach().clone()) for each in (linear, bias, scale, shift, offset)]
    decay = [{"params": others[:1], "weight_decay": 0.05}, {"params": others[1:], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(decay, lr=1e-2, fused=True)
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape).contiguous(
                memory_format=layout if parameter.ndim == 4 else torch.contiguous_format
            )
        matrix.grad = _grad(kernel).flatten(1)
        for mine, theirs in zip(others, (linear, bias, scale, shift, offset), strict=True):
            mine.grad = _grad(theirs)
        optimiser.step()
        expected.step()
        adamw.step()
    # The columns of a kernel in channels_last have another order, in which bf16 sums are rounded differently.
    assert torch.allclose(kernel.flatten(1), matrix, atol=0 if layout is torch.contiguous_format else 1e-3)
    for mine, theirs in zip(others, (linear, bias, scale, shift, offset), strict=True):
        assert torch.equal(mine, theirs)


def _grad(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.clone()


def test_the_learning_rate_of_muon_follows_the_schedule() -> None:
    training = start(MUON)
    rates: set[float] = set()
    training.step_epoch(lambda *_: rates.update(group["lr"] for group in training.optimiser.param_groups))
    assert len(training.optimiser.param_groups) == 3
    assert len(rates) == training.steps
