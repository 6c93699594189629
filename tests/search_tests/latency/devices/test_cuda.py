"""GPUs: names, refusals and what nvidia-smi says; without a GPU all but the runs themselves."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from search.latency.devices.cuda import PROVIDER, Cuda, cuda_device
from search.latency.devices.named import device_named
from search.latency.measure import measure_on
from search.latency.probes import cuda_probe
from search.latency.probes.torch_probe import inference
from search.latency.protocol import Precision, Protocol
from search.latency.reading import THROTTLED_NOW, State
from threshnet.errors import InputError
from threshnet.export.onnx_file import export_onnx
from threshnet.named import NAMED
from threshnet.network import build
from threshnet.spec import BlockSpec, NetworkSpec, StemSpec

TINY = NetworkSpec((BlockSpec(links=((0,), (0, 1)), growth=4, transition=8),), stem=StemSpec((4, 8), 2, False))
SETTINGS = {"batch": 2, "input_size": 16, "threads": 1, "precision": "fp32", "channels_last": False, "runtime": "torch"}
QUICK = Protocol(warmup_s=0.05, min_s=0.1, max_s=1.0)
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make torch see so many GPUs, no variable hiding any."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def see(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return see


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a shell script on PATH as nvidia-smi; gives the file to which it writes its arguments."""

    def fake(script: str) -> Path:
        program, asked = tmp_path / "nvidia-smi", tmp_path / "asked"
        program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return asked

    return fake


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:3", 3), ("cuda:12", 12)])
def test_a_name_gives_its_device_though_it_is_not_there(gpus: Callable[[int], None], name: str, index: int) -> None:
    gpus(0)
    device = device_named(name)
    assert isinstance(device, Cuda)
    called = name.removesuffix(":0")  # one device, one name
    assert (device.name, device.index, device.visible, device.lease) == (called, index, str(index), f"cuda{index}")
    assert device.runtimes[0] == "torch-graph"
    assert set(device.runtimes) == {"torch-graph", "torch", "onnxruntime"}


@pytest.mark.parametrize("name", ["cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:0:1", "cuda:1 ", "cuda:1000"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"device {name!r}: must be cuda or cuda:N")):
        device_named(name)


def test_a_gpu_is_the_same_one_whatever_hides_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5,GPU-abc")
    assert [cuda_device(f"cuda:{index}").visible for index in range(3)] == ["2", "5", "GPU-abc"]
    assert cuda_device("cuda:1").lease == "cuda5"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert cuda_device("cuda").visible == "0"


def test_its_probe_sees_no_other_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,5")
    seen: dict[str, object] = {}

    def child(module: str, name: str, threads: int, variables: dict[str, str]) -> pytest.MonkeyPatch:
        seen.update(module=module, name=name, threads=threads, **variables)
        raise ZeroDivisionError

    monkeypatch.setattr("search.latency.devices.cuda.child", child)
    with pytest.raises(ZeroDivisionError), cuda_device("cuda:1").probe("torch", Protocol(threads=3)):
        pass
    assert seen == {
        "module": "search.latency.probes.cuda_probe",
        "name": "torch on cuda:1",
        "threads": 3,
        "CUDA_VISIBLE_DEVICES": "5",
    }


