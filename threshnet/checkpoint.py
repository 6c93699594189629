"""Weights in and out: safetensors that carry their spec, and the original repositories' state_dicts."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from threshnet.bounds import MAX_PARAMS
from threshnet.errors import InputError
from threshnet.foreign import opened
from threshnet.network import ThreshNet, build
from threshnet.spec import NetworkSpec

MAX_BYTES = 2 * 4 * MAX_PARAMS  # of a weights file
MAX_HEADER = 2**24  # of them, what its header may take
KINDS = {torch.float32: "F32", torch.int64: "I64"}  # of a network's tensors, as such a file calls them
SPEC_KEY = "threshnet_spec"  # the metadata entry that holds the spec as JSON


def save_weights(model: ThreshNet, path: Path) -> None:
    """Write the model's state and, as metadata, its spec to a safetensors file, which appears whole or not at all."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    save_file(state, partial, metadata={SPEC_KEY: json.dumps(model.spec.to_json())})
    partial.chmod(0o644)
    partial.replace(path)


def load_weights(path: Path, *, follow: bool = True) -> ThreshNet:
    """The network that `save_weights` wrote, on the CPU in eval mode; InputError names a missing or damaged file.

    Nothing larger than the network that the file describes is read. Without `follow`, no symbolic link is gone through.
    """
    with opened(path, MAX_BYTES, "weights file", follow=follow) as file:
        try:
            start, tensors = _header(file)
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(path, error) from None
        spec = _described(path, tensors.pop("__metadata__", {}))
        with torch.device("meta"):  # no memory yet: the file may be refused
            model = build(spec)
        expected = model.state_dict()
        _compare(path, tensors, expected)
        needed = len(start) + sum(tensor.nbytes for tensor in expected.values())
        try:
            size = os.fstat(file.fileno()).st_size
            if size != needed:
                raise ValueError(f"its network takes {needed:,} bytes, the file has {size:,}")
            state = load(start + file.read(needed - len(start)))
        except (OSError, ValueError, SafetensorError) as error:
            raise _damaged(path, error) from None
    for key, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path}: {key} holds values that are no finite numbers")
    model.load_state_dict(state, assign=True)
    return model.eval()


def _header(file: BinaryIO) -> tuple[bytes, dict[str, Any]]:
    """The start of a safetensors file, up to its numbers, and the table in it: what it says of each tensor by name.

    ValueError where there is none. https://github.com/huggingface/safetensors#format
    """
    length = file.read(8)
    size = int.from_bytes(length, "little")
    if len(length) < 8 or size > MAX_HEADER:
        raise ValueError(f"its header claims {size:,} bytes; at most {MAX_HEADER:,} are read")
    header = file.read(size)
    table = json.loads(header.decode())
    if not isinstance(table, dict) or not all(isinstance(about, dict) for about in table.values()):
        raise ValueError("its header is no table of tensors")
    return length + header, table


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: damaged or not a safetensors file ({error})")


def _described(path: Path, metadata: Mapping[str, Any]) -> NetworkSpec:
    """The spec in a file's metadata."""
    try:
        return NetworkSpec.from_json(json.loads(metadata[SPEC_KEY]))
    except KeyError:
        raise InputError(f"{path}: its metadata has no {SPEC_KEY!r}; only files written by this project do") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its metadata {SPEC_KEY!r} is not a network ({error})") from None


def _compare(path: Path, found: Mapping[str, Mapping[str, Any]], expected: Mapping[str, Tensor]) -> None:
    """InputError where a file says that it has other tensors than a network."""
    for key in sorted(found.keys() ^ expected.keys()):
        told = "is missing" if key in expected else "is none of its network's"
        raise InputError(f"{path}: its tensors do not fit its spec ({key!r:.80} {told})")
    for key, tensor in expected.items():
        shape, kind = found[key].get("shape"), found[key].get("dtype")
        if shape != list(tensor.shape):
            raise InputError(
                f"{path}: its tensors do not fit its spec ({key!r} has shape {shape!r:.80}, not {list(tensor.shape)})"
            )
        if kind != KINDS[tensor.dtype]:
            raise InputError(f"{path}: {key} holds {kind!r:.80}, must be {KINDS[tensor.dtype]}")


def import_original(spec: NetworkSpec, state_dict: Mapping[str, Tensor]) -> ThreshNet:
    """A network of `spec` with the weights of an original ThreshNet or HarDNet repository, in eval mode.

    The original names differ from ours, their order does not: entries are matched one by one and their shapes checked.
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
