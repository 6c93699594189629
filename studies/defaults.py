"""Default locations, relative to the working directory."""

from pathlib import Path

DEFAULT_STORAGE = "sqlite:///threshnet.db"
DEFAULT_RUNS = Path("runs")  # the trained weights of a study are in RUNS/STUDY/weights
