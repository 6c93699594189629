"""A network that a user names: a name, or a JSON file that holds a spec."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from threshnet.named import ABOUT, NAMED, named
from threshnet.spec_file import ResolvedNetwork, read_spec_file


def read_network(text: str, classes: int | None = None, also: Iterable[str] = ()) -> ResolvedNetwork:
    """The named network or the one in a JSON file; `classes` replaces a named one's, a file keeps its own.

    InputError names the file and key, or the names there are, those in `also` among them.
    """
    if text.lower() in NAMED or not (text.endswith(".json") or Path(text).exists()):
        return named_network(text, classes, also)
    return read_spec_file(Path(text))


def named_network(name: str, classes: int | None = None, also: Iterable[str] = ()) -> ResolvedNetwork:
    """The named network, with its own number of classes or with `classes`."""
    spec = named(name, also)
    about = ABOUT[name.lower()]
    origin = about.origin[0].upper() + about.origin[1:]
    return ResolvedNetwork(about.title, origin, spec if classes is None else replace(spec, classes=classes))
