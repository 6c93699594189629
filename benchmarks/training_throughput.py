"""Images per second of training ThreshNet79: `python -m benchmarks.training_throughput --data FOLDER`.

The published loop prepares each image by itself, through PIL, in the workers of a torch DataLoader, trains in fp32 and
reads the loss at each step. It is set against the loop of search.training.train: the same recipe, the same in bf16 and
channels_last where the device computes it, and the FAST recipe of a search. Each loop has a process of its own with the
threads and loader workers that a short sweep found best for it, and they take turns: one trains while the others sleep.
"""

import itertools
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from benchmarks.cells import CLASSES, INPUT_SIZE, spec_of
from benchmarks.report import conditions, interval, options, publish, table
from search.data import DataSettings, Split, load_search
from search.latency.probes.probe import median_interval, processor_name, usable_processors
from search.training.recipes import FAST, PUBLISHED, Recipe
from search.training.train import GPU_SYNC_STEPS, Training, computes_bf16
from threshnet.errors import InputError
from threshnet.named import ABOUT
from threshnet.network import build

NETWORK = "threshnet79"
THEIRS, OURS = "published", "fast"  # the two loops that --check compares
# Our loop's steps from the published training to that of a search.
RECIPES = {"batched": PUBLISHED, "mixed": replace(PUBLISHED, mixed=True), OURS: FAST}
LOOPS = {
    THEIRS: "published: PIL, DataLoader, Adam, fp32, batch {batch}",
    "batched": "ours, the same recipe: images in memory, augmented a batch at a time, fused Adam",
    "mixed": "ours, the same in {mixed}",
    OURS: "ours, the fast recipe: batch {fast}, translations, AdamW, averaged weights, {mixed}",
}
LOADER_WORKERS = (0, 1, 2, 4)
GOALS = {"cpu": 1.5, "cuda": 10.0}  # --check: least median ratio of OURS to THEIRS
VALIDATION = 100  # images that load_search sets aside, unused here
PATIENCE_S = 10.0  # for a process to end by itself
PACKAGES = ("torch", "torchvision", "pillow")


@dataclass(frozen=True)
class Plan:
    """How long is measured, and on what."""

    device: str  # "cpu", "cuda" or "cuda:N"
    warm_up: int  # steps at the start of each turn that are not counted
    steps: int  # counted steps of a turn
    rounds: int  # turns of each loop; six are the fewest that have a 95 % interval of the median

    @property
    def images(self) -> int:
        """Training images that one turn of our loop needs: it sees each of them once."""
        return (self.warm_up + self.steps) * max(recipe.batch for recipe in RECIPES.values())


@dataclass(frozen=True)
class Setting:
    """A loop and how it may use the machine."""

    loop: str  # a key of LOOPS
    threads: int  # of torch
    loaders: int = 0  # worker processes that prepare images; 0: the training process does it itself


@dataclass(frozen=True)
class Measured:
    """One loop at its best setting."""

    setting: Setting
    images_per_s: tuple[float, ...]  # of each round

    @property
    def told(self) -> str:
        """The median rate with its 95 % interval, images per second."""
        return interval(float(np.median(self.images_per_s)), *median_interval(self.images_per_s))


