"""The built-in spaces."""

from dataclasses import replace

from space.definition import Space
from threshnet.spec import StemSpec

# Contains every named network. Further values fill the gaps below and between those of the named networks.
DEFAULT = Space(
    name="default",
    classes=10,
    granularity="block",
    stems=(StemSpec((32, 64)), StemSpec((48, 96))),
    activations=("relu", "relu6"),
    blocks=(4, 5, 6),
    layers=tuple(range(1, 17)),
    thresholds=(0, 1, 2, 3),
    width_thresholds=tuple(range(32, 1345, 32)),
    units=("bottleneck", "conv"),
    bottleneck_widths=(32, 64, 96, 128),
    multipliers=(1.0, 1.3, 1.5, 1.7),
    outputs=("odd_and_last", "all"),
    growths=(8, 10, 12, 14, 16, 20, 24, 28, 32, 36, 40, 48, 64, 80, 112, 160, 256, 320),
    transitions=(32, 48, 64, 96, 128, 192, 256, 288, 320, 384, 480, 512, 576, 640, 720, 960, 1024, 1280),
    pools=(False, True),
    block_dropouts=(0.0, 0.1),
    head_dropouts=(0.0, 0.1, 0.2),
)

# For 32x32 images: the stem may keep its resolution (stride 1, no pool), and there may be fewer blocks.
SMALL_IMAGES = replace(
    DEFAULT,
    name="small-images",
    stems=(
        StemSpec((16, 32), stride=2, pool=False),
        StemSpec((32, 64), stride=2, pool=False),
        StemSpec((16, 32), stride=1, pool=True),
        StemSpec((32, 64), stride=1, pool=True),
        StemSpec((16, 32), stride=1, pool=False),
        *DEFAULT.stems,
    ),
    blocks=(2, 3, 4, 5, 6),
)

SPACES: dict[str, Space] = {space.name: space for space in (DEFAULT, SMALL_IMAGES)}
