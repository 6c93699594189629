"""Where things are kept unless the user says otherwise, below the working directory; and limits of all commands."""

from pathlib import Path

DEFAULT_STORAGE = "sqlite:///threshnet.db"
DEFAULT_RUNS = Path("runs")  # trained weights, in RUNS/STUDY/weights
