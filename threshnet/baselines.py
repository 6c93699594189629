"""Baseline networks as built by torchvision and timm, each also with a total stride of 8 for small images.

Networks designed for ImageNet halve a 224-pixel image five times. At 32 pixels that leaves a feature map of a single
pixel, so each network has a variant *NAME_stride8*: the same layers and weights, with the first reductions at stride 1.
Its total stride is 8, and a 32-pixel image ends as a 4x4 feature map.

The records import no torch; `build_baseline` imports only the library that a network comes from.
"""

from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from threshnet.errors import InputError

if TYPE_CHECKING:
    from torch import nn


IMAGENET_CLASSES = 1000  # head size of these networks in their libraries


@dataclass(frozen=True)
class Baseline:
    """A baseline network: its source and the layers that downsample."""

    # Name on the command line, a key of BASELINES.
    key: str
    # Display name.
    title: str
    # Source of the layers: the library, the constructor's name in it, and the paper.
    library: Literal["torchvision", "timm"]
    constructor: str
    paper: str
    # The steps that halve the feature map, input first: module names of the strided convolutions and pools of each
    # step, more than one if the step has parallel branches.
    reductions: tuple[tuple[str, ...], ...]
    # Number of leading reductions that run at stride 1 instead of 2.
    unstrided: int = 0

    @property
    def total_stride(self) -> int:
        """Input size divided by the size of the last feature map."""
        return 1 << (len(self.reductions) - self.unstrided)

    @property
    def origin(self) -> str:
        """The source of its layers, as a sentence without the final period."""
        source = f"{self.library}'s {self.constructor} ({self.paper}), total stride {self.total_stride}"
        changed = ", ".join(name for step in self.reductions[: self.unstrided] for name in step)
        return source + (f": {changed} at stride 1 instead of 2" if changed else "")


def at_stride_8(baseline: Baseline) -> Baseline:
    """The variant with the first reductions at stride 1, for a total stride of 8."""
    return replace(
        baseline,
        key=f"{baseline.key}_stride8",
        title=f"{baseline.title} (stride 8)",
        unstrided=len(baseline.reductions) - 3,
    )


SQUEEZENET = Baseline(
    key="squeezenet",
    title="SqueezeNet",
    library="torchvision",
    constructor="squeezenet1_0",
    paper="Iandola et al. 2016, arXiv:1602.07360",
    reductions=(("features.0",), ("features.2",), ("features.6",), ("features.11",)),
)

MOBILENET = Baseline(
    key="mobilenet",
    title="MobileNet",
    library="timm",
    constructor="mobilenetv1_100",
    paper="Howard et al. 2017, arXiv:1704.04861",
    reductions=(
        ("conv_stem",),
        ("blocks.1.0.conv_dw",),
        ("blocks.2.0.conv_dw",),
        ("blocks.3.0.conv_dw",),
        ("blocks.4.0.conv_dw",),
    ),
)

MOBILENET_V2 = Baseline(
    key="mobilenet_v2",
    title="MobileNetV2",
    library="torchvision",
    constructor="mobilenet_v2",
    paper="Sandler et al. 2018, arXiv:1801.04381",
    reductions=(
        ("features.0.0",),
        ("features.2.conv.1.0",),
        ("features.4.conv.1.0",),
        ("features.7.conv.1.0",),
        ("features.14.conv.1.0",),
    ),
)

SHUFFLENET_V2 = Baseline(
    key="shufflenet_v2",
    title="ShuffleNetV2",
    library="torchvision",
    constructor="shufflenet_v2_x1_0",
    paper="Ma et al. 2018, arXiv:1807.11164",
    reductions=(
        ("conv1.0",),
        ("maxpool",),
        ("stage2.0.branch1.0", "stage2.0.branch2.3"),
        ("stage3.0.branch1.0", "stage3.0.branch2.3"),
        ("stage4.0.branch1.0", "stage4.0.branch2.3"),
    ),
)

GHOSTNET = Baseline(
    key="ghostnet",
    title="GhostNet",
    library="timm",
    constructor="ghostnet_100",
    paper="Han et al. 2020, arXiv:1911.11907",
    reductions=(
        ("conv_stem",),
        ("blocks.1.0.conv_dw", "blocks.1.0.shortcut.0"),
        ("blocks.3.0.conv_dw", "blocks.3.0.shortcut.0"),
        ("blocks.5.0.conv_dw", "blocks.5.0.shortcut.0"),
        ("blocks.7.0.conv_dw", "blocks.7.0.shortcut.0"),
    ),
)

EFFICIENTNET_B0 = Baseline(
    key="efficientnet_b0",
    title="EfficientNet-B0",
    library="torchvision",
    constructor="efficientnet_b0",
    paper="Tan and Le 2019, arXiv:1905.11946",
    reductions=(
        ("features.0.0",),
        ("features.2.0.block.1.0",),
        ("features.3.0.block.1.0",),
        ("features.4.0.block.1.0",),
        ("features.6.0.block.1.0",),
    ),
)

DENSENET121 = Baseline(
    key="densenet121",
    title="DenseNet121",
    library="torchvision",
    constructor="densenet121",
    paper="Huang et al. 2017, arXiv:1608.06993",
    reductions=(
        ("features.conv0",),
        ("features.pool0",),
        ("features.transition1.pool",),
        ("features.transition2.pool",),
        ("features.transition3.pool",),
    ),
)

BASELINES: dict[str, Baseline] = {
    "squeezenet": SQUEEZENET,
    "mobilenet": MOBILENET,
    "mobilenet_v2": MOBILENET_V2,
    "shufflenet_v2": SHUFFLENET_V2,
    "ghostnet": GHOSTNET,
    "efficientnet_b0": EFFICIENTNET_B0,
    "densenet121": DENSENET121,
    "squeezenet_stride8": at_stride_8(SQUEEZENET),
    "mobilenet_stride8": at_stride_8(MOBILENET),
    "mobilenet_v2_stride8": at_stride_8(MOBILENET_V2),
    "shufflenet_v2_stride8": at_stride_8(SHUFFLENET_V2),
    "ghostnet_stride8": at_stride_8(GHOSTNET),
    "efficientnet_b0_stride8": at_stride_8(EFFICIENTNET_B0),
    "densenet121_stride8": at_stride_8(DENSENET121),
}


def build_baseline(baseline: Baseline, classes: int) -> "nn.Module":
    """Build a baseline with random weights: (n, 3, h, w) images scaled to [0, 1] in, (n, classes) logits out.

    Downloads nothing; the weights come from torch's default random generator. Raises InputError if timm is needed but
    not installed.
    """
    model = _library_model(baseline, classes)
    for step in baseline.reductions[: baseline.unstrided]:
        for name in step:
            reduction: Any = model.get_submodule(name)
            reduction.stride = (1, 1)
    return model


def _library_model(baseline: Baseline, classes: int) -> "nn.Module":
    """The unmodified network from its library."""
    model: nn.Module
    match baseline.library:
        case "torchvision":
            model = getattr(import_module("torchvision.models"), baseline.constructor)(
                weights=None, num_classes=classes
            )
        case "timm":
            if find_spec("timm") is None:
                raise InputError(
                    f"network {baseline.key!r} comes from timm, which is not installed; "
                    "pip install 'threshnet-nas[baselines]'"
                )
            model = import_module("timm").create_model(baseline.constructor, pretrained=False, num_classes=classes)
    return model
