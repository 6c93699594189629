"""Damaged and hostile model folders: one line per file reports them, no code runs, and memory stays bounded."""

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from safetensors.torch import save_file
from search_tests.tiny import SIZE
from studies_tests.small import TREE_NETWORK

from studies.export.card import ModelInfo
from studies.export.check import FolderCheck, check_folder
from studies.export.folder import export_model
from studies.export.images import noise
from studies.network import read_network
from threshnet import InputError
from threshnet.checkpoint import SPEC_KEY, save_weights
from threshnet.export.agreement import TOLERANCE, random_images
from threshnet.export.onnx_file import run_onnx
from threshnet.network import ThreshNet, build

LIMIT_BYTES = 2**30  # of memory to check a folder, without the libraries

# Prints the lines of check_folder for each folder in its arguments, as JSON; too much memory kills it.
IN_LITTLE_MEMORY = """
import json, resource, sys
from pathlib import Path
import onnxruntime, torch
from studies.export.check import check_folder
import torch.export
if sys.platform == "linux":
    used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * used + LIMIT_BYTES,) * 2)
json.dump({folder: [one.text() for one in check_folder(Path(folder))] for folder in sys.argv[1:]}, sys.stdout)
""".replace("LIMIT_BYTES", str(LIMIT_BYTES))


