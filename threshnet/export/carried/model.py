"""A ThreshNet and its weights. Needs only torch.

    from model import load
    network = load()                    # reads model.safetensors in the folder of this file
    logits = network(images)            # float32 (n, 3, height, width), RGB in [0, 1] -> (n, classes)

`python model.py FILE.pt` classifies the images in a file saved with torch.save, {"images": uint8 (n, 3, height,
width)}, and prints one class number per image. If the file also contains "labels": integers (n,), it prints the error
rate instead. The layers below were generated from the network's spec.
"""

import os
import sys

if __name__ == "__main__":  # never import libraries from the folder of this file
    _here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) != _here]

import json
import math
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

FINGERPRINT = ""
MAX_HEADER_BYTES = 2**24
BATCH = 100  # images per forward pass
DTYPES = {torch.float32: "F32", torch.int64: "I64"}  # dtypes of the tensors below, by their safetensors names


class Network(nn.Module):
    """(n, 3, height, width) images scaled to [0, 1] in, (n, classes) logits out."""

    def __init__(self) -> None:
        super().__init__()
        # LAYERS

    def forward(self, images: Tensor) -> Tensor:
        """The logits of a batch of images."""
        return images  # CALLS


class DamagedError(ValueError):
    """A weights file is damaged or belongs to another network; the message names the file."""


def load(path: str = "") -> Network:
    """Load the network with weights from a safetensors file, in eval mode; raises DamagedError if they do not match."""
    path = path or os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.safetensors")
    with torch.device("meta"):  # allocates nothing: the file may still be refused
        network = Network()
    expected = network.state_dict()
    try:
        with open(path, "rb") as file:
            tensors = _read(file, os.path.getsize(path), expected)
    except OSError as error:
        raise DamagedError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: damaged or from another network ({error})") from None
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def _read(file: BinaryIO, size: int, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read the expected tensors from a safetensors file: the header's length in 8 bytes, a JSON header, the data.

    Name, dtype, shape and offsets of every tensor are checked before memory is allocated for it.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
        raise ValueError(f"its header claims {length} bytes, the file has {size}")
    header = json.loads(file.read(length).decode())
    if not isinstance(header, dict):
        raise ValueError("its header is not a table")
    header.pop("__metadata__", None)
    if set(header) != set(expected):
        raise ValueError(f"tensors {sorted(set(header) ^ set(expected))[:2]} are missing or unexpected")
    tensors: dict[str, Tensor] = {}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: _offsets(item[1])[0]):
        start, stop = _offsets(entry)
        dtype, shape = expected[name].dtype, list(expected[name].shape)
        nbytes = math.prod(shape) * expected[name].element_size()
        if (entry.get("dtype"), entry.get("shape"), start, stop) != (DTYPES[dtype], shape, end, end + nbytes):
            raise ValueError(f"tensor {name!r} has an unexpected dtype, shape or offset")
        raw = bytearray(file.read(nbytes)) if stop <= size - 8 - length else b""
        if len(raw) != nbytes:
            raise ValueError(f"the file ends within tensor {name!r}")
        tensors[name], end = torch.frombuffer(raw, dtype=dtype).reshape(shape), stop
        if not torch.isfinite(tensors[name]).all():
            raise ValueError(f"tensor {name!r} contains non-finite values")
    if 8 + length + end != size:
        raise ValueError(f"{size - 8 - length - end} unexpected bytes at the end")
    return tensors


def _offsets(entry: Any) -> tuple[int, int]:  # noqa: ANN401 - untrusted JSON
    """Start and end of a tensor in the data section, bytes."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or [type(at) for at in offsets] != [int, int]:
        raise ValueError("its header has an entry that does not describe a tensor")
    return offsets[0], offsets[1]


def main() -> None:
    """Classify the images in a file: print one class number per image, or the error rate if the file has labels."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        network = load()
        content = torch.load(sys.argv[1], weights_only=True)
        images, labels = content["images"], content.get("labels")
    except DamagedError as error:
        sys.exit(f"error: {error}")
    except Exception as error:  # torch raises many types
        sys.exit(f"error: {sys.argv[1]}: not a file of images ({' '.join(str(error).split())[:200]})")
    with torch.inference_mode():
        predicted = torch.cat([network(batch.float() / 255).argmax(dim=1) for batch in images.split(BATCH)])
    if labels is None:
        for number in predicted.tolist():
            print(number)
    else:
        wrong = int((predicted != labels).sum())
        print(f"error {100 * wrong / len(labels):.2f} % ({wrong} of {len(labels)} images)")


if __name__ == "__main__":
    main()
