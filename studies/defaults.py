"""Default locations, relative to the working directory, and the environment variable that replaces one of them."""

import os
from pathlib import Path

DEFAULT_STORAGE = "sqlite:///threshnet.db"
STORAGE_VARIABLE = "OPTUNA_STORAGE"  # replaces the default storage, as in Optuna's own commands
DEFAULT_RUNS = Path("runs")  # the trained weights of a study are in RUNS/STUDY/weights


def default_storage() -> str:
    """Return the storage of a command without --storage."""
    return os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE
