"""Training one network: a loop that can stop after any epoch and go on later, bit for bit."""

import copy
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from search.data import Split
from search.training.evaluate import BATCH, error_percent, scaled
from search.training.recipes import Recipe, learning_rate
from search.training.small_maps import SmallMaps
from threshnet.network import ThreshNet, build
from threshnet.shared_lease import SharedLease
from threshnet.spec import NetworkSpec

AVERAGE_SHARE = 0.04  # horizon of the averaged weights, as a share of all steps
SETTLING = 1000  # training images that settle the batch statistics of averaged weights
GPU_STRIDE = 20  # steps after which a GPU is waited for
TURN_S = 0.2  # seconds of steps in one turn: a measurement waits no longer, and taking turns costs little
DIVERGED = 3.0  # an epoch whose mean loss exceeds this many times a blind guess's has diverged

Model = TypeVar("Model", bound=nn.Module)


class TrainingFailed(RuntimeError):  # noqa: N818 - an outcome of the search, not a fault of the program
    """A training that cannot give a score; the message is the reason."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to."""

    # Counted from 1.
    number: int
    # Mean training loss.
    loss: float
    # Wall-clock seconds.
    seconds: float


class Training(Generic[Model]):
    """A training under way of the network that `make` gives: `step_epoch` until `finished`, then `result`.

    The order of the images, their augmentation and dropout depend on (seed, epoch) alone, so a training restored by
    `load_state_dict` continues exactly as one that was never interrupted, on the same device and thread count.
    """

    def __init__(
        self, make: Callable[[], Model], split: Split, recipe: Recipe, *, flip: bool, seed: int, device: str = "cpu"
    ) -> None:
        recipe = replace(recipe, batch=min(recipe.batch, len(split)))
        self.recipe, self.seed, self.device = recipe, seed, torch.device(device)
        self.flip = flip or recipe.flip == "always"
        self.images, self.labels = split.images.to(self.device), split.labels.to(self.device)
        self.mixed = recipe.mixed and computes_bf16(self.device)
        self.layout = torch.channels_last if recipe.mixed else torch.contiguous_format
        # On a CPU the images alone decide the layout of all that follows, and Adam copies weights that are not plain.
        plain = self.device.type == "cpu"
        self.convolving: Callable[[], AbstractContextManager[object]] = SmallMaps if plain else nullcontext
        with _seeded(seed, self.device):
            self.model = _placed(make(), self.device, torch.contiguous_format if plain else self.layout)
        self.steps = len(split) // recipe.batch
        self.average = copy.deepcopy(self.model) if recipe.averaged else None
        self.weights: list[Tensor] = list(self.model.parameters())
        self.averages: list[Tensor] = [] if self.average is None else list(self.average.parameters())
        self.optimiser = _optimiser(self.model, recipe)
        self.epochs: list[Epoch] = []
        # Numbers that the network gives for an image, known once it has seen one.
        self.logits = 0
        # Images that it was given since it was made or restored, repetitions counted.
        self.image_passes = 0
        self.stride = GPU_STRIDE if self.device.type == "cuda" else 1

    @property
    def finished(self) -> bool:
        """Whether every epoch of the recipe is done."""
        return len(self.epochs) >= self.recipe.epochs

    def step_epoch(
        self, progress: Callable[[int, int], None] = lambda done, total: None, turn: SharedLease = nullcontext
    ) -> Epoch:
        """Train one epoch; `progress` hears (steps done, steps); steps run inside a `turn`, TURN_S at a time.

        TrainingFailed where the loss leaves all bounds.
        """
        number, started = len(self.epochs) + 1, time.perf_counter()
        total = torch.zeros((), device=self.device)
        self.model.train()
        with _seeded(self.seed * 1_000_003 + number, self.device):
            order = torch.randperm(len(self.labels)).to(self.device)
            done = 0
            while done < self.steps:
                with turn():
                    until = time.perf_counter() + TURN_S
                    while True:
                        stop = min(done + self.stride, self.steps)
                        total += self._steps(order, done, stop)
                        done = stop
                        progress(done, self.steps)
                        if done == self.steps or time.perf_counter() >= until:
                            break
        mean = float(total) / self.steps
        blind = math.log(self.logits)
        if not math.isfinite(mean):
            raise TrainingFailed(f"the loss was not finite in epoch {number}")
        if mean > DIVERGED * blind:
            raise TrainingFailed(
                f"the training diverged: mean loss {mean:.3g} in epoch {number} (a blind guess has {blind:.3g})"
            )
        self.epochs.append(Epoch(number, mean, time.perf_counter() - started))
        return self.epochs[-1]

    def _steps(self, order: Tensor, first: int, stop: int) -> Tensor:
        """The optimiser steps from `first` to before `stop`, done when this returns; the sum of their losses."""
        batch = self.recipe.batch
        self.image_passes += (stop - first) * batch
        losses = [self._step(step, order[step * batch : (step + 1) * batch]) for step in range(first, stop)]
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return torch.stack(losses).sum()

    def _step(self, step: int, chosen: Tensor) -> Tensor:
        """One optimiser step on the chosen images; its loss."""
        recipe, number = self.recipe, len(self.epochs) + 1
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(recipe, number, step, self.steps)
        images = scaled(augment(self.images[chosen], flip=self.flip, shift=recipe.shift))
        images = images.contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed), self.convolving():
            logits = self.model(images)
        self.logits = logits.shape[1]
        loss = functional.cross_entropy(logits.float(), self.labels[chosen], label_smoothing=recipe.label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        if self.average is not None:
            self._average(first=number == 1 and step == 0)
        return loss.detach()

    @torch.no_grad()
    def _average(self, *, first: bool) -> None:
        """Move the averaged weights towards those of a step; the `first` are taken as they are."""
        share = 1 / max(2.0, AVERAGE_SHARE * self.steps * self.recipe.epochs)
        torch._foreach_lerp_(self.averages, self.weights, 1.0 if first else share)

    def current(self, turn: SharedLease = nullcontext) -> Model:
        """A copy of the network as it stands, on the training's device in eval mode.

        Where the recipe averages, these are the averaged weights with the batch statistics that they themselves give on
        training images, taken inside a `turn`: those of the steps lag behind, at a low rung by most of the training.
        """
        if self.average is None:
            return copy.deepcopy(self.model).eval()
        model = copy.deepcopy(self.average).eval()
        images = self.images[:SETTLING]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            _settle(model, images.tensor_split(max(1, len(images) // BATCH)), turn)
        return model

    def result(self, turn: SharedLease = nullcontext) -> Model:
        """As `current`, on the CPU."""
        return on_cpu(self.current(turn))

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on after the last finished epoch."""
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epochs": [(epoch.number, epoch.loss, epoch.seconds) for epoch in self.epochs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the training that gave `state` stopped."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epochs = [Epoch(*epoch) for epoch in state["epochs"]]


@dataclass(frozen=True)
class Trained:
    """A training that came to a rung where it was stopped, or to its end."""

    # On the CPU, in eval mode.
    model: ThreshNet
    epochs: tuple[Epoch, ...]
    # Validation error, percent, in fp32, by epochs trained: at every rung on the way and where it ended.
    errors: dict[int, float]
    # Training images seen, repetitions counted, those before a checkpoint left out.
    image_passes: int

    @property
    def error(self) -> float:
        """Validation error, percent, of the model."""
        return self.errors[len(self.epochs)]


def computes_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 natively, so that autocast is quicker and not slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def train(
    spec: NetworkSpec,
    split: Split,
    validation: Split,
    recipe: Recipe,
    *,
    flip: bool,
    seed: int,
    device: str = "cpu",
    rungs: Collection[int] = (),
    resume: Callable[[Training[ThreshNet]], None] = lambda training: None,
    should_continue: Callable[[Training[ThreshNet], float], bool] = lambda training, error: True,
    turn: SharedLease = nullcontext,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Train a network to the end of the recipe, or to a rung where it is stopped, and score it on validation images.

    `flip` allows horizontal flips; `rungs` are epochs after which the network is scored, and training continues if
    `should_continue` agrees, given the training and the error in percent; `resume` may restore a stopped training.
    Whatever loads the machine runs inside a `turn`, for a moment at a time; `progress` hears (steps done, steps in
    all). TrainingFailed gives the reason where there is no score, lack of memory included.
    """
    with memory_errors():
        training = Training(partial(build, spec), split, recipe, flip=flip, seed=seed, device=device)
        resume(training)
        errors, total = dict[int, float](), recipe.epochs * training.steps
        while True:
            done = len(training.epochs) * training.steps
            training.step_epoch(lambda step, steps: progress(done + step, total), turn)  # noqa: B023 - called at once
            epochs = len(training.epochs)
            if not training.finished and epochs not in rungs:
                continue
            model = training.current(turn)
            errors[epochs] = error_percent(model, validation, turn)
            if training.finished or not should_continue(training, errors[epochs]):
                break
        trained = Trained(
            model=on_cpu(model),
            epochs=tuple(training.epochs),
            errors=errors,
            image_passes=training.image_passes,
        )
        if training.device.type == "cuda":
            del training
            torch.cuda.empty_cache()  # a probe needs room beside this process
        return trained


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn every kind of out-of-memory into TrainingFailed."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise TrainingFailed(f"out of memory ({error})") from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" in str(error):  # torch's CPU allocator has no exception of its own
            raise TrainingFailed("out of memory (CPU)") from error
        raise


def _settle(model: nn.Module, batches: Sequence[Tensor], turn: SharedLease) -> None:
    """Give every batch norm the mean statistics of these images (n, 3, h, w) uint8, each batch inside a `turn`."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
        norm.train()
    for batch in batches:
        with turn(), torch.inference_mode():
            model(scaled(batch))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def on_cpu(model: Model) -> Model:
    """The same model, moved to the CPU in the usual memory layout."""
    return _placed(model, torch.device("cpu"), torch.contiguous_format)


def _optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser; weight decay leaves norms and biases alone."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    match recipe.optimiser:
        case "adam":
            return torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)
        case "adamw":
            return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def _placed(model: Model, device: torch.device, layout: torch.memory_format) -> Model:
    """The same model on a device, in a memory layout."""
    model.to(device, memory_format=layout)  # type: ignore[call-overload]
    return model


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block on a device under a seed of its own and leave torch's random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def augment(images: Tensor, *, flip: bool, shift: int) -> Tensor:
    """Randomly mirrored and translated copies of (n, 3, h, w) images of any dtype, a whole batch at once."""
    n, channels, height, width = images.shape
    device = images.device
    mirrored = torch.rand(n, 1, device=device) < 0.5 if flip else None
    if not shift:
        return images if mirrored is None else torch.where(mirrored[:, :, None, None], images.flip(-1), images)
    rows = _reflected(height, torch.randint(-shift, shift + 1, (n, 1), device=device))
    columns = _reflected(width, torch.randint(-shift, shift + 1, (n, 1), device=device))
    if mirrored is not None:
        columns = torch.where(mirrored, width - 1 - columns, columns)
    pixels = (rows[:, :, None] * width + columns[:, None, :]).reshape(n, 1, height * width)
    return images.flatten(2).gather(2, pixels.expand(n, channels, -1)).view(images.shape)


def _reflected(size: int, offsets: Tensor) -> Tensor:
    """Indices (n, size) of the pixels that a line shows after a translation by each of `offsets` (n, 1)."""
    index = torch.arange(size, device=offsets.device) + offsets
    return (size - 1 - (index.abs() - (size - 1)).abs()).clamp(0, size - 1)
