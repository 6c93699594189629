"""Weights in and out: safetensors that carry their spec, and the original repositories' state_dicts."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from threshnet.bounds import MAX_PARAMS
from threshnet.errors import InputError
from threshnet.foreign import opened
from threshnet.network import ThreshNet, build
from threshnet.spec import NetworkSpec

MAX_BYTES = 2 * 4 * MAX_PARAMS  # of a weights file
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
    opened(path, MAX_BYTES, "weights file", follow=follow).close()
    try:
        with safe_open(path, framework="pt") as file:
            spec = _described(path, file.metadata() or {})
            with torch.device("meta"):  # no memory yet: the file may be refused
                model = build(spec)
            expected = model.state_dict()
            _compare_shapes(path, {key: file.get_slice(key).get_shape() for key in file.keys()}, expected)  # noqa: SIM118 - not a dict
            state = {key: file.get_tensor(key) for key in expected}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged or not a safetensors file ({error})") from None
    for key, tensor in state.items():
        if tensor.dtype != expected[key].dtype:
            raise InputError(f"{path}: {key} holds {tensor.dtype}, must be {expected[key].dtype}")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path}: {key} holds values that are no finite numbers")
    model.load_state_dict(state, assign=True)
    return model.eval()


def _described(path: Path, metadata: Mapping[str, str]) -> NetworkSpec:
    """The spec in a file's metadata."""
    try:
        return NetworkSpec.from_json(json.loads(metadata[SPEC_KEY]))
    except KeyError:
        raise InputError(f"{path}: its metadata has no {SPEC_KEY!r}; only files written by this project do") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its metadata {SPEC_KEY!r} is not a network ({error})") from None


def _compare_shapes(path: Path, found: Mapping[str, list[int]], expected: Mapping[str, Tensor]) -> None:
    """InputError where a file has other tensors than a network."""
    for key in sorted(found.keys() ^ expected.keys()):
        told = "is missing" if key in expected else "is none of its network's"
        raise InputError(f"{path}: its tensors do not fit its spec ({key!r:.80} {told})")
    for key, shape in found.items():
        if tuple(shape) != tuple(expected[key].shape):
            needed = tuple(expected[key].shape)
            raise InputError(
                f"{path}: its tensors do not fit its spec ({key!r} has shape {tuple(shape)}, not {needed})"
            )


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