def test_an_absent_gpu_is_refused_in_one_line(gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(0)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    with pytest.raises(InputError, match=r"^device 'cuda': torch \S+ sees no CUDA device$"):
        measure_on(cuda_device("cuda"), NAMED["threshnet28"], 32, "torch", QUICK)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(InputError, match=r"sees no CUDA device, being built without CUDA$"):
        measure_on(cuda_device("cuda"), NAMED["threshnet28"], 32, "torch", QUICK)
    gpus(2)
    with pytest.raises(InputError, match=r"^device 'cuda:2': torch sees no such CUDA device, only cuda:0, cuda:1$"):
        measure_on(cuda_device("cuda:2"), NAMED["threshnet28"], 32, "torch", QUICK)


@pytest.mark.parametrize("runtime", ["torch", "torch-graph"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_torch_takes_every_precision_and_layout(
    gpus: Callable[[int], None], runtime: str, precision: Precision
) -> None:
    gpus(1)
    cuda_device("cuda").check(runtime, Protocol(precision=precision, channels_last=True))


def test_onnx_runtime_takes_fp32_and_needs_its_gpu_package(
    gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(1)
    device = cuda_device("cuda")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDER, "CPUExecutionProvider"])
    device.check("onnxruntime", Protocol())
    with pytest.raises(InputError, match="precision 'fp16': the runtime 'onnxruntime' measures fp32 only"):
        device.check("onnxruntime", Protocol(precision="fp16"))
    with pytest.raises(InputError, match="channels_last: only with torch"):
        device.check("onnxruntime", Protocol(channels_last=True))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match=f"has no {PROVIDER}; install onnxruntime-gpu in its place") as raised:
        device.check("onnxruntime", Protocol())
    assert "\n" not in str(raised.value)


def test_models_are_documents_for_torch_and_files_for_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    device, talk = cuda_device("cuda"), SimpleNamespace()
    with device.models(talk, [TINY], 16, "torch-graph", QUICK) as models:  # type: ignore[arg-type]
        assert models == [TINY.to_json()]
    with device.models(talk, [TINY], 16, "onnxruntime", QUICK) as models:  # type: ignore[arg-type]
        assert [Path(str(model)).suffix for model in models] == [".onnx"]
        assert all(Path(str(model)).exists() for model in models)


@pytest.mark.parametrize(
    ("reasons", "bits"),
    [
        (0x0, 0),
        (0x1, 0),  # idle
        (0x2, 0),  # applications' clocks
        (0x10, 0),  # sync boost
        (0x100, 0),  # display clocks
        (0x4, 0x2),  # SW power cap
        (0x8, 0x4),  # HW slowdown
        (0x20, 0x8),  # SW thermal
        (0x40, 0x4),  # HW thermal
        (0x80, 0x1),  # HW power brake
        (0x48, 0x4),  # two reasons, one bit
        (0x1 | 0x4 | 0x20, 0xA),
    ],
)
def test_harmful_reasons_and_no_others_are_throttling(reasons: int, bits: int) -> None:
    assert cuda_probe.throttling(reasons) == bits
    assert bits & THROTTLED_NOW == bits


def test_the_state_is_that_of_nvidia_smi_for_this_gpu(nvidia_smi: Callable[[str], Path]) -> None:
    asked = nvidia_smi('echo "61, 1777, 0x0000000000000024"')
    state = cuda_probe.gpu_state("GPU-abc")
    assert {field.name for field in dataclasses.fields(State)} == {*state}
    load, _, others = state.pop("load"), state.pop("quota_throttled"), state.pop("gpu_others_percent")
    assert state == {"temperature_c": 61.0, "clock_mhz": 1777.0, "governor": None, "throttled": 0xA}
    assert load >= 0
    assert others is None
    assert asked.read_text() == (
        "--query-gpu=temperature.gpu,clocks.sm,clocks_event_reasons.active --format=csv,noheader,nounits -i GPU-abc\n"
        "pmon -s u -c 1 -i GPU-abc\n"
    )


# As printed by nvidia-smi pmon, in the columns of drivers 535 and 470.
NEW_LISTING = """# gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command
# Idx           #    C/G      %      %      %      %      %      %    name
    0       1234     C     61     30      -      -      -      -    python
    0       1300     C     23      9      -      -      -      -    python
    0       1301     C      -      -      -      -      -      -    jupyter
    0       1302   C+G      4      1      -      -      -      -    Xorg
"""
OLD_LISTING = """# gpu        pid  type    sm   mem   enc   dec   command
# Idx          #   C/G     %     %     %     %   name
    0       1234     C    98    30     -     -   python
    0       1301     C     0     0     -     -   jupyter
"""
EMPTY_LISTING = """# gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command
# Idx           #    C/G      %      %      %      %      %      %    name
    0          -     -      -      -      -      -      -      -    -
"""


@pytest.mark.parametrize(
    ("listing", "pid", "percent"),
    [
        (NEW_LISTING, 1234, 27.0),
        (OLD_LISTING, 1234, 0.0),
        (NEW_LISTING, 7, None),  # in a container: the numbers are those of the host
        (EMPTY_LISTING, 1234, None),
        ("", 1234, None),
        ("Not supported on this device\n", 1234, None),
    ],
)
def test_other_processes_on_the_gpu_are_counted_by_their_work(listing: str, pid: int, percent: float | None) -> None:
    assert cuda_probe.others_percent(listing, pid) == percent


def test_an_older_driver_is_asked_by_the_older_name(nvidia_smi: Callable[[str], Path]) -> None:
    asked = nvidia_smi(
        'case "$1" in *clocks_event_reasons*)\n'
        "echo 'Field \"clocks_event_reasons.active\" is not a valid field to query.'; echo; exit 2;;\n"
        "esac\necho '45, 1410, 0x0000000000000008'"
    )
    state = cuda_probe.gpu_state("GPU-abc")
    assert (state["temperature_c"], state["clock_mhz"], state["throttled"]) == (45.0, 1410.0, 0x4)
    assert len(asked.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo '[N/A], [N/A], [N/A]'", (None, None, None)),
        ("echo '52, [Not Supported], 0x0000000000000000'", (52.0, None, 0)),
        ("echo '52, 1410, [N/A]'", (52.0, 1410.0, None)),
        ("echo 'NVIDIA-SMI has failed because it could not communicate with the driver.'; exit 9", (None, None, None)),
        ("echo 'No devices were found'; exit 6", (None, None, None)),
    ],
)
def test_what_nvidia_smi_cannot_tell_is_none(
    nvidia_smi: Callable[[str], Path], script: str, expected: tuple[float | None, float | None, int | None]
) -> None:
    nvidia_smi(script)
    state = cuda_probe.gpu_state("GPU-abc")
    assert (state["temperature_c"], state["clock_mhz"], state["throttled"]) == expected


