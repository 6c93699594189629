"""Model folders from anywhere: damaged and hostile ones are told in a line a file; none runs code or fills memory."""

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
from threshnet.export.folder import run_onnx
from threshnet.network import ThreshNet, build

ROOM_BYTES = 2**30  # what looking at a folder may take, besides the libraries

# Arguments: folders. Prints what check_folder says of each, as JSON; taking much memory ends it.
IN_LITTLE_MEMORY = """
import json, resource, sys
from pathlib import Path
import onnxruntime, torch
from studies.export.check import check_folder
import torch.export
if sys.platform == "linux":
    taken = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * taken + ROOM,) * 2)
json.dump({folder: [one.text() for one in check_folder(Path(folder))] for folder in sys.argv[1:]}, sys.stdout)
""".replace("ROOM", str(ROOM_BYTES))


def network(seed: int) -> ThreshNet:
    """A network whose answers depend on the image."""
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
    story = ModelInfo(title="Mine", origin="A test", input_size=SIZE)
    export_model(model, folder, story, noise(SIZE), lambda file: None)
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


def terabytes(model: onnx.ModelProto) -> None:
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
    """What a pickle runs when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def hostile_pt2(folder: Path) -> None:
    """A .pt2 that makes a folder where it is loaded."""
    pickled = io.BytesIO()
    torch.save(Command(folder / "pwned"), pickled)
    with zipfile.ZipFile(folder / "model.pt2") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / "model.pt2", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, pickled.getvalue() if name.endswith("sample_inputs/model.pt") else data)


def hostile_program(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(f"import os; os.mkdir({str(folder / 'pwned')!r})")


def beside(file: str) -> Callable[[Path], object]:
    def add(folder: Path) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        hostile_program(file)(folder)

    return add


def escaping(model: onnx.ModelProto) -> None:
    """An operator that does not run, under a name that a terminal would obey."""
    last = model.graph.node[-1]
    last.name, last.input[0] = "\x1b]0;pwned\x07\x1b[2J", "\x1b[31mgone"


def not_numbers(folder: Path) -> None:
    model = network(1)
    with torch.no_grad():
        model.get_parameter("head_linear.bias")[0] = float("nan")
    save_weights(model, folder / "model.safetensors")


def enormous_weights(folder: Path) -> None:
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


def cut(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", (folder / "model.safetensors").stat().st_size // 2)


SAFE, ONNX, INT8 = "model.safetensors", "model.onnx", "model_int8.onnx"
# What is done to a folder, the file that is then bad, and what is said of it.
HOSTILE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "weights cut": (cut, SAFE, "damaged or not a safetensors file"),
    "header of terabytes": (
        lambda folder: (folder / SAFE).write_bytes(struct.pack("<Q", 2**43) + b"{}" * 50),
        SAFE,
        "damaged or not a safetensors file",
    ),
    "weights of gigabytes": (huge(SAFE, 2**40), SAFE, "bytes; at most"),
    "weights of an enormous network": (enormous_weights, SAFE, "parameters; at most 2.5e+08"),
    "weights that are no numbers": (not_numbers, SAFE, "head_linear.bias contains non-finite values"),
    "weights that are a link": (linked(SAFE, "/dev/zero"), SAFE, "is a symbolic link"),
    "ONNX elsewhere": (edited_onnx(external), ONNX, "stores weights in another file ('../../../etc/passwd')"),
    "ONNX constant elsewhere": (edited_onnx(external_constant), ONNX, "stores weights in another file"),
    "ONNX of terabytes": (edited_onnx(terabytes), ONNX, "the operator 'ConstantOfShape'"),
    "ONNX with wide padding": (edited_onnx(wide_padding), ONNX, "pads exceeds 3"),
    "ONNX that loops": (edited_onnx(looping), ONNX, "the operator 'Loop'"),
    "ONNX of gigabytes": (huge(ONNX, 2**36), ONNX, "bytes; at most"),
    "no ONNX": (lambda folder: (folder / ONNX).write_bytes(b"\xff" * 99), ONNX, "damaged or not an ONNX file"),
    "empty ONNX": (
        lambda folder: (folder / ONNX).write_bytes(b""),
        ONNX,
        "damaged, its tensor shapes cannot be inferred",
    ),
    "ONNX that is a link": (linked(ONNX, "/etc/passwd"), ONNX, "is a symbolic link"),
    "model.py of another": (hostile_program("model.py"), "model.py", "differs from what this version writes"),
    "predict.py of another": (hostile_program("predict.py"), "predict.py", "differs from what this version writes"),
    "library beside": (beside("numpy.py"), "numpy.py", "could import it"),
    "package beside": (beside("PIL/__init__.py"), "PIL", "could import it"),
    "machine code beside": (beside("torch.SO"), "torch.SO", "could import it"),
    "cache beside": (beside("__pycache__/model.cpython-311.pyc"), "__pycache__", "could import it"),
    "link beside": (lambda folder: (folder / "json").symlink_to("/tmp"), "json", "could import it"),
    "ONNX with terminal escapes": (edited_onnx(escaping), ONNX, "]0;pwned [2J"),
    "ONNX whose input has no shape": (
        edited_onnx(lambda model: model.graph.input[0].type.tensor_type.ClearField("shape")),
        ONNX,
        "its input has 0 dimensions, not 4",
    ),
    "config without end": (endless, "config.json", "not a regular file"),
    "config that is a link": (linked("config.json", "/etc/passwd"), "config.json", "a symbolic link"),
}
CONFIGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nested": (lambda folder: (folder / "config.json").write_text("[" * 10**6), "not a JSON file"),
    "nested links": (
        edited_block(links=[[[[[[[[[0]]]]]]]]]),
        r"blocks[0].links[0][0] = [[[[...]]]]: must be a whole number",
    ),
    "huge": (huge("config.json", 2**40), "bytes; at most"),
    "no text": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), "not a JSON file"),
    "billion of layers": (edited_block(depth=10**9), "unknown key 'blocks[0].depth'"),
    "many layers": (edited_block(links=[list(range(n)) for n in range(1, 66)]), "= 65: must be 1 to 64"),
    "many blocks": (edited_spec(blocks=[TREE_NETWORK.to_json()["blocks"][0]] * 10_000), "= 10000: must be 1 to 64"),
    "many classes": (
        edited_spec(classes=10**12),
        "classes = 1000000000000: must be a whole number from 2 to 1,000,000",
    ),
    "digits without end": (
        lambda folder: (folder / "config.json").write_text('{"spec": ' + "9" * 10**5 + "}"),
        "not a JSON file",
    ),
    "wide": (edited_block(links=[[n] for n in range(64)], growth=8192, transition=8192), "parameters; at most"),
    "large images": (edited_config(input_size=10**9), "input_size = 1000000000"),
    "title of no text": (edited_config(title={"a": 1}), "title ="),
    "not a number": (edited_block(multiplier=float("nan")), "multiplier = nan"),
}
ALL = HOSTILE | {name: (edit, "config.json", said) for name, (edit, said) in CONFIGS.items()}


def copied(folder: Path, target: Path, edit: Callable[[Path], object]) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    edit(target)
    return target


@pytest.fixture(scope="module")
def told(good: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is said of every hostile folder, in one process that has little memory to spare."""
    place = tmp_path_factory.mktemp("hostile")
    folders = {name: copied(good, place / name.replace(" ", "-"), edit) for name, (edit, _, _) in ALL.items()}
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, *map(str, folders.values())]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    assert not list(place.glob("*/pwned"))
    said = json.loads(run.stdout)
    return {name: said[str(folder)] for name, folder in folders.items()}


