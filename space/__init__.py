"""Search spaces of networks, and the conversion between networks and the parameters of an Optuna trial."""

from space.definition import Choice, Space
from space.encode import contains, decode, effective_values, encode, suggest
from space.limits import Limits
from space.size import Size, size
from space.spaces import DEFAULT, SMALL_IMAGES, SPACES

__all__ = [
    "DEFAULT",
    "SMALL_IMAGES",
    "SPACES",
    "Choice",
    "Limits",
    "Size",
    "Space",
    "contains",
    "decode",
    "effective_values",
    "encode",
    "size",
    "suggest",
]
