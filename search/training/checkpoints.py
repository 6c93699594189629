"""Training checkpoints, used to resume a stopped or interrupted training exactly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from search.training.train import Model, Training
from threshnet.errors import InputError


def save_training(training: Training[Model], file: Path, conditions: Mapping[str, Any]) -> None:
    """Save a training and its conditions to a file; if the process crashes, the previous file stays intact."""
    unfinished = file.with_name(file.name + ".partial")
    torch.save({"conditions": dict(conditions), "training": training.state_dict()}, unfinished)
    unfinished.replace(file)


def load_training(training: Training[Model], file: Path, conditions: Mapping[str, Any]) -> None:
    """Restore a training from a file; only plain values and tensors are unpickled.

    Raises InputError if the file is damaged or was saved under different conditions.
    """
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        before, state = saved["conditions"], saved["training"]
    except Exception as error:  # torch raises many kinds of exceptions for a damaged file
        raise _damaged(file, error) from None
    changed = [key for key in conditions if before.get(key) != conditions[key]]
    if changed:
        raise InputError(f"{file}: belongs to a training with another {changed[0]}; delete it to start over")
    try:
        training.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: Exception) -> InputError:
    lines = str(error).splitlines() or [type(error).__name__]
    return InputError(f"{file}: damaged ({lines[0]}); delete it to start over")
