"""Baseline networks: output shapes, downsampling steps, training and export."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from threshnet import InputError, baselines
from threshnet.baselines import BASELINES, Baseline, LibraryModel, build_baseline, build_library_model, library_model
from threshnet.export.agreement import TOLERANCE
from threshnet.export.onnx_file import export_onnx, run_onnx

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
NETWORKS = [
    pytest.param(baseline, id=key, marks=needs_timm if baseline.library == "timm" else ())
    for key, baseline in BASELINES.items()
]
each = pytest.mark.parametrize("baseline", NETWORKS)
EXPORTED = ("squeezenet", "mobilenet_stride8", "shufflenet_v2_stride8")  # fastest to export, per library and stride


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_each_of_seven_networks_comes_with_its_own_stride_and_with_8() -> None:
    assert all(baseline.key == key for key, baseline in BASELINES.items())
    own = {key: baseline.total_stride for key, baseline in BASELINES.items() if not baseline.unstrided}
    assert own == {key: 16 if key == "squeezenet" else 32 for key in own}
    at_8 = {key: baseline.total_stride for key, baseline in BASELINES.items() if baseline.unstrided}
    assert at_8 == {f"{key}_stride8": 8 for key in own}
    assert "conv1.0, maxpool at stride 1 instead of 2" in BASELINES["shufflenet_v2_stride8"].origin


def downsampling_modules(model: nn.Module, size: int) -> set[str]:
    """Names of the convolutions and pools that about halve the feature map; global pools are not among them."""
    names_seen: set[str] = set()
    names = {module: name for name, module in model.named_modules()}

    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if output.shape[-1] <= 0.6 * inputs[0].shape[-1]:
            names_seen.add(names[module])

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            module.register_forward_hook(hook)
    with torch.inference_mode():
        model.eval()(torch.rand(1, 3, size, size))
    return names_seen


@each
def test_the_record_names_every_downsampling_layer(baseline: Baseline) -> None:
    """Checked at 224 pixels, or at 64 for the variants at stride 8."""
    stated = {name for step in baseline.reductions[baseline.unstrided :] for name in step}
    assert downsampling_modules(build_baseline(baseline, 10), 64 if baseline.unstrided else 224) == stated


@each
def test_an_image_of_32_pixels_gives_logits(baseline: Baseline) -> None:
    with torch.inference_mode():
        logits = build_baseline(baseline, 7).eval()(torch.rand(1, 3, 32, 32))
    assert logits.shape == (1, 7)
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("key", [key for key, baseline in BASELINES.items() if baseline.unstrided])
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
    """At 32 pixels the networks of stride 32 end in a single pixel, so their norms average over the batch alone."""
    model = build_baseline(baseline, 10).train()
    batch = 4 if baseline.unstrided else 64
    images, labels = torch.rand(batch, 3, 32, 32), torch.arange(batch) % 10
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize("baseline", [network for network in NETWORKS if network.id in EXPORTED])
def test_the_onnx_file_gives_the_same_logits(baseline: Baseline, tmp_path: Path) -> None:
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
    with pytest.raises(InputError, match=r"'timm/resnet18' comes from timm, .*; pip install"):
        build_library_model(LibraryModel("timm", "resnet18"), 32)


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet18", "timm/resnet18.a1_in1k"])
def test_a_name_of_a_library_model_is_parsed_and_survives_json(name: str) -> None:
    model = library_model(name, 7)
    assert model is not None
    assert (model.name, model.classes) == (name, 7)
    assert LibraryModel.from_json(model.to_json()) == model


@pytest.mark.parametrize("name", ["threshnet28", "timm", "other/resnet18", "models/timm/resnet18", "model.onnx"])
def test_other_names_are_not_of_a_library(name: str) -> None:
    assert library_model(name) is None


@pytest.mark.parametrize(
    "name", ["timm/", "timm/hf-hub:timm/resnet18", "timm/../resnet18", "torchvision/", "torchvision/a b", "timm/x.y.z"]
)
def test_names_that_no_constructor_has_are_refused(name: str) -> None:
    """Some would make timm download a model or read a folder."""
    with pytest.raises(InputError, match="must be torchvision/NAME or timm/NAME"):
        library_model(name)


@pytest.mark.parametrize(
    "name",
    [
        "torchvision/shufflenet_v2_x0_5",
        "torchvision/googlenet",  # several outputs in training by default
        pytest.param("timm/mobilenetv3_small_050", marks=needs_timm),
        pytest.param("timm/vit_tiny_patch16_224", marks=needs_timm),  # of a fixed input size
    ],
)
def test_a_library_model_is_built_for_any_classes_without_a_download(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was opened"))
    model = library_model(name, 3)
    assert model is not None
    network = build_library_model(model, 32)
    assert network.training
    for training in (True, False):
        logits = network.train(training)(torch.rand(4, 3, 32, 32))
        assert logits.shape == (4, 3)
        assert bool(logits.isfinite().all())


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("torchvision/resnet19", 32, "'torchvision/resnet19': torchvision has no .*; similar names: resnet1"),
        ("torchvision/fasterrcnn_resnet50_fpn", 32, "torchvision has no such classification model"),
        ("torchvision/alexnet", 32, r"'torchvision/alexnet' cannot process images of 32x32 pixels \(.*too small"),
        ("torchvision/vit_b_16", 40, "cannot process images of 40x40 pixels .*indivisible"),
        ("torchvision/list_models", 32, "torchvision has no"),
        ("torchvision/qqq", 32, "torchvision has no such classification model$"),  # no name is similar
        pytest.param("timm/resnet19", 32, "'timm/resnet19': timm has no .*; similar names: resnet1", marks=needs_timm),
    ],
)
def test_a_model_that_cannot_be_built_is_one_line(name: str, size: int, message: str) -> None:
    model = library_model(name)
    assert model is not None
    with pytest.raises(InputError, match=message) as caught:
        build_library_model(model, size)
    assert "\n" not in str(caught.value)


def test_a_huge_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_PARAMS", 1_000)
    with pytest.raises(InputError, match=r"'torchvision/shufflenet_v2_x0_5' has .* parameters; at most 1e\+03"):
        build_library_model(LibraryModel("torchvision", "shufflenet_v2_x0_5"), 32)
