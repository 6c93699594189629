"""The training loop; it can stop after any epoch and later resume with bit-identical results."""

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
from search.training.augment import augment
from search.training.evaluate import BATCH, channels_last, count_errors, scaled
from search.training.initial_weights import prepare
from search.training.metrics import ErrorCounts
from search.training.optimisers import optimiser_of
from search.training.recipes import Recipe, learning_rate
from search.training.small_maps import SmallMaps
from threshnet.baselines import Architecture
from threshnet.network import build_architecture
from threshnet.shared_lease import SharedLease

AVERAGE_HORIZON = 0.04  # horizon of the exponential moving average of the weights, as a share of all steps
BATCH_NORM_IMAGES = 500  # number of training images used to compute the batch statistics of averaged weights
GPU_SYNC_STEPS = 20  # number of steps between two synchronizations with the GPU
LEASE_S = 0.2  # seconds of training per shared lease; a measurement waits at most this long, and the overhead is small
DIVERGED_FACTOR = 3.0  # an epoch has diverged if its mean loss is more than this many times the chance-level loss

Model = TypeVar("Model", bound=nn.Module)


class TrainingFailed(RuntimeError):  # noqa: N818 - an expected outcome, not a bug
    """Raised if a training fails and the network has no score; the message is the reason."""


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch."""

    # Number of the epoch, counted from 1.
    number: int
    # Mean training loss.
    loss: float
    # Wall-clock seconds.
    seconds: float


class Training(Generic[Model]):
    """Trains the network that `make` returns: call `step_epoch` until `finished` is True, then call `result`.

    If the `metric` is "balanced_error", the loss weights each image with the inverse of the size of its class.
    The order of the images, their augmentation and dropout depend only on (seed, epoch). On the same device and with
    the same number of threads, a training restored by `load_state_dict` therefore gives exactly the same result as an
    uninterrupted training.
    """

    def __init__(
        self,
        make: Callable[[], Model],
        split: Split,
        recipe: Recipe,
        *,
        flip: bool,
        seed: int,
        device: str = "cpu",
        metric: str = "error",
    ) -> None:
        recipe = replace(recipe, batch=min(recipe.batch, len(split)))
        self.recipe, self.seed, self.device = recipe, seed, torch.device(device)
        self.flip = flip or recipe.flip == "always"
        self.images, self.labels = split.images.to(self.device), split.labels.to(self.device)
        self.class_weights = class_weights(self.labels) if metric == "balanced_error" else None
        self.mixed = recipe.mixed and computes_bf16(self.device)
        self.layout = torch.channels_last if recipe.mixed else torch.contiguous_format
        # On a CPU, the memory layout of the images determines the layout of all activations, and Adam copies weights
        # that have a different layout.
        cpu = self.device.type == "cpu"
        self.convolving: Callable[[], AbstractContextManager[object]] = SmallMaps if cpu else nullcontext
        with _seeded(seed, self.device):
            model = make()
            prepare(model, split.images, recipe)
            self.model = _placed(model, self.device, torch.contiguous_format if cpu else self.layout)
            # Whether each image is flipped in the first epoch, if flips alternate.
            self.first_flips = torch.rand(len(split)).to(self.device) < 0.5 if recipe.alternating_flips else None
        self.steps = len(split) // recipe.batch
        self.average = copy.deepcopy(self.model) if recipe.averaged else None
        self.weights: list[Tensor] = list(self.model.parameters())
        self.averages: list[Tensor] = [] if self.average is None else list(self.average.parameters())
        self.optimiser = optimiser_of(self.model, recipe)
        self.epochs: list[Epoch] = []
        # Number of logits. It is known after the first step.
        self.logits = 0
        # Number of training images processed since the training was created or restored. An image counts once per
        # epoch.
        self.image_passes = 0
        self.stride = GPU_SYNC_STEPS if self.device.type == "cuda" else 1

    @property
    def finished(self) -> bool:
        """True if all epochs of the recipe are done."""
        return len(self.epochs) >= self.recipe.epochs

    def step_epoch(
        self, progress: Callable[[int, int], None] = lambda done, total: None, shared_lease: SharedLease = nullcontext
    ) -> Epoch:
        """Train for one epoch. Raises TrainingFailed if the loss diverges.

        `progress` is called with (steps done, total steps). Steps run inside a `shared_lease`, which is renewed every
        LEASE_S seconds.
        """
        number, started = len(self.epochs) + 1, time.perf_counter()
        total = torch.zeros((), device=self.device)
        self.model.train()
        with _seeded(self.seed * 1_000_003 + number, self.device):
            order = torch.randperm(len(self.labels)).to(self.device)
            done = 0
            while done < self.steps:
                with shared_lease():
                    until = time.perf_counter() + LEASE_S
                    while True:
                        stop = min(done + self.stride, self.steps)
                        total += self._steps(order, done, stop)
                        done = stop
                        progress(done, self.steps)
                        if done == self.steps or time.perf_counter() >= until:
                            break
        mean = float(total) / self.steps
        chance = math.log(self.logits)
        if not math.isfinite(mean):
            raise TrainingFailed(f"the loss was not finite in epoch {number}")
        if mean > DIVERGED_FACTOR * chance:
            raise TrainingFailed(
                f"the training diverged: mean loss {mean:.3g} in epoch {number} (chance level is {chance:.3g})"
            )
        self.epochs.append(Epoch(number, mean, time.perf_counter() - started))
        return self.epochs[-1]

    def _steps(self, order: Tensor, first: int, stop: int) -> Tensor:
        """Run the optimizer steps `first` to `stop` - 1, wait until they are done, and return the sum of the losses."""
        batch = self.recipe.batch
        self.image_passes += (stop - first) * batch
        losses = [self._step(step, order[step * batch : (step + 1) * batch]) for step in range(first, stop)]
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return torch.stack(losses).sum()

    def _step(self, step: int, chosen: Tensor) -> Tensor:
        """Run one optimizer step on the chosen images and return the loss."""
        recipe, number = self.recipe, len(self.epochs) + 1
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(recipe, number, step, self.steps)
        images = augment(self.images[chosen], self._flipped(chosen), shift=recipe.shift, cutout=recipe.cutout)
        images = scaled(images)
        images = images.contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed), self.convolving():
            logits = self.model(images)
        self.logits = logits.shape[1]
        loss = functional.cross_entropy(
            logits.float(), self.labels[chosen], self.class_weights, label_smoothing=recipe.label_smoothing
        )
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        if self.average is not None:
            self._average(first=number == 1 and step == 0)
        return loss.detach()

    def _flipped(self, chosen: Tensor) -> Tensor | None:
        """Return which of the chosen images (n,) are flipped in this epoch, or None if no image ever is."""
        if not self.flip:
            return None
        if self.first_flips is None:
            return torch.rand(len(chosen), device=self.device) < 0.5
        return self.first_flips[chosen] ^ (len(self.epochs) % 2 == 1)

    @torch.no_grad()
    def _average(self, *, first: bool) -> None:
        """Update the averaged weights after a step; the `first` step initializes them."""
        share = 1 / max(2.0, AVERAGE_HORIZON * self.steps * self.recipe.epochs)
        torch._foreach_lerp_(self.averages, self.weights, 1.0 if first else share)

    def current(self, shared_lease: SharedLease = nullcontext) -> Model:
        """Return a copy of the current network in eval mode, on the training device.

        If the recipe averages weights, the copy has the averaged weights. Its batch statistics are recomputed on
        training images, inside a `shared_lease`. The running statistics would lag behind; at a low rung, they lag by
        most of the training.
        """
        if self.average is None:
            return copy.deepcopy(self.model).eval()
        model = copy.deepcopy(self.average).eval()
        images = self.images[:BATCH_NORM_IMAGES]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            _recompute_batch_norm(model, images.tensor_split(max(1, len(images) // BATCH)), shared_lease)
        return model

    def result(self, shared_lease: SharedLease = nullcontext) -> Model:
        """Return the same network as `current`, moved to the CPU."""
        return on_cpu(self.current(shared_lease))

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last finished epoch, for `load_state_dict`."""
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epochs": [(epoch.number, epoch.loss, epoch.seconds) for epoch in self.epochs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the `state_dict` of another training."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epochs = [Epoch(*epoch) for epoch in state["epochs"]]


