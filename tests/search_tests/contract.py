"""The contract of every device and runtime: checks that are called with a device."""

import json
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from search_tests.tiny import NETWORK, QUICK, SIZE

from search.latency.devices.cpu import FROM_FILES
from search.latency.devices.device import Device
from search.latency.measure import bench, measure_on
from search.latency.protocol import Protocol
from search.latency.reading import Latency
from search.latency.reference import REFERENCE
from threshnet.baselines import LibraryModel
from threshnet.errors import InputError
from threshnet.export.onnx_file import export_onnx
from threshnet.network import build
from threshnet.spec import BlockSpec, NetworkSpec, StemSpec

SHRINKING = NetworkSpec((BlockSpec(links=((0,),), growth=4, transition=8, pool=True),) * 3, stem=StemSpec((4, 8)))
TRIES = 3  # a machine that runs tests is noisy


@dataclass(frozen=True)
class Unasked:
    """A device that must not be used before a request is rejected."""

    device: Device

    def __getattr__(self, name: str) -> object:
        return getattr(self.device, name)

    def probe(self, runtime: str, protocol: Protocol) -> AbstractContextManager[None]:
        pytest.fail(f"a probe for {runtime} was started")


def gives_readings(device: Device, runtime: str) -> None:
    """Readings are complete and on one scale, of which the reference network is the unit; nothing else changes."""
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    small = measure_on(device, NETWORK, SIZE, runtime, QUICK)
    _complete(small, device, runtime, QUICK)
    for left in reversed(range(TRIES)):
        unit = measure_on(device, REFERENCE, SIZE, runtime, QUICK)
        _complete(unit, device, runtime, QUICK)
        assert unit.reference_ms == small.reference_ms
        if not left or abs(unit.ratio[0] - 1) <= 0.1:
            break
    assert unit.ratio[0] == pytest.approx(1.0, abs=0.1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def takes_the_reference_again(device: Device, runtime: str) -> None:
    """A batch is measured as a whole, under its own conditions, and its reference again with `recalibrate`."""
    protocol = replace(QUICK, batch=3)
    single = measure_on(device, NETWORK, SIZE, runtime, QUICK)
    first = measure_on(device, NETWORK, SIZE, runtime, protocol)
    again = measure_on(device, NETWORK, SIZE, runtime, protocol, recalibrate=True)
    for latency in (first, again):
        _complete(latency, device, runtime, protocol)
        assert latency.backend == f"{device.name} {runtime} batch 3"
    taken = {single.reference_ms, first.reference_ms, again.reference_ms}
    assert len(taken) == 3  # two measurements never agree to the last digit


def runs_elsewhere_and_warns_of_crowds(device: Device, runtime: str) -> None:
    """The networks run in another process, and more threads than it has processors are a warning."""
    with bench(device, (REFERENCE,), SIZE, runtime, QUICK) as ready:
        facts = ready.load()
        assert facts.pid != os.getpid()
        rounds = ready.rounds((0,), QUICK.plan)
        assert len(rounds.rounds_ms) == 1
    protocol = replace(QUICK, threads=facts.processors + 1)
    crowded = measure_on(device, NETWORK, SIZE, runtime, protocol)
    _complete(crowded, device, runtime, protocol)
    assert f"{facts.processors + 1} threads on {facts.processors} processors" in crowded.warnings


def refuses_before_it_runs(device: Device, runtime: str) -> None:
    """Invalid requests are errors before any process is started."""
    unasked = Unasked(device)

    def refused(expected: str, measure: Callable[[], Latency]) -> None:
        with pytest.raises(InputError, match=expected) as caught:
            measure()
        assert "\n" not in str(caught.value)

    refused("input size 8 is too small", lambda: measure_on(unasked, SHRINKING, 8, runtime, QUICK))  # type: ignore[arg-type]
    known = re.escape(f"runtime 'tflite': must be one of {', '.join(device.runtimes)}")
    refused(known, lambda: measure_on(unasked, NETWORK, SIZE, "tflite", QUICK))  # type: ignore[arg-type]
    refused("latency.precision = 'int8': must be one of", lambda: _in_precision(unasked, runtime, "int8"))
    if not (device.name.startswith("cuda") and runtime != "onnxruntime"):
        for precision in ("fp16", "bf16"):
            refused(f"precision '{precision}': .* fp32 only", lambda: _in_precision(unasked, runtime, precision))  # noqa: B023
    if "torch" not in runtime:
        layout = replace(QUICK, channels_last=True)
        refused("channels_last: only with torch", lambda: measure_on(unasked, NETWORK, SIZE, runtime, layout))  # type: ignore[arg-type]


def measures_a_library_model(device: Device, runtime: str) -> None:
    """A model of torchvision is measured with random weights, on every runtime."""
    model = LibraryModel("torchvision", "shufflenet_v2_x0_5", classes=2)
    _complete(measure_on(device, model, SIZE, runtime, QUICK), device, runtime, QUICK)


def measures_a_file(device: Device, runtime: str) -> None:
    """An ONNX file whose batch is free is measured as it is; a runtime that builds networks refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(build(NETWORK), SIZE, file, batch=None)
        if runtime in FROM_FILES:
            _complete(measure_on(device, file, SIZE, runtime, QUICK), device, runtime, QUICK)
            return
        with pytest.raises(InputError, match=r"cannot load .*; choose --runtime onnxruntime or openvino"):
            measure_on(device, file, SIZE, runtime, QUICK)


def _in_precision(device: object, runtime: str, precision: str) -> Latency:
    return measure_on(device, NETWORK, SIZE, runtime, replace(QUICK, precision=precision))  # type: ignore[arg-type]


def _complete(latency: Latency, device: Device, runtime: str, protocol: Protocol) -> None:
    """A reading says all there is to know and comes back from JSON."""
    assert (latency.device, latency.runtime, latency.input_size) == (device.name, runtime, SIZE)
    assert (latency.threads, latency.batch, latency.precision) == (protocol.threads, protocol.batch, "fp32")
    assert re.match(r"\d+\.\d+", latency.runtime_version)
    assert latency.processor.strip() == latency.processor != ""
    assert latency.before.load is not None
    assert latency.ended in ("precise", "time")
    assert latency.samples is not None
    assert len(latency.samples.rounds_ms) == len(latency.samples.reference_rounds_ms) == latency.rounds == 6
    assert {len(one) for one in latency.samples.rounds_ms} == {protocol.round_runs - protocol.discard}
    assert 0 < latency.low_ms <= latency.latency_ms <= latency.high_ms
    assert Latency.from_json(json.loads(json.dumps(latency.to_json()))) == latency


CONTRACT = (
    refuses_before_it_runs,
    gives_readings,
    takes_the_reference_again,
    runs_elsewhere_and_warns_of_crowds,
    measures_a_library_model,
    measures_a_file,
)
