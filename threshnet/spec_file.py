"""Read a network from a JSON file."""

from dataclasses import dataclass
from pathlib import Path

from threshnet.bounds import MAX_INPUT, check_params, check_size
from threshnet.errors import InputError
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec
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
    input_size: int = INPUT_SIZE


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
    if type(size) is not int or not 1 <= size <= MAX_INPUT:
        raise InputError(f"{path}: input_size = {size!r:.80}: must be a whole number of pixels from 1 to {MAX_INPUT}")
    if not isinstance(title, str):
        raise InputError(f"{path}: title = {title!r:.80}: must be text")
    try:
        spec = NetworkSpec.from_json(document)
        if size < smallest_input(spec):
            check_params(spec)  # the caller may use another size
        else:
            check_size(spec, size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return ResolvedNetwork(clean(title), f"The network of {path.name}", spec, size)
