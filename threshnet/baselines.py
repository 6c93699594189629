"""Models of torchvision and timm, and the baseline networks among them, each also with a total stride of 8.

Networks designed for ImageNet halve a 224-pixel image five times. At 32 pixels that leaves a feature map of a single
pixel, so each network has a variant *NAME_stride8*: the same layers and weights, with the first reductions at stride 1.
Its total stride is 8, and a 32-pixel image ends as a 4x4 feature map.

The records import no torch. A model is built with random weights, and only the library that it comes from is imported.
Pretrained weights are never downloaded.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from threshnet import strict
from threshnet.bounds import MAX_PARAMS
from threshnet.errors import InputError
from threshnet.spec import NetworkSpec
from threshnet.strict import Range

if TYPE_CHECKING:
    from torch import nn

Library = Literal["torchvision", "timm"]

IMAGENET_CLASSES = 1000  # head size of these networks in their libraries


@dataclass(frozen=True)
class Baseline:
    """A baseline network: its source and the layers that downsample."""

    # Name on the command line, a key of BASELINES.
    key: str
    # Display name.
    title: str
    # Source of the layers: the library, the constructor's name in it, and the paper.
    library: Library
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


@dataclass(frozen=True)
class LibraryModel:
    """A model of torchvision or timm with random weights, e.g. torchvision/resnet18."""

    library: Library
    # Name of the constructor in its library.
    constructor: str
    # Number of classes, at least 2.
    classes: Annotated[int, Range(2)] = 10

    def __post_init__(self) -> None:
        strict.check(self)

    @property
    def name(self) -> str:
        """The name on the command line."""
        return f"{self.library}/{self.constructor}"

    def to_json(self) -> dict[str, object]:
        """Return the model as a JSON-serializable dict."""
        return strict.plain(self)

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Parse a model; raises InputError if the document is invalid."""
        return strict.read(document, cls, "model", complete=True)

    def fingerprint(self) -> str:
        """A hash of 16 hex digits, equal if and only if the models are equal."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


Architecture = NetworkSpec | LibraryModel  # a network that can be built, trained and measured


# Names that timm also accepts, but that refer to a file or to a download, contain ':' or '/'.
CONSTRUCTOR = r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?"
# Constructors of torchvision whose networks otherwise return several logits in training mode.
SINGLE_OUTPUT: dict[str, dict[str, object]] = {
    name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")
}


def library_model(name: str, classes: int = 10) -> LibraryModel | None:
    """Parse torchvision/NAME or timm/NAME without importing the library; None if the name has another form.

    Raises InputError if NAME cannot be a constructor. `build_library_model` checks whether the constructor exists.
    """
    library, slash, constructor = name.partition("/")
    match library if slash else "":
        case "torchvision" | "timm" as found:
            if not re.fullmatch(CONSTRUCTOR, constructor):
                raise InputError(f"network {name!r}: must be torchvision/NAME or timm/NAME, e.g. torchvision/resnet18")
            return LibraryModel(found, constructor, classes)
    return None


def build_library_model(model: LibraryModel, input_size: int) -> "nn.Module":
    """Build a model with random weights: (n, 3, input_size, input_size) images in, (n, classes) logits out.

    Images are scaled to [0, 1]. The weights come from torch's default random generator. Raises InputError if the
    library is not installed, if it has no such constructor, if the network has more than MAX_PARAMS parameters, or if
    it cannot process images of this size.
    """
    torch = import_module("torch")
    _check_installed(model.library, model.name)
    try:
        options = _size_options(model, input_size)
        network = _construct(model.library, model.constructor, model.classes, **options)
        logits = _logits_of_zeros(network, torch.zeros(1, 3, input_size, input_size))
    except InputError:
        raise
    except Exception as error:  # constructors raise exceptions of many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"network {model.name!r} cannot process images of {input_size}x{input_size} pixels ({reason})"
        ) from None
    if getattr(logits, "shape", None) != (1, model.classes):
        raise InputError(f"network {model.name!r} does not classify images: its output is not (n, {model.classes})")
    params = sum(parameter.numel() for parameter in network.parameters())
    if params > MAX_PARAMS:
        raise InputError(f"network {model.name!r} has {params:.3g} parameters; at most {MAX_PARAMS:.3g} are allowed")
    return network


def build_baseline(baseline: Baseline, classes: int) -> "nn.Module":
    """Build a baseline with random weights: (n, 3, h, w) images scaled to [0, 1] in, (n, classes) logits out.

    The weights come from torch's default random generator. Raises InputError if timm is needed but not installed.
    """
    _check_installed(baseline.library, baseline.key)
    model = _construct(baseline.library, baseline.constructor, classes)
    for step in baseline.reductions[: baseline.unstrided]:
        for name in step:
            reduction: Any = model.get_submodule(name)
            reduction.stride = (1, 1)
    return model


def _check_installed(library: Library, name: str) -> None:
    """Raise InputError if the library of the network called `name` is not installed; torchvision always is."""
    if library == "timm" and find_spec("timm") is None:
        raise InputError(
            f"network {name!r} comes from timm, which is not installed; pip install 'threshnet-nas[baselines]'"
        )


def _construct(library: Library, constructor: str, classes: int, **options: object) -> "nn.Module":
    """Call the constructor of a model; raises InputError if it does not exist."""
    network: nn.Module
    match library:
        case "torchvision":
            models = import_module("torchvision.models")
            _check_constructor(library, constructor, constructor, models.list_models(module=models))
            options = SINGLE_OUTPUT.get(constructor, {}) | options
            network = models.get_model(constructor, weights=None, num_classes=classes, **options)
        case "timm":
            timm = import_module("timm")
            _check_constructor(library, constructor, constructor.partition(".")[0], timm.list_models())
            network = timm.create_model(constructor, pretrained=False, num_classes=classes, **options)
    return network


def _check_constructor(library: Library, constructor: str, architecture: str, known: list[str]) -> None:
    if architecture not in known:
        close = get_close_matches(architecture, known, n=3)
        similar = f"; similar names: {', '.join(close)}" if close else ""
        raise InputError(f"network '{library}/{constructor}': {library} has no such classification model{similar}")


def _size_options(model: LibraryModel, input_size: int) -> dict[str, object]:
    """Arguments of a constructor whose network depends on the input size, e.g. that of a vision transformer."""
    match model.library:
        case "torchvision" if model.constructor.startswith("vit_"):
            return {"image_size": input_size}
        case "torchvision" if model.constructor == "maxvit_t":
            return {"input_size": (input_size, input_size)}
        case "timm":
            config = import_module("timm.models").get_pretrained_cfg(model.constructor.partition(".")[0])
            return {"img_size": input_size} if config is not None and config.fixed_input_size else {}
    return {}


def _logits_of_zeros(network: "nn.Module", image: Any) -> Any:  # noqa: ANN401 - a tensor, torch is not imported here
    """Run a network on one image in eval mode, and return to training mode."""
    inference = import_module("torch").inference_mode()
    with inference:
        logits = network.eval()(image)
    network.train()
    return logits
