"""Initial weights: a whitening first convolution, and convolutions that pass on their input."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from search_tests.tiny import NETWORK, RECIPE, dark_and_bright
from torch import nn
from torch.nn import functional

from search.training.initial_weights import MIN_VARIANCE, patches, prepare
from search.training.train import Training
from threshnet.network import build

PLAIN = replace(RECIPE, whitened=False, identity=False)


def test_without_settings_nothing_changes() -> None:
    model = build(NETWORK)
    before = [parameter.clone() for parameter in model.parameters()]
    prepare(model, dark_and_bright(20).images, PLAIN)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("filters", [8, 9, 60])
def test_the_first_filters_whiten_patches(filters: int) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (60, 3, 8, 8), dtype=torch.uint8)
    convolution, later = nn.Conv2d(3, filters, 3, stride=2, padding=1, bias=False), nn.Conv2d(filters, 4, 3)
    model = nn.Sequential(convolution, later)
    before = [parameter.clone() for parameter in model.parameters()]
    prepare(model, images, replace(PLAIN, whitened=True))
    first = convolution.weight
    assert torch.equal(later.weight, before[1])
    pairs = min(filters // 2, 27)
    assert torch.equal(first[:pairs], -first[pairs : 2 * pairs])
    assert torch.equal(first[2 * pairs :], before[0][2 * pairs :])
    seen = functional.conv2d(images / 255, first, stride=2, padding=1)[:, :pairs].transpose(0, 1).flatten(1)
    assert torch.allclose(seen.detach().cov(), torch.eye(pairs), atol=0.02)  # MIN_VARIANCE makes it a little smaller
    variances = patches(images, convolution).T.cov()
    assert float(torch.linalg.eigvalsh(variances).max()) > 10 * MIN_VARIANCE


def test_convolutions_pass_on_their_first_channels() -> None:
    model = build(NETWORK)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    prepare(model, dark_and_bright(20).images, replace(PLAIN, identity=True))
    changed = [name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])]
    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    first = next(iter(convolutions))
    assert set(changed) == {
        f"{name}.weight" for name, module in convolutions.items() if module.kernel_size == (3, 3) and name != first
    }
    for name in changed:
        kernel = model.get_parameter(name)
        passed = min(kernel.shape[:2])
        images = torch.rand(2, kernel.shape[1], 5, 5)
        assert torch.equal(functional.conv2d(images, kernel, padding=1)[:, :passed], images[:, :passed])


def test_a_training_starts_with_the_prepared_weights() -> None:
    made = {
        whitened: Training(
            partial(build, NETWORK),
            dark_and_bright(20),
            replace(PLAIN, whitened=whitened),
            flip=True,
            seed=0,
        ).model
        for whitened in (False, True)
    }
    assert [
        name
        for name, parameter in made[True].named_parameters()
        if not torch.equal(parameter, made[False].get_parameter(name))
    ] == ["stem_conv1.weight"]
