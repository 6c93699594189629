"""Launches with the public package: a study file, images in memory, and kernels that are interrupted and killed."""

import os
import queue
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from search_tests.tiny import SIZE
from studies_tests.small import small_spec
from torch.utils.data import Dataset, TensorDataset

import threshnet_nas as tn

ROOT = Path(__file__).parents[2]
SETUP = """
import threshnet_nas as tn
from studies_tests.small import small_spec
spec = small_spec(trials=%d, runtimes=("onnxruntime",))
"""
STUDY = f"""
name = "from-a-file"
trials = 1
input_size = {SIZE}
sampler = "random"
[space]
base = "small-images"
granularity = "block"
blocks = [4]
layers = [1, 2]
growths = [8]
transitions = [16]
[data]
name = "digits"
train = 60
validation = 20
[training]
epochs = 1
[latency]
warmup_s = 0
min_s = 0
max_s = 0
retakes = 0
"""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, which holds the storage and the weights."""
    monkeypatch.chdir(tmp_path)


def test_a_study_file_and_its_load(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(STUDY)
    study = tn.launch("mine.toml", progress=False)
    best = study.front().pick(knee=True)
    assert best.load()(torch.zeros(1, 3, SIZE, SIZE)).shape == (1, 10)
    assert tn.load("from-a-file").front().knee.trial == best.trial


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Dark and bright noise of two classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    noise = torch.randint(0, 128, (60, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return noise + (127 * labels).to(torch.uint8)[:, None, None, None], labels


@pytest.mark.parametrize("kind", ["tensors", "Dataset"])
def test_images_in_memory_and_the_same_images_again(kind: str) -> None:
    pixels, labels = images()
    data: tuple[torch.Tensor, torch.Tensor] | Dataset[object] = (pixels, labels)
    if kind == "Dataset":
        data = TensorDataset(pixels, labels)
    spec = small_spec(trials=1, runtimes=("onnxruntime",))
    spec = tn.StudySpec(**{**vars(spec), "data": data, "flip": None})
    assert tn.launch(spec, progress=False).spec.space.classes == 2
    study = tn.launch(spec, trials=2, progress=False)
    assert study.loaded.trained == 2
    with pytest.raises(tn.InputError, match="small"):
        tn.launch(tn.StudySpec(**{**vars(spec), "data": (255 - pixels, labels)}), progress=False)


class Kernel:
    """A notebook's kernel in a folder."""

    def __init__(self, folder: Path) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self.manager = KernelManager()
        self.manager.start_kernel(cwd=str(folder), env={**os.environ, "PYTHONPATH": path})
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def start(self, code: str, until: str) -> str:
        """Start a cell and return its id as soon as it has printed `until`."""
        cell: str = self.client.execute(code)
        printed, limit = "", time.monotonic() + 120
        while until not in printed:
            assert time.monotonic() < limit, printed
            message = self.client.get_iopub_msg(timeout=60)
            content = message["content"]
            printed += str(content.get("text", "")) + str(content.get("data", ""))
            assert message["msg_type"] != "error", content
        return cell

    def run(self, code: str) -> str:
        """Run a cell and return what it prints."""
        printed = []
        reply = self.client.execute_interactive(code, timeout=120, output_hook=lambda one: printed.append(one))
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(one["content"].get("text", "") for one in printed if one["msg_type"] == "stream")

    def finish(self, cell: str) -> str:
        """Wait until a cell ends and return its status."""
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == cell:
                return str(reply["content"]["status"])

    def kill(self) -> None:
        """End the kernel at once."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel in the empty folder."""
    kernel = Kernel(tmp_path)
    yield kernel
    kernel.kill()


def test_an_interrupted_cell_returns_the_study_and_a_new_kernel_resumes_it(kernel: Kernel, tmp_path: Path) -> None:
    cell = kernel.start(SETUP % 500 + "study = tn.launch(spec)", until="trial   1")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(cell) == "ok"
    ended, trained = kernel.run("print(study.outcome.ended, study.loaded.trained)").split()
    assert ended == "interrupted"
    kernel.start("study = tn.launch(spec)", until=f"trial {int(trained) + 1:>3}")
    kernel.kill()

    another = Kernel(tmp_path)
    try:
        more = int(another.run(SETUP % 500 + "print(tn.load('small').loaded.trained)")) + 1
        line = f"study = tn.launch(spec, trials={more}); print(study.outcome.ended, study.loaded.trained)"
        assert another.run(line).splitlines()[-1] == f"enough {more}"
    except queue.Empty as silent:
        raise AssertionError("the kernel does not answer") from silent
    finally:
        another.kill()
