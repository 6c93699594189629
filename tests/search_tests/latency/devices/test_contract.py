"""Every backend of this machine keeps the contract; those of other machines do so in files of their own."""

from collections.abc import Callable
from importlib.util import find_spec

import onnxruntime
import pytest
import torch
from search_tests.contract import CONTRACT

from search.latency.devices.cuda import PROVIDER
from search.latency.devices.device import Device
from search.latency.devices.named import device_named

pytestmark = pytest.mark.xdist_group("timed")  # one measurement at a time: the others would wait for its lease

openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
provider = pytest.mark.skipif(
    PROVIDER not in onnxruntime.get_available_providers(), reason="this onnxruntime has no CUDA provider"
)
BACKENDS = [
    pytest.param("cpu", "onnxruntime"),
    pytest.param("cpu", "torch"),
    pytest.param("cpu", "openvino", marks=openvino),
    pytest.param("cpu", "torch-compiled", marks=pytest.mark.services),  # compiling takes minutes
    pytest.param("cuda", "torch-graph", marks=gpu),
    pytest.param("cuda", "torch", marks=gpu),
    pytest.param("cuda", "onnxruntime", marks=[gpu, provider]),
]


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "runtime"), BACKENDS)
def test_every_backend_keeps_the_contract(name: str, runtime: str, check: Callable[[Device, str], None]) -> None:
    check(device_named(name), runtime)


def test_no_backend_is_forgotten() -> None:
    listed = {parameters.values for parameters in BACKENDS}
    assert listed == {(name, runtime) for name in ("cpu", "cuda") for runtime in device_named(name).runtimes}