def test_no_nvidia_smi_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    state = cuda_probe.gpu_state("GPU-abc")
    assert (state["temperature_c"], state["clock_mhz"], state["throttled"]) == (None, None, None)


def test_the_state_is_taken_while_the_networks_run(nvidia_smi: Callable[[str], Path]) -> None:
    nvidia_smi('sleep 0.3; echo "61, 1777, 0x1"')
    runs = [0, 0]

    def timer(network: int) -> float:
        runs[network] += 1
        return 1.0

    state = cuda_probe.state_under_load("GPU-abc", [lambda: timer(0), lambda: timer(1)])
    assert state["clock_mhz"] == 1777.0
    assert runs[0] == runs[1] > 1


def test_a_bound_session_computes_what_the_network_does(tmp_path: Path) -> None:
    file = tmp_path / "tiny.onnx"
    export_onnx(build(TINY), 16, file, 2)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    spied = SimpleNamespace(
        get_inputs=session.get_inputs,
        get_outputs=session.get_outputs,
        io_binding=lambda: binding,
        run_with_iobinding=session.run_with_iobinding,
    )
    cuda_probe.bound(str(file), spied, SETTINGS, "cpu")()
    (logits,) = binding.copy_outputs_to_cpu()
    images = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
    (expected,) = session.run(None, {session.get_inputs()[0].name: images})
    assert np.array_equal(logits, expected)
    with pytest.raises(ValueError, match="must be"):
        cuda_probe.bound(str(file), session, SETTINGS | {"batch": 3}, "cpu")


@on_gpu
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("runtime", ["torch", "torch-graph"])
def test_a_gpu_is_measured(runtime: str, precision: Precision, channels_last: bool) -> None:
    protocol = dataclasses.replace(QUICK, precision=precision, channels_last=channels_last)
    latency = measure_on(cuda_device("cuda"), NAMED["threshnet28"], 32, runtime, protocol)
    assert latency.low_ms <= latency.latency_ms <= latency.high_ms
    assert (latency.device, latency.processor) == ("cuda", torch.cuda.get_device_name(0))
    assert latency.after.governor is None


@on_gpu
def test_a_graph_computes_the_same_as_the_network_and_is_faster() -> None:
    torch.manual_seed(0)
    network: nn.Module = build(TINY).eval().to("cuda")
    images = torch.rand(2, 3, 16, 16, device="cuda")
    run = inference(network, images)
    replay = cuda_probe.captured(run)
    images.copy_(torch.rand(2, 3, 16, 16))
    assert torch.allclose(replay(), run(), atol=1e-5)
    eager, graph = cuda_probe.event_timer(run), cuda_probe.event_timer(replay)
    assert min(graph() for _ in range(50)) < min(eager() for _ in range(50))


@on_gpu
def test_tf32_is_off_and_weights_take_the_precision() -> None:
    loaded = cuda_probe.load([TINY.to_json()], SETTINGS | {"precision": "fp16", "channels_last": True})
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (False, False)
    assert [timer() > 0 for timer in loaded.timers] == [True]
    assert loaded.processor == torch.cuda.get_device_name(0)


@on_gpu
@pytest.mark.skipif(PROVIDER not in onnxruntime.get_available_providers(), reason="needs onnxruntime-gpu")
def test_onnx_runtime_is_measured_on_a_gpu() -> None:
    latency = measure_on(cuda_device("cuda"), NAMED["threshnet28"], 32, "onnxruntime", QUICK)
    assert latency.low_ms <= latency.latency_ms <= latency.high_ms