@dataclass(frozen=True)
class Trained:
    """The result of a training that ran to its end or was stopped at a rung."""

    # The network, on the CPU and in eval mode.
    model: nn.Module
    epochs: tuple[Epoch, ...]
    # Validation errors in percent by the chosen metric, computed in fp32, for every rung passed and the end of
    # training. The keys are the numbers of epochs trained.
    errors: dict[int, float]
    # The misclassified validation images of the model by class.
    counts: ErrorCounts
    # Number of training images processed. An image counts once per epoch. Images processed before a resumed checkpoint
    # are not included.
    image_passes: int

    @property
    def error(self) -> float:
        """The validation error of the model in percent."""
        return self.errors[len(self.epochs)]


def computes_bf16(device: torch.device) -> bool:
    """Return whether the device supports bf16 matrix products natively, so that autocast is faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def train(
    network: Architecture,
    split: Split,
    validation: Split,
    recipe: Recipe,
    *,
    flip: bool,
    seed: int,
    device: str = "cpu",
    metric: str = "error",
    rungs: Collection[int] = (),
    resume: Callable[[Training[nn.Module]], None] = lambda training: None,
    should_continue: Callable[[Training[nn.Module], float], bool] = lambda training, error: True,
    shared_lease: SharedLease = nullcontext,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Train a network until the end of the recipe or until it is stopped at a rung, and score it on validation images.

    `flip` allows horizontal flips. `metric` is the error by which the network is scored (see METRICS), after each of
    the `rungs`, which are numbers of epochs, and at the end. At a rung, `should_continue` is called with the training
    and the error in percent, and training continues if it returns True. `resume` may restore a stopped training. All
    work runs inside a `shared_lease`, which is held only for short periods. `progress` is called with (steps done,
    total steps). Raises TrainingFailed with the reason if the loss diverges or the device runs out of memory.
    """
    with memory_errors():
        training = Training(
            partial(build_architecture, network, split.images.shape[-1]),
            split,
            recipe,
            flip=flip,
            seed=seed,
            device=device,
            metric=metric,
        )
        resume(training)
        errors, total = dict[int, float](), recipe.epochs * training.steps
        while True:
            done = len(training.epochs) * training.steps
            training.step_epoch(
                lambda step, steps: progress(done + step, total),  # noqa: B023 - called immediately
                shared_lease,
            )
            epochs = len(training.epochs)
            if not training.finished and epochs not in rungs:
                continue
            model = training.current(shared_lease)
            counts = count_errors(model, validation, shared_lease)
            errors[epochs] = counts.percent(metric)
            if training.finished or not should_continue(training, errors[epochs]):
                break
        trained = Trained(
            model=on_cpu(model),
            epochs=tuple(training.epochs),
            errors=errors,
            counts=counts,
            image_passes=training.image_passes,
        )
        if training.device.type == "cuda":
            del training
            torch.cuda.empty_cache()  # a probe in another process needs the memory
        return trained


