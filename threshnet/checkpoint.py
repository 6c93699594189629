"""Weights in and out: safetensors that carry their spec, and the original repositories' state_dicts."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from threshnet.errors import InputError
from threshnet.network import ThreshNet, build
from threshnet.spec import NetworkSpec

SPEC_KEY = "threshnet_spec"  # the metadata entry that holds the spec as JSON


def save_weights(model: ThreshNet, path: Path) -> None:
    """Write the model's state and, as metadata, its spec to a safetensors file, which appears whole or not at all."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    save_file(state, partial, metadata={SPEC_KEY: json.dumps(model.spec.to_json())})
    partial.chmod(0o644)
    partial.replace(path)


def load_weights(path: Path) -> ThreshNet:
    """The network that `save_weights` wrote, on the CPU in eval mode; InputError names a missing or damaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError:
        raise InputError(f"{path}: no such weights file") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: damaged or not a safetensors file ({error})") from None
    try:
        spec = NetworkSpec.from_json(json.loads(metadata[SPEC_KEY]))
    except KeyError:
        raise InputError(f"{path}: its metadata has no {SPEC_KEY!r}; only files written by this project do") from None
    except ValueError as error:
        raise InputError(f"{path}: its metadata {SPEC_KEY!r} is not a network ({error})") from None
    model = build(spec)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: its tensors do not fit its spec ({str(error).splitlines()[1].strip()})") from None
    return model.eval()


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
