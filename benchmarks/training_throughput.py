"""Training throughput of ThreshNet79 in images per second: `python -m benchmarks.training_throughput --data FOLDER`.

The published loop loads each image through PIL in a torch DataLoader, trains in fp32 and reads the loss at each step.
The benchmark compares it with three variants of the loop in search.training.train: the same recipe, the same recipe in
bf16 and channels_last if the device supports it, and the FAST recipe of a search. Each loop runs in its own process. A
short sweep finds its fastest numbers of threads and loader workers. The processes take turns: one trains while the
others sleep.
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

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from benchmarks.cells import CLASSES, INPUT_SIZE, spec_of
from benchmarks.report import Document, conditions, interval, options, publish, recorded, table
from search.data import DataSettings, Split, load_search
from search.latency.probes.probe import median_interval, processor_name, usable_processors
from search.training.recipes import FAST, PUBLISHED, Recipe
from search.training.train import GPU_SYNC_STEPS, Training, computes_bf16
from threshnet.errors import InputError
from threshnet.named import ABOUT
from threshnet.network import build

NETWORK = "threshnet79"
THEIRS, OURS = "published", "fast"  # the two loops that --check compares
# Variants of our loop, from the published recipe to that of a search.
RECIPES = {"batched": PUBLISHED, "mixed": replace(PUBLISHED, mixed=True), OURS: FAST}
LOOPS = {
    THEIRS: "published: PIL, DataLoader, Adam, fp32, batch {batch}",
    "batched": "ours, same recipe: images in memory, batched augmentation, fused Adam",
    "mixed": "ours, same recipe in {mixed}",
    OURS: "ours, fast recipe: batch {fast}, translations, AdamW, weight averaging, {mixed}",
}
LOADER_WORKERS = (0, 1, 2, 4)
GOALS = {"cpu": 1.5, "cuda": 10.0}  # --check: minimum median ratio of OURS to THEIRS
VALIDATION = 100  # number of validation images; load_search requires some, but this benchmark ignores them
EXIT_TIMEOUT_S = 10.0  # a process that has not ended by then is killed
PACKAGES = ("torch", "torchvision", "pillow")


@dataclass(frozen=True)
class Plan:
    """The device and the amount of training to measure."""

    device: str  # "cpu", "cuda" or "cuda:N"
    warm_up: int  # uncounted steps at the start of each round
    steps: int  # counted steps per round
    rounds: int  # rounds of each loop; at least six are needed for a 95 % interval of the median

    @property
    def images(self) -> int:
        """Number of training images for one round of our loop, which uses each image once."""
        return (self.warm_up + self.steps) * max(recipe.batch for recipe in RECIPES.values())


@dataclass(frozen=True)
class Setting:
    """A loop with its numbers of threads and workers."""

    loop: str  # a key of LOOPS
    threads: int  # torch threads
    loaders: int = 0  # DataLoader workers; 0 loads images in the training process


@dataclass(frozen=True)
class Throughput:
    """The throughput of one loop with its fastest setting."""

    setting: Setting
    images_per_s: tuple[float, ...]  # one value per round

    @property
    def text(self) -> str:
        """Median with its 95 % interval in images per second."""
        return interval(float(np.median(self.images_per_s)), *median_interval(self.images_per_s))


class PublishedImages(Dataset[tuple[Tensor, int]]):
    """Images loaded as in torchvision's CIFAR10: arrays in memory, each converted to a PIL image on access.

    An item is ((3, h, w) float32 in [0, 1], label). Each image is flipped horizontally at random on access.
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


Round = Callable[[], float]  # trains one round of a plan and returns images per second over the counted steps


def published_round(split: Split, plan: Plan, loaders: int) -> Round:
    """Build the published training loop, reimplemented step by step."""
    model = build(spec_of(NETWORK)).to(plan.device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=PUBLISHED.learning_rate)
    criterion = nn.CrossEntropyLoss()
    images = PublishedImages(split)
    batch = PUBLISHED.batch

    def train_round() -> float:
        # The epoch never ends, so the workers prefetch as many batches after the last counted step as before the first.
        order = RandomSampler(images, replacement=True, num_samples=1_000_000 * batch)
        batches = iter(DataLoader(images, batch_size=batch, sampler=order, num_workers=loaders))
        total, start = 0.0, 0.0
        for step in range(plan.warm_up + plan.steps):
            if step == plan.warm_up:
                start = time.perf_counter()
            inputs, labels = (part.to(plan.device) for part in next(batches))
            optimiser.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimiser.step()
            total += loss.item()  # synchronises with a GPU
        return plan.steps * batch / (time.perf_counter() - start)

    return train_round


