"""Default locations below the working directory."""

from pathlib import Path

DEFAULT_STORAGE = "sqlite:///threshnet.db"
DEFAULT_RUNS = Path("runs")  # trained weights, in RUNS/STUDY/weights