class PublishedImages(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's CIFAR10 keeps and gives them: arrays in memory, each made a PIL image when asked for.

    An item is ((3, h, w) float32 in [0, 1], label): mirrored at random by torchvision, image by image.
    """

    def __init__(self, split: Split) -> None:
        self.arrays = split.images.permute(0, 2, 3, 1).contiguous().numpy()  # (n, h, w, 3) uint8
        self.labels: list[int] = split.labels.tolist()
        self.transform = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image: Tensor = self.transform(Image.fromarray(self.arrays[index]))
        return image, self.labels[index]


SharedLease = Callable[[], float]
"""Trains the warm-up and the counted steps of a plan; images per second of the counted ones."""


def published_turn(split: Split, plan: Plan, loaders: int) -> SharedLease:
    """The published training: what it does at each step, written anew."""
    model = build(spec_of(NETWORK)).to(plan.device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=PUBLISHED.learning_rate)
    criterion = nn.CrossEntropyLoss()
    images = PublishedImages(split)
    batch = PUBLISHED.batch

    def turn() -> float:
        # An epoch without an end: workers are as far ahead after the last counted step as before the first.
        order = RandomSampler(images, replacement=True, num_samples=1_000_000 * batch)
        batches = iter(DataLoader(images, batch_size=batch, sampler=order, num_workers=loaders))
        total, started = 0.0, 0.0
        for step in range(plan.warm_up + plan.steps):
            if step == plan.warm_up:
                started = time.perf_counter()
            inputs, labels = (part.to(plan.device) for part in next(batches))
            optimiser.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimiser.step()
            total += loss.item()  # waits for a GPU
        return plan.steps * batch / (time.perf_counter() - started)

    return turn


def our_turn(split: Split, plan: Plan, recipe: Recipe) -> SharedLease:
    """The training of search.training.train by a recipe; a call trains one epoch of the plan's steps."""
    some = (plan.warm_up + plan.steps) * recipe.batch
    epoch = Split(split.images[:some], split.labels[:some])
    training = Training(partial(build, spec_of(NETWORK)), epoch, recipe, flip=True, seed=0, device=plan.device)

    def turn() -> float:
        done_at: dict[int, float] = {}
        training.epochs.clear()  # the same epoch once more
        training.step_epoch(lambda done, _: done_at.update({done: time.perf_counter()}))
        warm = min(done for done in done_at if done >= plan.warm_up)  # a GPU tells of GPU_SYNC_STEPS steps at once
        last = max(done_at)
        return (last - warm) * recipe.batch / (done_at[last] - done_at[warm])

    return turn


def serve(setting: Setting, plan: Plan, split: Split, pipe: Connection) -> None:
    """In a process of its own: train one turn whenever asked through the pipe, until it closes."""
    torch.set_num_threads(setting.threads)
    if setting.loop == THEIRS:
        turn = published_turn(split, plan, setting.loaders)
    else:
        turn = our_turn(split, plan, RECIPES[setting.loop])
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        pipe.send(turn())


@contextmanager
def running(setting: Setting, plan: Plan, split: Split) -> Iterator[SharedLease]:
    """A process that trains at a setting, asleep until its turn is asked for; EOFError or OSError where it died."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    # Not a daemon: those may have no loader workers. It ends when the pipe does.
    process = spawn.Process(target=serve, args=(setting, plan, split, theirs))
    process.start()
    theirs.close()

    def turn() -> float:
        ours.send(None)
        return float(ours.recv())

    try:
        yield turn
    finally:
        ours.close()
        process.join(PATIENCE_S)
        process.kill()


def settings(loop: str, device: str, processors: int) -> list[Setting]:
    """What a loop's sweep tries: threads up to the processors, doubling on a CPU; loader workers for the published."""
    powers = range(processors.bit_length() if torch.device(device).type == "cpu" else 1)
    threads = sorted({*(2**power for power in powers), processors})
    loaders = [count for count in LOADER_WORKERS if count <= processors] if loop == THEIRS else [0]
    return [Setting(loop, *each) for each in itertools.product(threads, loaders)]


def best(loop: str, plan: Plan, split: Split, processors: int) -> Setting:
    """The quickest of a loop's settings, by one turn of each."""
    rates: dict[Setting, float] = {}
    for setting in settings(loop, plan.device, processors):
        with running(setting, plan, split) as turn:
            rates[setting] = turn()
        sys.stderr.write(f"{setting}: {rates[setting]:.1f} images/s\n")
    return max(rates, key=lambda setting: rates[setting])


def measure(chosen: Sequence[Setting], plan: Plan, split: Split) -> list[Measured]:
    """Rates of all loops in turns, in each round in the order of the last one reversed."""
    rates: dict[Setting, list[float]] = {setting: [] for setting in chosen}
    with ExitStack() as stack:
        turns = {setting: stack.enter_context(running(setting, plan, split)) for setting in chosen}
        for number in range(plan.rounds):
            for setting in chosen if number % 2 == 0 else chosen[::-1]:
                rates[setting].append(turns[setting]())
            line = ", ".join(f"{setting.loop} {rates[setting][-1]:.1f}" for setting in chosen)
            sys.stderr.write(f"round {number + 1} of {plan.rounds}: {line} images/s\n")
    return [Measured(setting, tuple(found)) for setting, found in rates.items()]


def ratio(rows: Sequence[Measured], loop: str) -> tuple[float, float, float]:
    """A loop's rate over the published one's, round by round: the median and the ends of its 95 % interval."""
    of = {row.setting.loop: row.images_per_s for row in rows}
    ratios = [mine / theirs for mine, theirs in zip(of[loop], of[THEIRS], strict=True)]
    return float(np.median(ratios)), *median_interval(ratios)


def reached(rows: Sequence[Measured], device: str) -> bool:
    """Whether the median ratio of our loop to the published one is what --check asks for."""
    return ratio(rows, OURS)[0] >= GOALS[torch.device(device).type]


def markdown(rows: Sequence[Measured], plan: Plan, facts: str) -> str:
    """The table of all loops and the conditions."""
    native = computes_bf16(torch.device(plan.device))
    mixed = "bf16 and channels_last" if native else "channels_last (no bf16: not native here)"
    cells = [
        [
            LOOPS[row.setting.loop].format(batch=PUBLISHED.batch, fast=FAST.batch, mixed=mixed),
            str(row.setting.threads),
            str(row.setting.loaders) if row.setting.loop == THEIRS else "-",
            row.told,
            "1" if row.setting.loop == THEIRS else interval(*ratio(rows, row.setting.loop)),
        ]
        for row in rows
    ]
    return "\n".join(
        [
            table([f"Training {ABOUT[NETWORK].title}", "threads", "loader workers", "images/s", "ratio"], cells),
            "",
            f"Medians with their 95 % intervals; n = {plan.rounds} rounds, in each of which every loop trains "
            f"{plan.steps} steps after {plan.warm_up} that do not count. Threads and loader workers are each loop's "
            f"best. {CLASSES} classes, input {INPUT_SIZE}x{INPUT_SIZE}. {facts}.",
        ]
    )


def images_for(plan: Plan, folder: Path | None) -> tuple[Split, str]:
    """Training images for a plan, from an ImageFolder tree or CIFAR-10's download, and what to call them.

    InputError where there are too few or their classes are not as many as the network's.
    """
    name = "folder" if folder else "cifar10"
    data = load_search(DataSettings(name, path=folder, train=plan.images, validation=VALIDATION), INPUT_SIZE)
    if len(data.classes) != CLASSES:
        raise InputError(f"{folder} has {len(data.classes)} classes; allowed are {CLASSES}")
    return data.train, f"{len(data.train):,} images of {folder.name if folder else 'CIFAR-10'}"


def plan_for(device: str, *, quick: bool) -> Plan:
    """How long to measure on a device."""
    if torch.device(device).type == "cuda":
        return Plan(device, GPU_SYNC_STEPS, steps=100 if quick else 200, rounds=6 if quick else 10)
    return Plan(device, warm_up=2, steps=8 if quick else 20, rounds=6 if quick else 10)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; the exit status."""
    goal = f"training is {GOALS['cpu']:g} times as fast as the published loop's on a CPU, {GOALS['cuda']:g} on a GPU"
    parser = options("training_throughput", "Images per second of training, as Markdown.", goal)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="an ImageFolder tree [the CIFAR-10 download]")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N [cpu]")
    given = parser.parse_args(arguments)
    plan, processors = plan_for(given.device, quick=given.quick), usable_processors()
    try:
        split, images = images_for(plan, given.data)
    except InputError as error:
        sys.stderr.write(f"training_throughput: {error}\n")
        return 2
    chosen = [best(loop, plan, split, processors) for loop in LOOPS]
    rows = measure(chosen, plan, split)
    gpu = [torch.cuda.get_device_name(given.device)] if torch.device(given.device).type == "cuda" else []
    facts = conditions(images, *gpu, f"{processor_name()} ({processors} processors)", packages=PACKAGES)
    document: dict[str, Any] = {"conditions": facts, "plan": asdict(plan), "loops": [asdict(row) for row in rows]}
    publish(markdown(rows, plan, facts), document, given.output)
    return int(given.check and not reached(rows, given.device))


if __name__ == "__main__":
    sys.exit(main())
