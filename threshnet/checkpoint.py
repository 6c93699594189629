"""Save and load weights: safetensors files that include the spec, and state_dicts of the original repositories."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from threshnet import strict
from threshnet.baselines import Architecture, LibraryModel, build_library_model
from threshnet.bounds import MAX_INPUT, MAX_PARAMS
from threshnet.errors import InputError
from threshnet.network import ThreshNet, build
from threshnet.spec import NetworkSpec
from threshnet.strict import Range
from threshnet.untrusted import open_bounded

MAX_FILE_BYTES = 2 * 4 * MAX_PARAMS
MAX_HEADER_BYTES = 2**24
DTYPES = {torch.float32: "F32", torch.int64: "I64"}  # dtypes of a network's tensors, by their safetensors names
SPEC_KEY = "threshnet_spec"  # the metadata entry that holds the spec as JSON
LIBRARY_KEY = "library_model"  # the metadata entry that holds a SavedModel as JSON

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class SavedModel:
    """A library model whose weights are in a file."""

    model: LibraryModel
    # Height and width of its images in pixels; the weights of some models depend on it.
    input_size: Annotated[int, Range(1, MAX_INPUT, unit="pixels")]

    def __post_init__(self) -> None:
        strict.check(self)


def save_weights(model: ThreshNet, path: Path) -> None:
    """Save the model's state to a safetensors file, with its spec as metadata. The file is replaced atomically."""
    _save(model, path, {SPEC_KEY: json.dumps(model.spec.to_json())})


def save_architecture(model: nn.Module, network: Architecture, input_size: int, path: Path) -> None:
    """Save the state of a module built from a spec, or from a library model for images of `input_size` pixels.

    The spec, or the library model and the input size, are the metadata; the rest is as in `save_weights`.
    """
    if isinstance(network, LibraryModel):
        metadata = {LIBRARY_KEY: json.dumps(strict.plain(SavedModel(network, input_size)))}
    else:
        metadata = {SPEC_KEY: json.dumps(network.to_json())}
    _save(model, path, metadata)


def _save(model: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    save_file(state, partial, metadata=metadata)
    partial.chmod(0o644)
    partial.replace(path)


def load_weights(path: Path, *, follow: bool = True) -> ThreshNet:
    """Load a network saved by `save_weights`, on the CPU in eval mode; raises InputError if the file is bad or missing.

    Never reads more bytes than the network in the metadata needs. With `follow` false, symbolic links are refused.
    """

    def make(metadata: Mapping[str, Any]) -> ThreshNet:
        with torch.device("meta"):  # allocates nothing: the file may still be refused
            return build(_spec_in(path, metadata))

    return _load(path, make, follow=follow)


def load_library_weights(path: Path) -> nn.Module:
    """Load a library model saved by `save_architecture`, on the CPU in eval mode; raises InputError if it cannot."""

    def make(metadata: Mapping[str, Any]) -> nn.Module:
        saved = _library_model_in(path, metadata)
        return build_library_model(saved.model, saved.input_size)

    return _load(path, make)


def _load(path: Path, make: Callable[[Mapping[str, Any]], Model], *, follow: bool = True) -> Model:
    """Load the weights in a file into the network that `make` builds from the file's metadata."""
    with open_bounded(path, MAX_FILE_BYTES, "weights file", follow=follow) as file:
        try:
            header, tensors = _read_header(file)
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(path, error) from None
        model = make(tensors.pop("__metadata__", {}))
        expected = model.state_dict()
        _check_tensors(path, tensors, expected)
        needed = len(header) + sum(tensor.nbytes for tensor in expected.values())
        try:
            size = os.fstat(file.fileno()).st_size
            if size != needed:
                raise ValueError(f"the network needs {needed:,} bytes, the file has {size:,}")
            state = load(header + file.read(needed - len(header)))
        except (OSError, ValueError, SafetensorError) as error:
            raise _damaged(path, error) from None
    for key, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path}: {key} contains non-finite values")
    model.load_state_dict(state, assign=True)
    return model.eval()


def _read_header(file: BinaryIO) -> tuple[bytes, dict[str, Any]]:
    """Read the header of a safetensors file: its raw bytes, length included, and its entry for each tensor by name.

    Raises ValueError if it is malformed. Format: https://github.com/huggingface/safetensors#format
    """
    length = file.read(8)
    size = int.from_bytes(length, "little")
    if len(length) < 8 or size > MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {size:,} bytes; at most {MAX_HEADER_BYTES:,} are allowed")
    header = file.read(size)
    tensors = json.loads(header.decode())
    if not isinstance(tensors, dict) or not all(isinstance(entry, dict) for entry in tensors.values()):
        raise ValueError("its header is not a table of tensors")
    return length + header, tensors


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: damaged or not a safetensors file ({error})")


def _spec_in(path: Path, metadata: Mapping[str, Any]) -> NetworkSpec:
    """The spec in a file's metadata; raises InputError if there is none."""
    try:
        return NetworkSpec.from_json(json.loads(metadata[SPEC_KEY]))
    except KeyError:
        raise InputError(
            f"{path}: its metadata has no {SPEC_KEY!r}; only weights files of this project can be loaded"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its metadata {SPEC_KEY!r} is not a network ({error})") from None


def _library_model_in(path: Path, metadata: Mapping[str, Any]) -> SavedModel:
    """The library model in a file's metadata; raises InputError if there is none."""
    try:
        return strict.read(json.loads(metadata[LIBRARY_KEY]), SavedModel)
    except KeyError:
        raise InputError(f"{path}: its metadata has no {LIBRARY_KEY!r}; not the weights of a library model") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its metadata {LIBRARY_KEY!r} is not a library model ({error})") from None


def _check_tensors(path: Path, tensors: Mapping[str, Mapping[str, Any]], expected: Mapping[str, Tensor]) -> None:
    """Raise InputError if the tensors in a file's header differ from the network's in name, shape or dtype."""
    for key in sorted(tensors.keys() ^ expected.keys()):
        problem = "is missing" if key in expected else "is unexpected"
        raise InputError(f"{path}: its tensors do not match its spec ({key!r:.80} {problem})")
    for key, tensor in expected.items():
        shape, dtype = tensors[key].get("shape"), tensors[key].get("dtype")
        if shape != list(tensor.shape):
            raise InputError(
                f"{path}: its tensors do not match its spec ({key!r} has shape {shape!r:.80}, not {list(tensor.shape)})"
            )
        if dtype != DTYPES[tensor.dtype]:
            raise InputError(f"{path}: {key} has dtype {dtype!r:.80}, must be {DTYPES[tensor.dtype]}")


def import_original(spec: NetworkSpec, state_dict: Mapping[str, Tensor]) -> ThreshNet:
    """Build `spec` with weights from an original ThreshNet or HarDNet repository, in eval mode.

    The original names differ from ours but their order does not: entries are matched in order and their shapes checked.
    Raises InputError if they do not match.
    """
    model = build(spec)
    ours = model.state_dict()
    if len(ours) != len(state_dict):
        raise InputError(f"state_dict has {len(state_dict)} entries, this network has {len(ours)}")
    matched: dict[str, Tensor] = {}
    for (name, mine), (original, theirs) in zip(ours.items(), state_dict.items(), strict=True):
        if mine.shape != theirs.shape:
            raise InputError(
                f"state_dict entry {original!r} has shape {tuple(theirs.shape)}, {name!r} needs {tuple(mine.shape)}"
            )
        matched[name] = theirs
    dtype = next((value.dtype for value in matched.values() if value.is_floating_point()), torch.float32)
    model = model.to(dtype)
    model.load_state_dict(matched)
    return model.eval()