def network(seed: int) -> ThreshNet:
    """Build a network whose logits depend on the image."""
    torch.manual_seed(seed)
    model = build(TREE_NETWORK)
    with torch.no_grad():
        model.get_parameter("head_linear.weight").mul_(20)
        for _ in range(3):
            model(torch.rand(8, 3, SIZE, SIZE))
    return model.eval()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("good") / "model", network(1))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the same network with other weights and large logits."""
    return exported(tmp_path_factory.mktemp("other") / "model", with_large_logits(2))


def with_large_logits(seed: int) -> ThreshNet:
    model = network(seed)
    with torch.no_grad():
        model.get_parameter("head_linear.weight").mul_(10_000)
    return model


def exported(folder: Path, model: ThreshNet) -> Path:
    info = ModelInfo(title="Mine", origin="A test", input_size=SIZE)
    export_model(model, folder, info, noise(SIZE), lambda file: None)
    return folder


def edited_config(**changes: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return edit


def edited_spec(**changes: object) -> Callable[[Path], object]:
    return edited_config(spec=TREE_NETWORK.to_json() | changes)


def edited_block(**changes: object) -> Callable[[Path], object]:
    return edited_spec(blocks=[TREE_NETWORK.blocks[0].__dict__ | {"links": [[0], [0, 1]]} | changes])


def edited_onnx(edit: Callable[[onnx.ModelProto], object]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        model = onnx.load(folder / "model.onnx")
        edit(model)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return change


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../../../etc/passwd"), ("offset", "0"), ("length", "64")):
        tensor.external_data.add(key=key, value=value)


def external_constant(model: onnx.ModelProto) -> None:
    inner = onnx.ModelProto()
    inner.graph.initializer.add().CopyFrom(model.graph.initializer[0])
    external(inner)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["secret"], value=inner.graph.initializer[0]))


def allocating(model: onnx.ModelProto) -> None:
    shape = helper.make_tensor("shape", onnx.TensorProto.INT64, [1], [2**40])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["much"]))


def wide_padding(model: onnx.ModelProto) -> None:
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    for attribute in first.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [200_000] * 4


def looping(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["never"], body=onnx.GraphProto(name="body")))


class Command:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def hostile_pt2(folder: Path) -> None:
    """Replace the .pt2 by one that makes a folder when it is loaded."""
    pickled = io.BytesIO()
    torch.save(Command(folder / "pwned"), pickled)
    with zipfile.ZipFile(folder / "model.pt2") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / "model.pt2", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, pickled.getvalue() if name.endswith("sample_inputs/model.pt") else data)


def hostile_program(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(f"import os; os.mkdir({str(folder / 'pwned')!r})")


def extra(file: str) -> Callable[[Path], object]:
    def add(folder: Path) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        hostile_program(file)(folder)

    return add


def escaping(model: onnx.ModelProto) -> None:
    """Break an operator and put terminal escape sequences into its name."""
    last = model.graph.node[-1]
    last.name, last.input[0] = "\x1b]0;pwned\x07\x1b[2J", "\x1b[31mgone"


def non_finite(folder: Path) -> None:
    model = network(1)
    with torch.no_grad():
        model.get_parameter("head_linear.bias")[0] = float("nan")
    save_weights(model, folder / "model.safetensors")


def huge_network(folder: Path) -> None:
    wide = {**TREE_NETWORK.to_json(), "stem": {"widths": [8192, 8192], "stride": 1, "pool": False}}
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors", metadata={SPEC_KEY: json.dumps(wide)})


def linked(file: str, to: str) -> Callable[[Path], object]:
    def link(folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).symlink_to(to)

    return link


def endless(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def huge(file: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / file, size)


def truncated(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size // 2)


SAFE, ONNX, INT8 = "model.safetensors", "model.onnx", "model_int8.onnx"
# How a folder is changed, the file that is then bad, and a part of the message about it.
HOSTILE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "truncated weights": (truncated, SAFE, "damaged or not a safetensors file"),
    "header that claims terabytes": (
        lambda folder: (folder / SAFE).write_bytes(struct.pack("<Q", 2**43) + b"{}" * 50),
        SAFE,
        "damaged or not a safetensors file",
    ),
    "huge weights": (huge(SAFE, 2**40), SAFE, "bytes; at most"),
    "weights of a huge network": (huge_network, SAFE, "parameters; at most 2.5e+08"),
    "non-finite weights": (non_finite, SAFE, "head_linear.bias contains non-finite values"),
    "weights as a link": (linked(SAFE, "/dev/zero"), SAFE, "is a symbolic link"),
    "ONNX with external weights": (
        edited_onnx(external),
        ONNX,
        "stores weights in another file ('../../../etc/passwd')",
    ),
    "ONNX with an external constant": (edited_onnx(external_constant), ONNX, "stores weights in another file"),
    "ONNX that allocates terabytes": (edited_onnx(allocating), ONNX, "the operator 'ConstantOfShape'"),
    "ONNX with wide padding": (edited_onnx(wide_padding), ONNX, "pads exceeds 3"),
    "ONNX that loops": (edited_onnx(looping), ONNX, "the operator 'Loop'"),
    "huge ONNX": (huge(ONNX, 2**36), ONNX, "bytes; at most"),
    "ONNX of other bytes": (
        lambda folder: (folder / ONNX).write_bytes(b"\xff" * 99),
        ONNX,
        "damaged or not an ONNX file",
    ),
    "empty ONNX": (
        lambda folder: (folder / ONNX).write_bytes(b""),
        ONNX,
        "damaged, its tensor shapes cannot be inferred",
    ),
    "ONNX as a link": (linked(ONNX, "/etc/passwd"), ONNX, "is a symbolic link"),
    "hostile model.py": (hostile_program("model.py"), "model.py", "differs from what any known version writes"),
    "hostile predict.py": (hostile_program("predict.py"), "predict.py", "differs from what any known version writes"),
    "extra library": (extra("numpy.py"), "numpy.py", "could import it"),
    "extra package": (extra("PIL/__init__.py"), "PIL", "could import it"),
    "extra machine code": (extra("torch.SO"), "torch.SO", "could import it"),
    "extra bytecode": (extra("__pycache__/model.cpython-311.pyc"), "__pycache__", "could import it"),
    "extra link": (lambda folder: (folder / "json").symlink_to("/tmp"), "json", "could import it"),
    "ONNX with terminal escapes": (edited_onnx(escaping), ONNX, "]0;pwned [2J"),
    "ONNX whose input has no shape": (
        edited_onnx(lambda model: model.graph.input[0].type.tensor_type.ClearField("shape")),
        ONNX,
        "its input has 0 dimensions, not 4",
    ),
    "endless config": (endless, "config.json", "not a regular file"),
    "config as a link": (linked("config.json", "/etc/passwd"), "config.json", "a symbolic link"),
}
CONFIGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nested": (lambda folder: (folder / "config.json").write_text("[" * 10**6), "not a JSON file"),
    "nested links": (
        edited_block(links=[[[[[[[[[0]]]]]]]]]),
        r"blocks[0].links[0][0] = [[[[...]]]]: must be a whole number",
    ),
    "huge": (huge("config.json", 2**40), "bytes; at most"),
    "not UTF-8": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), "not a JSON file"),
    "billion layers": (edited_block(depth=10**9), "unknown key 'blocks[0].depth'"),
    "many layers": (edited_block(links=[list(range(n)) for n in range(1, 66)]), "= 65: must be 1 to 64"),
    "many blocks": (edited_spec(blocks=[TREE_NETWORK.to_json()["blocks"][0]] * 10_000), "= 10000: must be 1 to 64"),
    "many classes": (
        edited_spec(classes=10**12),
        "classes = 1000000000000: must be a whole number from 2 to 1,000,000",
    ),
    "endless digits": (
        lambda folder: (folder / "config.json").write_text('{"spec": ' + "9" * 10**5 + "}"),
        "not a JSON file",
    ),
    "wide": (edited_block(links=[[n] for n in range(64)], growth=8192, transition=8192), "parameters; at most"),
    "large images": (edited_config(input_size=10**9), "input_size = 1000000000"),
    "title that is not text": (edited_config(title={"a": 1}), "title ="),
    "not a number": (edited_block(multiplier=float("nan")), "multiplier = nan"),
}
ALL = HOSTILE | {name: (edit, "config.json", message) for name, (edit, message) in CONFIGS.items()}


def copied(folder: Path, target: Path, edit: Callable[[Path], object]) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    edit(target)
    return target


@pytest.fixture(scope="module")
def lines_of(good: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The lines about every hostile folder, from one process with little memory to spare."""
    place = tmp_path_factory.mktemp("hostile")
    folders = {name: copied(good, place / name.replace(" ", "-"), edit) for name, (edit, _, _) in ALL.items()}
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, *map(str, folders.values())]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    assert not list(place.glob("*/pwned"))
    lines = json.loads(run.stdout)
    return {name: lines[str(folder)] for name, folder in folders.items()}