@pytest.mark.parametrize("name", ALL)
def test_a_hostile_folder_is_told_in_a_line_a_file(told: dict[str, list[str]], name: str) -> None:
    _, file, said = ALL[name]
    (bad,) = [line for line in told[name] if line.startswith("BAD")]
    assert bad.startswith(f"BAD {file}: ")
    assert said in bad
    assert all(len(line) < 500 and line.isprintable() for line in told[name])


@pytest.mark.parametrize("name", CONFIGS)
def test_no_command_takes_such_a_network(good: Path, name: str, tmp_path: Path) -> None:
    edit, said = CONFIGS[name]
    folder = copied(good, tmp_path / "model", edit)
    with pytest.raises(InputError) as caught:
        read_network(str(folder / "config.json"))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def by_file(folder: Path) -> dict[str, FolderCheck]:
    return {checked.file: checked for checked in check_folder(folder)}


def test_a_good_folder_is_good(good: Path) -> None:
    found = by_file(good)
    assert {file for file, checked in found.items() if checked.ok} == {
        *("config.json", "model.safetensors", "model.onnx", "model_int8.onnx", "model.pt2", "model.py", "predict.py")
    }
    assert {file: checked.text() for file, checked in found.items() if not checked.ok} == {
        "README.md": "-   README.md: text, not checked"
    }