def our_round(split: Split, plan: Plan, recipe: Recipe) -> Round:
    """Build the training loop of search.training.train with a recipe. A round is an epoch with the plan's steps."""
    images = (plan.warm_up + plan.steps) * recipe.batch
    epoch = Split(split.images[:images], split.labels[:images])
    training = Training(partial(build, spec_of(NETWORK)), epoch, recipe, flip=True, seed=0, device=plan.device)

    def train_round() -> float:
        done_at: dict[int, float] = {}
        training.epochs.clear()  # repeat the same epoch
        training.step_epoch(lambda done, _: done_at.update({done: time.perf_counter()}))
        first = min(done for done in done_at if done >= plan.warm_up)  # a GPU only reports every GPU_SYNC_STEPS steps
        last = max(done_at)
        return (last - first) * recipe.batch / (done_at[last] - done_at[first])

    return train_round


def serve(setting: Setting, plan: Plan, split: Split, pipe: Connection) -> None:
    """Run as a child process: train one round for each message from the pipe, until the pipe closes."""
    torch.set_num_threads(setting.threads)
    if setting.loop == THEIRS:
        train_round = published_round(split, plan, setting.loaders)
    else:
        train_round = our_round(split, plan, RECIPES[setting.loop])
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        pipe.send(train_round())


@contextmanager
def running(setting: Setting, plan: Plan, split: Split) -> Iterator[Round]:
    """Start a child process that trains one round per call. A call raises EOFError or OSError if the process died."""
    spawn = multiprocessing.get_context("spawn")
    parent, child = spawn.Pipe()
    # Not a daemon, since daemons cannot have loader workers. The process ends when the pipe closes.
    process = spawn.Process(target=serve, args=(setting, plan, split, child))
    process.start()
    child.close()

    def train_round() -> float:
        parent.send(None)
        return float(parent.recv())

    try:
        yield train_round
    finally:
        parent.close()
        process.join(EXIT_TIMEOUT_S)
        process.kill()


def settings(loop: str, device: str, processors: int) -> list[Setting]:
    """Return the settings to try for a loop: numbers of threads and, for the published loop, numbers of loader workers.

    The numbers of threads are `processors` and, on a CPU, all smaller powers of two or, on a GPU, 1.
    """
    powers = range(processors.bit_length() if torch.device(device).type == "cpu" else 1)
    threads = sorted({*(2**power for power in powers), processors})
    loaders = [count for count in LOADER_WORKERS if count <= processors] if loop == THEIRS else [0]
    return [Setting(loop, *each) for each in itertools.product(threads, loaders)]


def fastest(loop: str, plan: Plan, split: Split, processors: int) -> Setting:
    """Measure each setting of a loop for one round and return the fastest."""
    rates: dict[Setting, float] = {}
    for setting in settings(loop, plan.device, processors):
        with running(setting, plan, split) as train_round:
            rates[setting] = train_round()
        sys.stderr.write(f"{setting}: {rates[setting]:.1f} images/s\n")
    return max(rates, key=lambda setting: rates[setting])


def measure(chosen: Sequence[Setting], plan: Plan, split: Split) -> list[Throughput]:
    """Measure all loops alternately. Every second round runs in reverse order."""
    rates: dict[Setting, list[float]] = {setting: [] for setting in chosen}
    with ExitStack() as stack:
        loops = {setting: stack.enter_context(running(setting, plan, split)) for setting in chosen}
        for number in range(plan.rounds):
            for setting in chosen if number % 2 == 0 else chosen[::-1]:
                rates[setting].append(loops[setting]())
            line = ", ".join(f"{setting.loop} {rates[setting][-1]:.1f}" for setting in chosen)
            sys.stderr.write(f"round {number + 1} of {plan.rounds}: {line} images/s\n")
    return [Throughput(setting, tuple(each)) for setting, each in rates.items()]


def ratio(rows: Sequence[Throughput], loop: str) -> tuple[float, float, float]:
    """Ratio of a loop's throughput to that of the published loop in the same round: median and its 95 % interval."""
    of = {row.setting.loop: row.images_per_s for row in rows}
    ratios = [mine / theirs for mine, theirs in zip(of[loop], of[THEIRS], strict=True)]
    return float(np.median(ratios)), *median_interval(ratios)


