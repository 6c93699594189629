"""Studies: `launch` runs a search and `load` reads its results."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studies.library import launch, load

__all__ = ["launch", "load"]


def __getattr__(name: str) -> object:
    """Import `launch` and `load` on first use, so that `threshnet --help` does not import torch."""
    if name in __all__:
        from studies import library  # noqa: PLC0415

        return getattr(library, name)
    raise AttributeError(name)
