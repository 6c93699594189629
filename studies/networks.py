"""A network that a user names: a name, or a JSON file that holds a spec."""

import json
from dataclasses import replace
from pathlib import Path

from threshnet.errors import InputError
from threshnet.named import ABOUT, NAMED, named
from threshnet.spec import NetworkSpec


def read_network(text: str, classes: int | None = None) -> tuple[str, NetworkSpec]:
    """Title and spec of a named network or of a JSON file: a NetworkSpec, or an exported folder's config.json.

    `classes` replaces a named network's class count; a file keeps its own. InputError names the file and key.
    """
    if text.lower() in NAMED or not (text.endswith(".json") or Path(text).exists()):
        spec = named(text)
        return ABOUT[text.lower()].title, spec if classes is None else replace(spec, classes=classes)
    path = Path(text)
    return path.stem, read_spec_file(path)


def read_spec_file(path: Path) -> NetworkSpec:
    """The network in a JSON file; InputError names the file and the key that is wrong."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
    if isinstance(document, dict) and "spec" in document:
        document = document["spec"]
    try:
        return NetworkSpec.from_json(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
