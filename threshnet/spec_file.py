"""A network read from a JSON file."""

from dataclasses import dataclass
from pathlib import Path

from threshnet.bounds import MAX_INPUT, check_params, check_size
from threshnet.errors import InputError
from threshnet.foreign import clean, read_json
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec

CONFIG = "config.json"


INPUT_SIZE = 32  # pixels, where nothing else is said


@dataclass(frozen=True)
class ResolvedNetwork:
    """A network as a user gave it."""

    title: str
    # Where its layers come from, a sentence without its full stop.
    origin: str
    spec: NetworkSpec
    # Pixels: what the file says, or INPUT_SIZE.
    input_size: int = INPUT_SIZE


def read_spec_file(path: Path, *, follow: bool = True) -> ResolvedNetwork:
    """The network in a JSON file, a NetworkSpec or an exported folder's config.json, or in such a folder.

    The file may come from anywhere: nothing but its text is read, and a network beyond threshnet.bounds is refused.
    Without `follow`, no symbolic link is gone through.
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
            check_params(spec)  # another size may be asked for
        else:
            check_size(spec, size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return ResolvedNetwork(clean(title), f"The network of {path.name}", spec, size)
