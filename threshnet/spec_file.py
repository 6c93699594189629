"""Read a network from a JSON file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from threshnet import strict
from threshnet.bounds import MAX_INPUT, check_params, check_size
from threshnet.errors import InputError
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec
from threshnet.strict import Range
from threshnet.untrusted import clean, read_json

CONFIG = "config.json"
INPUT_SIZE = 32  # default, pixels


@dataclass(frozen=True)
class ResolvedNetwork:
    """A network that a user named, with its title and origin."""

    title: str
    # Source of its layers, as a sentence without the final period.
    origin: str
    spec: NetworkSpec
    # Pixels, from the file if it has one.
    input_size: Annotated[int, Range(1, MAX_INPUT, unit="pixels")] = INPUT_SIZE

    def __post_init__(self) -> None:
        strict.check(self)


def read_spec_file(path: Path, *, follow: bool = True) -> ResolvedNetwork:
    """Read a network from a NetworkSpec in JSON, an exported config.json, or an exported folder.

    The file is untrusted: it is only parsed, and a network beyond threshnet.bounds raises InputError, as does anything
    that is not a network. With `follow` false, symbolic links are refused.
    """
    path = path / CONFIG if path.is_dir() else path
    document = read_json(path, follow=follow)
    size, title = INPUT_SIZE, path.stem
    if isinstance(document, dict) and "spec" in document:
        size, title = document.get("input_size", INPUT_SIZE), document.get("title", path.stem)
        document = document["spec"]
    title = clean(title) if isinstance(title, str) else title
    try:
        spec = NetworkSpec.from_json(document)
        network = ResolvedNetwork(title, f"The network of {path.name}", spec, size)
        if size < smallest_input(spec):
            check_params(spec)  # the caller may use another size
        else:
            check_size(spec, size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return network