@contextmanager
def memory_errors() -> Iterator[None]:
    """Convert all out-of-memory errors to TrainingFailed."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise TrainingFailed(f"out of memory ({error})") from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" in str(error):  # torch has no separate exception class for its CPU allocator
            raise TrainingFailed("out of memory (CPU)") from error
        raise


def _recompute_batch_norm(model: nn.Module, batches: Sequence[Tensor], shared_lease: SharedLease) -> None:
    """Set the statistics of all batch norms to the mean over batches of uint8 images (n, 3, h, w).

    Each batch runs inside a `shared_lease`.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # use the cumulative mean
        norm.train()
    for batch in batches:
        with shared_lease(), torch.inference_mode():
            model(channels_last(batch))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def on_cpu(model: Model) -> Model:
    """Move the model to the CPU, convert it to the contiguous memory format, and return it."""
    return _placed(model, torch.device("cpu"), torch.contiguous_format)


def class_weights(labels: Tensor) -> Tensor:
    """Return the weight (k,) of each class in the loss: inversely proportional to its number of images, 1 on average.

    The average is over the images with `labels` (n,), so the loss has the scale of an unweighted loss.
    """
    counts = torch.bincount(labels)
    return len(labels) / (len(counts) * counts)


def _placed(model: Model, device: torch.device, layout: torch.memory_format) -> Model:
    """Move the model to a device, convert it to a memory format, and return it."""
    model.to(device, memory_format=layout)  # type: ignore[call-overload]
    return model


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the random generators within the block, and restore torch's random state afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
