"""A ThreshNet and its weights, with nothing but torch.

    from model import load
    network = load()                    # reads model.safetensors beside this file
    logits = network(images)            # float32 (n, 3, height, width), RGB in [0, 1] -> (n, classes)

`python model.py FILE.pt` answers for images that torch.save wrote: {"images": uint8 (n, 3, height, width)}, and with
"labels": integers (n,) it tells the error. Every line of the network below was written from its description.
"""

import os
import sys

if __name__ == "__main__":  # whatever lies beside this program is no library
    _here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) != _here]

import json
import math
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

FINGERPRINT = ""
MAX_HEADER = 2**24  # bytes of a safetensors header
BATCH = 100  # images at a time
KINDS = {torch.float32: "F32", torch.int64: "I64"}  # of the tensors here, as such a file calls them


class Network(nn.Module):
    """(n, 3, height, width) images scaled to [0, 1] in, (n, classes) logits out."""

    def __init__(self) -> None:
        super().__init__()
        # LAYERS

    def forward(self, images: Tensor) -> Tensor:
        """The logits of a batch of images."""
        return images  # CALLS


class DamagedError(ValueError):
    """A weights file that is not this network's, or not whole; the message names the file."""


def load(path: str = "") -> Network:
    """The network with the weights in a safetensors file, for inference; DamagedError where they cannot be its own."""
    path = path or os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.safetensors")
    with torch.device("meta"):  # no memory yet: the file may be refused
        network = Network()
    expected = network.state_dict()
    try:
        with open(path, "rb") as file:
            tensors = _read(file, os.path.getsize(path), expected)
    except OSError as error:
        raise DamagedError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: damaged, or of another network ({error})") from None
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _read(file: BinaryIO, size: int, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The expected tensors from a safetensors file: 8 bytes of length, a JSON header, the numbers.

    Name, kind, shape and place of every tensor are checked before memory is taken for it.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 0 < length <= min(MAX_HEADER, size - 8):
        raise ValueError(f"its header claims {length} bytes, the file has {size}")
    header = json.loads(file.read(length).decode())
    if not isinstance(header, dict):
        raise ValueError("its header is no table")
    header.pop("__metadata__", None)
    if set(header) != set(expected):
        raise ValueError(f"tensors {sorted(set(header) ^ set(expected))[:2]} are missing or too many")
    tensors: dict[str, Tensor] = {}
    end = 0
    for name, about in sorted(header.items(), key=lambda item: _place(item[1])[0]):
        start, stop = _place(about)
        kind, shape = expected[name].dtype, list(expected[name].shape)
        taken = math.prod(shape) * expected[name].element_size()
        if (about.get("dtype"), about.get("shape"), start, stop) != (KINDS[kind], shape, end, end + taken):
            raise ValueError(f"tensor {name!r} has another kind, shape or place than it must have")
        raw = bytearray(file.read(taken)) if stop <= size - 8 - length else b""
        if len(raw) != taken:
            raise ValueError(f"it ends within tensor {name!r}")
        tensors[name], end = torch.frombuffer(raw, dtype=kind).reshape(shape), stop
        if not torch.isfinite(tensors[name]).all():
            raise ValueError(f"tensor {name!r} holds values that are no numbers")
    if 8 + length + end != size:
        raise ValueError(f"{size - 8 - length - end} bytes too many")
    return tensors


def _place(about: Any) -> tuple[int, int]:  # noqa: ANN401 - whatever the file says
    """First byte and end of a tensor among the numbers."""
    place = about.get("data_offsets") if isinstance(about, dict) else None
    if not isinstance(place, list) or [type(at) for at in place] != [int, int]:
        raise ValueError("its header has an entry that describes no tensor")
    return place[0], place[1]


def main() -> None:
    """Answer for the images in a file: a class number each, or the error where their labels are known."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        network = load()
        given = torch.load(sys.argv[1], weights_only=True)
        images, labels = given["images"], given.get("labels")
    except DamagedError as error:
        sys.exit(f"error: {error}")
    except Exception as error:  # torch raises many kinds
        sys.exit(f"error: {sys.argv[1]}: no file of images ({' '.join(str(error).split())[:200]})")
    with torch.inference_mode():
        answers = torch.cat([network(batch.float() / 255).argmax(dim=1) for batch in images.split(BATCH)])
    if labels is None:
        for answer in answers.tolist():
            print(answer)
    else:
        wrong = int((answers != labels).sum())
        print(f"error {100 * wrong / len(labels):.2f} % ({wrong} of {len(labels)} images)")


if __name__ == "__main__":
    main()
