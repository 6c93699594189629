"""Resolve a network that the user specifies by name or by a JSON file with a spec."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from threshnet.named import ABOUT, NAMED, named
from threshnet.spec_file import ResolvedNetwork, read_spec_file


def read_network(text: str, classes: int | None = None, also: Iterable[str] = ()) -> ResolvedNetwork:
    """Return a network given by its name or by a JSON file. `classes` only applies to named networks.

    Raises InputError if there is no such network or if the file is invalid. The message contains the file and the key,
    or all valid names including those in `also`.
    """
    if text.lower() in NAMED or not (text.endswith(".json") or Path(text).exists()):
        return named_network(text, classes, also)
    return read_spec_file(Path(text))


def named_network(name: str, classes: int | None = None, also: Iterable[str] = ()) -> ResolvedNetwork:
    """Return the network with this name. `classes` overrides its number of classes."""
    spec = named(name, also)
    about = ABOUT[name.lower()]
    origin = about.origin[0].upper() + about.origin[1:]
    return ResolvedNetwork(about.title, origin, spec if classes is None else replace(spec, classes=classes))
