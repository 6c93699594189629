"""Default locations below the working directory, and limits shared by all commands."""

from pathlib import Path

DEFAULT_STORAGE = "sqlite:///threshnet.db"
DEFAULT_RUNS = Path("runs")  # trained weights, in RUNS/STUDY/weights
