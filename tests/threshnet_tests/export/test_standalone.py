"""model.py: the same network as generated code, which refuses damaged weights."""

import json
import runpy
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from threshnet_tests.strategies import small_networks

from threshnet.checkpoint import save_weights
from threshnet.export.standalone import model_source, model_version, predict_source, predict_version
from threshnet.named import NAMED
from threshnet.network import build
from threshnet.shapes import smallest_input
from threshnet.spec import BlockSpec, NetworkSpec

SPEC = NetworkSpec((BlockSpec(((0,), (0, 1)), growth=4, transition=8),), classes=3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """model.py in a folder with its weights."""
    torch.manual_seed(0)
    save_weights(build(SPEC), tmp_path / "model.safetensors")
    (tmp_path / "model.py").write_text(model_source(SPEC))
    return tmp_path / "model.py"


@settings(max_examples=20, deadline=None)
@given(small_networks())
def test_the_code_computes_the_same_logits(tmp_path_factory: pytest.TempPathFactory, spec: NetworkSpec) -> None:
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.py").write_text(model_source(spec))
    network = build(spec).eval()
    save_weights(network, folder / "model.safetensors")
    other = runpy.run_path(str(folder / "model.py"))["load"]()
    size = max(8, smallest_input(spec))
    images = torch.rand(2, 3, size, size)
    with torch.inference_mode():
        assert torch.equal(other(images), network(images))
    assert not other.training


@pytest.mark.parametrize("name", sorted(NAMED))
def test_named_networks_have_the_same_tensors_as_generated_code(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(model_source(NAMED[name]))
    with torch.device("meta"):
        theirs, ours = runpy.run_path(str(tmp_path / "model.py"))["Network"]().state_dict(), build(NAMED[name])
    assert {key: value.shape for key, value in theirs.items()} == {k: v.shape for k, v in ours.state_dict().items()}


def test_versions_of_the_programs_are_recognised() -> None:
    """Programs of an earlier version are recognised by a fixture in tests/compatibility_tests."""
    source, other = model_source(SPEC), model_source(NAMED["threshnet28"])
    assert model_version(source, SPEC) == "this version"
    assert predict_version(predict_source()) == "this version"
    assert model_version(other, SPEC) is None
    for added in ("# LAYERS\n", "import os\n", "        return images  # CALLS\n"):
        assert model_version(source + added, SPEC) is None
        assert predict_version(predict_source() + added) is None


def header_of(file: Path) -> tuple[dict[str, Any], bytes]:
    content = file.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write(file: Path, header: object, body: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + body)


def changed(name: str, **about: object) -> Callable[[dict[str, Any]], object]:
    return lambda header: header | {name: header[name] | about}


BIAS = "head_linear.bias"
DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-4]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"more"),
    "terabytes of header": lambda file: file.write_bytes(struct.pack("<Q", 2**42) + b"{}"),
    "no table": lambda file: write(file, [1], header_of(file)[1]),
    "nested": lambda file: write(file, b"[" * 1_000_000, b""),
    "no text": lambda file: write(file, b"\xff\xfe{}", b""),
    "tensor gone": lambda file: write(file, {k: v for k, v in header_of(file)[0].items() if k != BIAS}, b""),
    "terabytes of tensor": lambda file: write(
        file, changed(BIAS, shape=[2**40], data_offsets=[0, 2**42])(header_of(file)[0]), header_of(file)[1]
    ),
    "other kind": lambda file: write(file, changed(BIAS, dtype="F16")(header_of(file)[0]), header_of(file)[1]),
    "other shape": lambda file: write(file, changed(BIAS, shape=[1, 3])(header_of(file)[0]), header_of(file)[1]),
    "odd place": lambda file: write(file, changed(BIAS, data_offsets=["0", 4])(header_of(file)[0]), b""),
    "entry of no table": lambda file: write(file, header_of(file)[0] | {BIAS: 3}, b""),
    "no numbers": lambda file: file.write_bytes(file.read_bytes()[:-400] + b"\xff" * 400),
    "gone": lambda file: file.unlink(),
}


# Arguments: model.py and weights files. Prints the error for each file; the process has a memory limit.
REFUSALS = """
import json, resource, runpy, sys
program = runpy.run_path(sys.argv[1])
if sys.platform == "linux":
    used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * used + 2**28,) * 2)
errors = []
for path in sys.argv[2:]:
    try:
        program["load"](path)
    except program["DamagedError"] as error:
        errors.append(str(error))
json.dump(errors, sys.stdout)
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """The error for every damaged file, from one process with a memory limit."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "model.py").write_text(model_source(SPEC))
    files = {damage: folder / f"{damage.replace(' ', '-')}.safetensors" for damage in DAMAGES}
    for damage, file in files.items():
        save_weights(build(SPEC), file)
        DAMAGES[damage](file)
    command = [sys.executable, "-I", "-c", REFUSALS, str(folder / "model.py"), *map(str, files.values())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    errors = zip(files.values(), json.loads(run.stdout), strict=True)
    return dict(zip(files, errors, strict=True))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_gives_a_one_line_error_without_allocating_memory(
    refusals: dict[str, tuple[Path, str]], damage: str
) -> None:
    file, error = refusals[damage]
    assert error.startswith(f"{file}: ")
    assert error.isprintable()
    assert len(error) < 400 + len(str(file))


def test_the_program_prints_one_line_if_its_weights_are_damaged(model: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    run = subprocess.run([sys.executable, str(model), "x.pt"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith(f"error: {tmp_path / 'model.safetensors'}: damaged or from another network (")
    assert run.stderr.count("\n") == 1


def test_the_error_rate_on_a_file_of_images_is_printed(model: Path, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8)
    network = runpy.run_path(str(model))["load"]()
    with torch.inference_mode():
        predicted = network(images.float() / 255).argmax(dim=1)
    labels = predicted.clone()
    labels[:3] = (labels[:3] + 1) % 3
    torch.save({"images": images, "labels": labels}, tmp_path / "images.pt")
    torch.save([print], tmp_path / "code.pt")
    command = [sys.executable, str(model)]
    run = subprocess.run([*command, str(tmp_path / "images.pt")], capture_output=True, text=True, check=True)
    assert run.stdout == "error 15.00 % (3 of 20 images)\n"
    hostile = subprocess.run([*command, str(tmp_path / "code.pt")], capture_output=True, text=True, check=False)
    assert hostile.returncode == 1
    assert hostile.stderr.startswith(f"error: {tmp_path / 'code.pt'}: not a file of images (")


def test_without_labels_the_classes_are_printed(model: Path, tmp_path: Path) -> None:
    torch.save({"images": torch.zeros(4, 3, 16, 16, dtype=torch.uint8)}, tmp_path / "images.pt")
    command = [sys.executable, str(model), str(tmp_path / "images.pt")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(set(run.stdout.split())) == 1
    assert len(run.stdout.split()) == 4