@pytest.mark.parametrize(("share", "agrees"), [(0.3, True), (3.0, False)])
def test_files_may_differ_by_what_an_export_allows(good: Path, share: float, agrees: bool, tmp_path: Path) -> None:
    def scale(folder: Path) -> None:
        model = network(1)
        with torch.no_grad():
            for name in ("head_linear.weight", "head_linear.bias"):
                model.get_parameter(name).mul_(1 + share * TOLERANCE)
        save_weights(model, folder / SAFE)

    found = by_file(copied(good, tmp_path / "model", scale))
    assert [found[file].ok for file in (ONNX, "model.pt2", INT8)] == [agrees, agrees, True]


def test_a_network_with_large_logits_is_exported_and_good(other: Path) -> None:
    config = json.loads((other / "config.json").read_text())
    assert config["title"] == "Mine"
    assert all(checked.ok is not False for checked in check_folder(other))
    with torch.inference_mode():
        expected = with_large_logits(2)(random_images(SIZE))
    difference = np.abs(run_onnx(other / ONNX, random_images(SIZE)) - expected.numpy()).max()
    assert difference > TOLERANCE  # as a number; of logits so large it is a small share


def test_files_are_run_in_turn(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[bool] = []

    @contextlib.contextmanager
    def turn() -> Iterator[None]:
        inside.append(True)
        yield
        inside.pop()

    ran = onnxruntime.InferenceSession.run
    seen: list[bool] = []

    def run(*arguments: object) -> object:
        seen.append(bool(inside))
        return ran(*arguments)

    monkeypatch.setattr("studies.export.check.shared", turn)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    assert all(checked.ok is not False for checked in check_folder(good))
    assert seen
    assert all(seen)


def test_files_of_another_network_are_bad(good: Path, other: Path, tmp_path: Path) -> None:
    def mix(folder: Path) -> None:
        for file in (ONNX, INT8, "model.pt2"):
            (folder / file).write_bytes((other / file).read_bytes())

    found = by_file(copied(good, tmp_path / "model", mix))
    assert [file for file, checked in found.items() if checked.ok is False] == [ONNX, "model.pt2", INT8]
    assert "differ" in found[ONNX].message
    assert "correlation" in found[INT8].message


def test_weights_of_another_network_are_bad(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "model", edited_spec(head_dropout=0.25))
    *_, last = check_folder(folder)
    assert (last.file, last.ok) == (SAFE, False)
    assert "weights of network" in last.message


def test_a_pt2_from_elsewhere_is_never_opened(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "model", hostile_pt2)
    checked = by_file(folder)["model.pt2"]
    assert checked.ok is None
    assert "not opened" in checked.message
    assert not (folder / "pwned").exists()


def test_a_file_that_does_not_belong_is_told_without_control_characters(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "model", lambda folder: (folder / "a\x1b[31m\nb").write_bytes(b""))
    (odd,) = [
        checked
        for checked in check_folder(folder)
        if checked.ok is None and "not part of a model folder" in checked.message
    ]
    assert odd.text().isprintable()


def test_a_title_is_text_and_nothing_else(good: Path, tmp_path: Path) -> None:
    folder = copied(good, tmp_path / "model", edited_config(title="../../\x1b[31mme\n" + "x" * 10_000))
    title = read_network(str(folder)).title
    assert title.isprintable()
    assert len(title) < 500
    assert np.all([checked.ok is not False for checked in check_folder(folder)])