def reached(rows: Sequence[Throughput], device: str) -> bool:
    """True if the median ratio of our throughput to the published loop's throughput reaches the goal of --check."""
    return ratio(rows, OURS)[0] >= GOALS[torch.device(device).type]


def render(document: Document) -> str:
    """Render the page of a recorded run."""
    rows = [Throughput(Setting(**one["setting"]), tuple(one["images_per_s"])) for one in document["loops"]]
    # Earlier runs did not record `bf16`. They ran on machines with native bf16.
    return markdown(rows, Plan(**document["plan"]), document["conditions"], bf16=document.get("bf16", True))


def markdown(rows: Sequence[Throughput], plan: Plan, facts: str, *, bf16: bool) -> str:
    """Return the table of all loops and the conditions. `bf16` is true if mixed precision used bf16."""
    mixed = "bf16 and channels_last" if bf16 else "channels_last (no bf16: not native here)"
    cells = [
        [
            LOOPS[row.setting.loop].format(batch=PUBLISHED.batch, fast=FAST.batch, mixed=mixed),
            str(row.setting.threads),
            str(row.setting.loaders) if row.setting.loop == THEIRS else "-",
            row.text,
            "1" if row.setting.loop == THEIRS else interval(*ratio(rows, row.setting.loop)),
        ]
        for row in rows
    ]
    return "\n".join(
        [
            table([f"Training {ABOUT[NETWORK].title}", "threads", "loader workers", "images/s", "ratio"], cells),
            "",
            f"Medians with 95 % intervals over n = {plan.rounds} rounds. In each round, every loop trains {plan.steps} "
            f"counted steps after {plan.warm_up} warm-up steps. Threads and loader workers are the fastest setting of "
            f"each loop. {CLASSES} classes, {INPUT_SIZE}x{INPUT_SIZE} input. Conditions: {facts}.",
        ]
    )


def images_for(plan: Plan, folder: Path | None) -> tuple[Split, str]:
    """Load the training images for a plan from an ImageFolder tree or the CIFAR-10 download, with a description.

    Raises InputError if there are too few images, or if their number of classes differs from that of the network.
    """
    name = "folder" if folder else "cifar10"
    data = load_search(DataSettings(name, path=folder, train=plan.images, validation=VALIDATION), INPUT_SIZE)
    if len(data.classes) != CLASSES:
        raise InputError(f"{folder} has {len(data.classes)} classes; must have {CLASSES}")
    return data.train, f"{len(data.train):,} images of {folder.name if folder else 'CIFAR-10'}"


def plan_for(device: str, *, quick: bool) -> Plan:
    """Choose the amount of training to measure on a device."""
    if torch.device(device).type == "cuda":
        return Plan(device, GPU_SYNC_STEPS, steps=100 if quick else 200, rounds=6 if quick else 10)
    return Plan(device, warm_up=2, steps=8 if quick else 20, rounds=6 if quick else 10)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all loops, print and write the page, and return the exit status."""
    goal = f"our loop is {GOALS['cpu']:g} times as fast as the published loop on a CPU, {GOALS['cuda']:g} on a GPU"
    parser = options("training_throughput", "Training throughput in images per second, as Markdown.", goal)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="an ImageFolder tree [the CIFAR-10 download]")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N [cpu]")
    args = parser.parse_args(arguments)
    if args.render:
        publish(render, recorded(args.render), args.output)
        return 0
    plan, processors = plan_for(args.device, quick=args.quick), usable_processors()
    try:
        split, images = images_for(plan, args.data)
    except InputError as error:
        sys.stderr.write(f"training_throughput: {error}\n")
        return 2
    chosen = [fastest(loop, plan, split, processors) for loop in LOOPS]
    rows = measure(chosen, plan, split)
    gpu = [torch.cuda.get_device_name(args.device)] if torch.device(args.device).type == "cuda" else []
    document = {
        "conditions": conditions(images, *gpu, f"{processor_name()} ({processors} processors)", packages=PACKAGES),
        "plan": asdict(plan),
        "bf16": computes_bf16(torch.device(args.device)),
        "loops": [asdict(row) for row in rows],
    }
    publish(render, document, args.output)
    return int(args.check and not reached(rows, args.device))


if __name__ == "__main__":
    sys.exit(main())
