"""Exported files, each loaded where nothing of this project is: in a fresh, isolated process with little to import."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TIMEOUT_S = 600
# What the files must do without: this project, and whatever the card does not name for them.
OURS = ("threshnet", "space", "search", "studies", "safetensors", "onnx", "torchvision")

# Arguments: folder, file, images, edge in pixels, where the answers go; numbers travel as raw float32.
_BEGIN = """
import sys
sys.modules.update(dict.fromkeys({absent!r}))  # importing one of these fails from here on
folder, file, images, size, answers = sys.argv[1:]
sys.path.insert(0, folder)
"""
_TORCH = """
import array, torch
raw = bytearray(open(images, "rb").read())
images = torch.frombuffer(raw, dtype=torch.float32).reshape(-1, 3, int(size), int(size))
{load}
with torch.inference_mode():
    logits = network(images)
open(answers, "wb").write(array.array("f", logits.flatten().tolist()).tobytes())
"""
_MODEL = _TORCH.format(load="from model import load; network = load()")
_PT2 = _TORCH.format(load="network = torch.export.load(folder + '/' + file).module()")
_PREDICT = """
import numpy
from predict import configuration, logits, session
size = configuration(folder)["input_size"]
images = numpy.fromfile(images, numpy.float32).reshape(-1, 3, size, size)
logits(session(folder + "/" + file), images).tofile(answers)
"""


class ReloadError(RuntimeError):
    """A file that does not load and answer by itself; the message names it and says why."""


def answers(folder: Path, file: str, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (n, classes) that a file of the folder gives for images (n, 3, size, size) in a process of its own.

    model.py runs with torch alone and reads model.safetensors, a .pt2 with torch alone, an ONNX file as predict.py
    runs it, with onnxruntime, numpy and pillow alone. Raises ReloadError where that fails.
    """
    absent: tuple[str, ...]
    match Path(file).suffix:
        case ".py":
            program, absent = _MODEL, (*OURS, "onnxruntime", "numpy", "PIL")
        case ".pt2":
            program, absent = _PT2, (*OURS, "onnxruntime", "numpy", "PIL")
        case _:
            program, absent = _PREDICT, (*OURS, "torch")
    with tempfile.TemporaryDirectory(prefix="threshnet-") as place:
        sent, back = Path(place) / "images", Path(place) / "answers"
        images.astype(np.float32).tofile(sent)
        code = _BEGIN.format(absent=absent) + program
        arguments = [str(folder.absolute()), file, str(sent), str(images.shape[-1]), str(back)]
        command = [sys.executable, "-I", "-B", "-c", code, *arguments]
        try:
            run = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise ReloadError(f"{folder / file}: no answer from a process of its own in {TIMEOUT_S} s") from None
        if run.returncode:
            said = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
            raise ReloadError(f"{folder / file}: does not run in a process of its own ({said[-1]})")
        return np.fromfile(back, np.float32).reshape(len(images), -1)
