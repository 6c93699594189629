"""Networks, images and tasks so small that a search takes seconds, and stand-ins for measuring and training."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from search.data import SearchData, Split
from search.latency.devices.cpu import Cpu
from search.latency.devices.device import Device
from search.latency.protocol import Protocol
from search.latency.reading import Latency
from search.latency.samples import RoundsMs, Samples, Statistics
from search.task import Task
from search.training.metrics import ErrorCounts
from search.training.recipes import FAST, Recipe
from search.training.train import Epoch, Trained, Training
from space import Limits, Space, decode
from threshnet.baselines import Architecture
from threshnet.costs import count
from threshnet.counting import count_library_model
from threshnet.network import build_architecture
from threshnet.shapes import smallest_input
from threshnet.shared_lease import SharedLease
from threshnet.spec import BlockSpec, NetworkSpec, StemSpec
from threshnet.strict import plain

SIZE = 16  # pixels
STEM = StemSpec((4, 8), stride=2, pool=False)
NETWORK = NetworkSpec((BlockSpec(links=((0,), (0, 1)), growth=4, transition=8),), stem=STEM, classes=2)
DROPPING = replace(NETWORK, block_dropout=0.3, head_dropout=0.3)
QUICK = Protocol(warmup_s=0.0, min_s=0.0, max_s=0.0, retakes=0)  # six cycles
RECIPE: Recipe = replace(FAST, name="tiny", epochs=2, batch=8, shift=1)

SPACE = Space(  # 6 schedules x 6 growths x 6 transitions = 216 networks
    name="tiny",
    classes=2,
    granularity="block",
    stems=(STEM,),
    activations=("relu",),
    blocks=(1,),
    layers=(1, 2, 3),
    thresholds=(0, 2, 3),
    width_thresholds=(64,),
    units=("conv",),
    bottleneck_widths=(8,),
    multipliers=(1.0,),
    outputs=("all",),
    growths=(2, 4, 6, 8, 10, 12),
    transitions=(4, 6, 8, 10, 12, 14),
    pools=(False,),
    block_dropouts=(0.0,),
    head_dropouts=(0.0,),
)
FEW = replace(SPACE, name="few", growths=(2,), transitions=(4,))  # 6 networks
# The cheapest network of the space and the costliest one.
SMALLEST = decode(SPACE, {"block1_layers": 1, "block1_threshold": 2, "block1_growth": 0, "block1_transition": 0})
LARGEST = decode(SPACE, {"block1_layers": 3, "block1_threshold": 0, "block1_growth": 5, "block1_transition": 5})


def params_of(network: Architecture) -> int:
    """Trainable numbers of a network."""
    if isinstance(network, NetworkSpec):
        return count(network, max(SIZE, smallest_input(network))).params
    return count_library_model(network, SIZE).params


def dark_and_bright(n: int, seed: int = 0, size: int = SIZE) -> Split:
    """Noise images (n, 3, size, size) of two classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = torch.randint(0, 128, (n, 3, size, size), generator=generator) + 127 * labels[:, None, None, None]
    return Split(images.to(torch.uint8), labels)


def tiny_data() -> SearchData:
    """Forty images to train on and twenty to validate with."""
    return SearchData("tiny", ("dark", "bright"), dark_and_bright(40), dark_and_bright(20, seed=1), flip=True)


def tiny_task(
    limits: Limits | None = None,
    space: Space = SPACE,
    runtimes: tuple[str, ...] = ("onnxruntime",),
    rungs: tuple[int, ...] = (2,),
) -> Task:
    """A task on the tiny space; its trainings have as many epochs as the last rung."""
    return Task(
        space=space,
        input_size=SIZE,
        limits=limits or Limits(),
        recipe=replace(RECIPE, epochs=rungs[-1]),
        flip=True,
        seed=0,
        rungs=rungs,
        trains_on="cpu",
        training_lease="cpu",
        device=Cpu(),
        runtimes=runtimes,
        protocol=QUICK,
    )