@pytest.mark.parametrize("name", ALL)
def test_a_hostile_folder_is_reported_with_one_line_per_file(lines_of: dict[str, list[str]], name: str) -> None:
    _, file, message = ALL[name]
    (bad,) = [line for line in lines_of[name] if line.startswith("BAD")]
    assert bad.startswith(f"BAD {file}: ")
    assert message in bad
    assert all(len(line) < 500 and line.isprintable() for line in lines_of[name])


@pytest.mark.parametrize("name", CONFIGS)
def test_no_command_accepts_a_hostile_config(good: Path, name: str, tmp_path: Path) -> None:
    edit, message = CONFIGS[name]
    folder = copied(good, tmp_path / "model", edit)
    with pytest.raises(InputError) as caught:
        read_network(str(folder / "config.json"))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def by_file(folder: Path) -> dict[str, FolderCheck]:
    return {checked.file: checked for checked in check_folder(folder)}


def test_a_good_folder_passes(good: Path) -> None:
    checks = by_file(good)
    assert {file for file, checked in checks.items() if checked.ok} == {
        *("config.json", "model.safetensors", "model.onnx", "model_int8.onnx", "model.pt2", "model.py", "predict.py")
    }
    assert {file: checked.text() for file, checked in checks.items() if not checked.ok} == {
        "README.md": "-   README.md: text, not checked"
    }


@pytest.mark.parametrize(("share", "agrees"), [(0.3, True), (3.0, False)])
def test_files_may_differ_within_the_tolerance_of_an_export(
    good: Path, share: float, agrees: bool, tmp_path: Path
) -> None:
    def scale(folder: Path) -> None:
        model = network(1)
        with torch.no_grad():
            for name in ("head_linear.weight", "head_linear.bias"):
                model.get_parameter(name).mul_(1 + share * TOLERANCE)
        save_weights(model, folder / SAFE)

    checks = by_file(copied(good, tmp_path / "model", scale))
    assert [checks[file].ok for file in (ONNX, "model.pt2", INT8)] == [agrees, agrees, True]


def test_a_network_with_large_logits_is_exported_and_passes(other: Path) -> None:
    config = json.loads((other / "config.json").read_text())
    assert config["title"] == "Mine"
    assert all(checked.ok is not False for checked in check_folder(other))
    with torch.inference_mode():
        expected = with_large_logits(2)(random_images(SIZE))
    difference = np.abs(run_onnx(other / ONNX, random_images(SIZE)) - expected.numpy()).max()
    assert difference > TOLERANCE  # in absolute terms; relative to such large logits it is small


def test_files_are_run_under_the_shared_lease(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[bool] = []

    @contextlib.contextmanager
    def lease() -> Iterator[None]:
        inside.append(True)
        yield
        inside.pop()

    original = onnxruntime.InferenceSession.run
    leased: list[bool] = []

    def run(*arguments: object) -> object:
        leased.append(bool(inside))
        return original(*arguments)

    monkeypatch.setattr("studies.export.check.shared", lease)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    assert all(checked.ok is not False for checked in check_folder(good))
    assert leased
    assert all(leased)


def test_files_with_other_weights_are_reported(good: Path, other: Path, tmp_path: Path) -> None:
    def mix(folder: Path) -> None:
        for file in (ONNX, INT8, "model.pt2"):
            (folder / file).write_bytes((other / file).read_bytes())

    checks = by_file(copied(good, tmp_path / "model", mix))
    assert [file for file, checked in checks.items() if checked.ok is False] == [ONNX, "model.pt2", INT8]
    assert "differ" in checks[ONNX].message
    assert "correlation" in checks[INT8].message


def test_weights_of_another_network_are_reported(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "model", edited_spec(head_dropout=0.25))
    *_, last = check_folder(folder)
    assert (last.file, last.ok) == (SAFE, False)
    assert "weights of network" in last.message


def test_an_untrusted_pt2_is_never_opened(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "model", hostile_pt2)
    checked = by_file(folder)["model.pt2"]
    assert checked.ok is None
    assert "not opened" in checked.message
    assert not (folder / "pwned").exists()


def test_an_unexpected_file_is_reported_without_control_characters(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "model", lambda folder: (folder / "a\x1b[31m\nb").write_bytes(b""))
    (odd,) = [
        checked
        for checked in check_folder(folder)
        if checked.ok is None and "not part of a model folder" in checked.message
    ]
    assert odd.text().isprintable()


def test_a_title_is_shortened_and_loses_control_characters(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "model", edited_config(title="../../\x1b[31mme\n" + "x" * 10_000))
    title = read_network(str(folder)).title
    assert title.isprintable()
    assert len(title) < 500
    assert np.all([checked.ok is not False for checked in check_folder(folder)])
