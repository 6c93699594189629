"""The comparison networks: what comes out, where they shrink their maps, that they train and export."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from threshnet import InputError, baselines
from threshnet.baselines import BASELINES, Baseline, build_baseline
from threshnet.export.agreement import TOLERANCE
from threshnet.export.folder import export_onnx, run_onnx

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
NETWORKS = [
    pytest.param(baseline, id=key, marks=needs_timm if baseline.library == "timm" else ())
    for key, baseline in BASELINES.items()
]
each = pytest.mark.parametrize("baseline", NETWORKS)
WRITTEN = ("squeezenet", "mobilenet_stride8", "shufflenet_v2_stride8")  # soonest, of each library and stride


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_seven_networks_each_at_its_own_stride_and_at_8() -> None:
    assert all(baseline.key == key for key, baseline in BASELINES.items())
    own = {key: baseline.total_stride for key, baseline in BASELINES.items() if not baseline.undone}
    assert own == {key: 16 if key == "squeezenet" else 32 for key in own}
    at_8 = {key: baseline.total_stride for key, baseline in BASELINES.items() if baseline.undone}
    assert at_8 == {f"{key}_stride8": 8 for key in own}
    assert "conv1.0, maxpool at stride 1 instead of 2" in BASELINES["shufflenet_v2_stride8"].origin


def reducing(model: nn.Module, size: int) -> set[str]:
    """Names of the convolutions and pools that at least halve a map, give or take its edges, but for those to 1x1."""
    found: set[str] = set()
    names = {module: name for name, module in model.named_modules()}

    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if output.shape[-1] <= 0.6 * inputs[0].shape[-1]:
            found.add(names[module])

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            module.register_forward_hook(hook)
    with torch.inference_mode():
        model.eval()(torch.rand(1, 3, size, size))
    return found


@each
def test_the_record_names_what_reduces_the_maps(baseline: Baseline) -> None:
    """At 224 pixels, and at 64 for what hardly shrinks them."""
    stated = {name for step in baseline.reductions[baseline.undone :] for name in step}
    assert reducing(build_baseline(baseline, 10), 64 if baseline.undone else 224) == stated


@each
def test_an_image_of_32_pixels_gives_logits(baseline: Baseline) -> None:
    with torch.inference_mode():
        logits = build_baseline(baseline, 7).eval()(torch.rand(1, 3, 32, 32))
    assert logits.shape == (1, 7)
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("key", [key for key, baseline in BASELINES.items() if baseline.undone])
def test_only_strides_change(key: str) -> None:
    baseline, own = BASELINES[key], BASELINES[key.removesuffix("_stride8")]
    if baseline.library == "timm" and find_spec("timm") is None:
        pytest.skip("timm is not installed")
    ours, theirs = (
        [(name, value.shape) for name, value in build_baseline(which, 10).state_dict().items()]
        for which in (baseline, own)
    )
    assert ours == theirs


@each
def test_a_step_of_training_reaches_every_parameter(baseline: Baseline) -> None:
    """At 32 pixels, where the networks of stride 32 end in maps of one pixel: norms then see the batch alone."""
    model = build_baseline(baseline, 10).train()
    batch = 4 if baseline.undone else 64
    images, labels = torch.rand(batch, 3, 32, 32), torch.arange(batch) % 10
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize("baseline", [network for network in NETWORKS if network.id in WRITTEN])
def test_the_onnx_file_computes_the_same(baseline: Baseline, tmp_path: Path) -> None:
    model = build_baseline(baseline, 10).eval()
    export_onnx(model, 32, tmp_path / "model.onnx", batch=1)
    images = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        expected = model(images).numpy()
    np.testing.assert_allclose(run_onnx(tmp_path / "model.onnx", images), expected, atol=TOLERANCE)


def test_without_timm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"'ghostnet' comes from timm, .*; pip install 'threshnet-nas\[baselines\]'"):
        build_baseline(BASELINES["ghostnet"], 10)
    assert build_baseline(BASELINES["squeezenet"], 10)
