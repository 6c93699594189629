"""Run exported files in a fresh, isolated process that can import neither this project nor most libraries."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TIMEOUT_S = 600
# Packages that no exported file may need: this project, and libraries that the card does not list as required.
BLOCKED = ("threshnet", "space", "search", "studies", "safetensors", "onnx", "torchvision")

# Arguments: folder, file, file of images, image size in pixels, output file. Arrays are passed as raw float32.
_BEGIN = """
import sys
sys.modules.update(dict.fromkeys({blocked!r}))  # importing one of these raises ImportError
folder, file, images, size, output = sys.argv[1:]
sys.path.insert(0, folder)
"""
_TORCH = """
import array, torch
raw = bytearray(open(images, "rb").read())
images = torch.frombuffer(raw, dtype=torch.float32).reshape(-1, 3, int(size), int(size))
{load}
with torch.inference_mode():
    logits = network(images)
open(output, "wb").write(array.array("f", logits.flatten().tolist()).tobytes())
"""
_MODEL = _TORCH.format(load="from model import load; network = load()")
_PT2 = _TORCH.format(load="network = torch.export.load(folder + '/' + file).module()")
_PREDICT = """
import numpy
from predict import configuration, logits, session
size = configuration(folder)["input_size"]
images = numpy.fromfile(images, numpy.float32).reshape(-1, 3, size, size)
logits(session(folder + "/" + file), images).tofile(output)
"""


class ReloadError(RuntimeError):
    """An exported file fails to run by itself; the message names the file and the reason."""


def isolated_logits(folder: Path, file: str, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (n, classes) of a file in the folder for images (n, 3, size, size), computed in a separate process.

    model.py (with model.safetensors) and .pt2 files run with torch only. ONNX files run through predict.py, with
    onnxruntime, numpy and pillow only. Raises ReloadError if this fails.
    """
    blocked: tuple[str, ...]
    match Path(file).suffix:
        case ".py":
            program, blocked = _MODEL, (*BLOCKED, "onnxruntime", "numpy", "PIL")
        case ".pt2":
            program, blocked = _PT2, (*BLOCKED, "onnxruntime", "numpy", "PIL")
        case _:
            program, blocked = _PREDICT, (*BLOCKED, "torch")
    with tempfile.TemporaryDirectory(prefix="threshnet-") as temporary:
        inputs, output = Path(temporary) / "images", Path(temporary) / "logits"
        images.astype(np.float32).tofile(inputs)
        code = _BEGIN.format(blocked=blocked) + program
        arguments = [str(folder.absolute()), file, str(inputs), str(images.shape[-1]), str(output)]
        command = [sys.executable, "-I", "-B", "-c", code, *arguments]
        try:
            run = subprocess.run(command, cwd=temporary, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise ReloadError(f"{folder / file}: timed out after {TIMEOUT_S} s in a separate process") from None
        if run.returncode:
            errors = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
            raise ReloadError(f"{folder / file}: does not run in a separate process ({errors[-1]})")
        return np.fromfile(output, np.float32).reshape(len(images), -1)