def steady_latency(
    milliseconds: float,
    rounds_ms: RoundsMs | None = None,
    reference_rounds_ms: RoundsMs = ((1.0,) * 16,) * 6,
    reference_ms: float = 1.0,
    **changes: Any,  # noqa: ANN401 - any field's value
) -> Latency:
    """A reading of runs that all took the same time, on an abacus whose reference network takes a millisecond."""
    samples = Samples(((milliseconds,) * 16,) * 6 if rounds_ms is None else rounds_ms, reference_rounds_ms)
    latency = Latency(
        **samples.statistics(reference_ms),
        samples=samples,
        reference_ms=reference_ms,
        ended="precise",
        device="cpu",
        processor="abacus",
        runtime="onnxruntime",
        runtime_version="1",
        threads=1,
        batch=1,
        input_size=SIZE,
    )
    return replace(latency, **changes)


def stored_earlier(latency: Latency) -> dict[str, object]:
    """A reading as earlier versions stored it: the raw samples in place of the statistics."""
    assert latency.samples is not None
    derived = {*Statistics.__annotations__, "ratio", "artifact"}
    conditions = {key: value for key, value in latency.to_json().items() if key not in derived}
    return {**plain(latency.samples), **conditions}


class StubMeasurement:
    """A stand-in for measure_on: a microsecond per parameter, or other `milliseconds` of a network.

    It remembers whom it measured, and may fail first.
    """

    def __init__(
        self, log: list[str], milliseconds: Callable[[Any], float] = lambda spec: params_of(spec) / 1000
    ) -> None:
        self.log, self.milliseconds = log, milliseconds
        self.fail: Callable[[Any], None] = lambda spec: None

    def __call__(
        self,
        device: Device,
        spec: Architecture,
        input_size: int,
        runtime: str,
        protocol: Protocol,
        *,
        recalibrate: bool = False,
    ) -> Latency:
        self.log.append(f"measure {spec.fingerprint()} {runtime}")
        return self._reading(device, spec, input_size, runtime, protocol)

    def interleaved(
        self, device: Device, specs: Sequence[Architecture], input_size: int, runtime: str, protocol: Protocol
    ) -> tuple[Latency, ...]:
        """A stand-in for measure_all."""
        return tuple(self(device, spec, input_size, runtime, protocol) for spec in specs)

    def again(
        self, device: Device, specs: Sequence[Architecture], input_size: int, runtime: str, protocol: Protocol
    ) -> tuple[Latency, ...]:
        """A stand-in for measure_all in the final pass, which it does not log; the latencies are the same."""
        return tuple(self._reading(device, spec, input_size, runtime, protocol) for spec in specs)

    def _reading(
        self, device: Device, spec: Architecture, input_size: int, runtime: str, protocol: Protocol
    ) -> Latency:
        self.fail(spec)
        milliseconds = self.milliseconds(spec) * (1 if runtime == "onnxruntime" else 2)
        return steady_latency(
            milliseconds,
            device=device.name,
            runtime=runtime,
            input_size=input_size,
            batch=protocol.batch,
            threads=protocol.threads,
        )


class StubTraining:
    """A stand-in for train: an error that falls with the parameters and the epochs.

    It remembers whom it trained, and may fail first; a training is restored and kept as a true one.
    """

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.fail: Callable[[Any], None] = lambda spec: None

    def __call__(
        self,
        spec: Architecture,
        split: Split,
        validation: Split,
        recipe: Recipe,
        *,
        flip: bool,
        seed: int,
        device: str,
        metric: str,
        rungs: Collection[int],
        resume: Callable[[Training[nn.Module]], None],
        should_continue: Callable[[Training[nn.Module], float], bool],
        shared_lease: SharedLease,
        progress: Callable[[int, int], None],
    ) -> Trained:
        self.log.append(f"train {spec.fingerprint()}")
        self.fail(spec)
        progress(1, 1)
        training = Training(partial(build_architecture, spec, SIZE), split, recipe, flip=flip, seed=seed)
        resume(training)
        before, errors = len(training.epochs), {}
        for number in sorted({*rungs, recipe.epochs}):
            if number > before:
                training.image_passes = (number - before) * len(split)
                training.epochs = [Epoch(epoch, 0.5, 0.25) for epoch in range(1, number + 1)]
                errors[number] = 1e5 / params_of(spec) * recipe.epochs / number
                if training.finished or not should_continue(training, errors[number]):
                    break
        counts = ErrorCounts((0,), (len(split),))
        return Trained(training.result(), tuple(training.epochs), errors, counts, training.image_passes)


def failing(error: BaseException) -> Callable[[Any], None]:
    """Something that raises `error` whatever the network."""

    def fail(_spec: Architecture) -> None:
        raise error

    return fail
