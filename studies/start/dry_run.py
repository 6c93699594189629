"""An estimate of the duration of a study, from readings and one short training on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from search.data import SearchData, Split
from search.latency.lease import shared
from search.latency.measure import measure_on
from search.samplers.pool import Pool
from search.task import Task
from search.training.evaluate import logits
from search.training.train import Training
from space import Size, size
from studies.spec import StudySpec
from threshnet import strict
from threshnet.costs import count
from threshnet.errors import InputError
from threshnet.network import ThreshNet, build
from threshnet.spec import NetworkSpec

RANKS = (0.5, 0.25, 0.1)  # ranks by MACs of the networks to measure until one satisfies the latency limit
STEPS = 12  # number of optimizer steps in the timed epoch; an epoch before it warms up
SCORED = 500  # number of validation images in the timed scoring


@dataclass(frozen=True)
class NetworkCost:
    """The cost of a network on this machine, from one random network that satisfies the limits on costs."""

    macs: int
    latency_ms: float
    # Seconds to measure the network with all runtimes of the study.
    reading_s: float
    # Seconds to train it for one epoch on all training images, and to score it on all validation images.
    epoch_s: float
    score_s: float
    # Epochs after which a training is scored. The last one is the end of training.
    rungs: tuple[int, ...]

    @property
    def first_rung_s(self) -> float:
        """Seconds to train the network up to the first rung and to score it."""
        return self.rungs[0] * self.epoch_s + self.score_s

    @property
    def training_s(self) -> float:
        """Seconds to train the network to the end and to score it at each rung."""
        return self.rungs[-1] * self.epoch_s + len(self.rungs) * self.score_s


@dataclass(frozen=True)
class Plan:
    """The duration of a study on this machine."""

    # Name and size of the space.
    space: str
    size: Size
    cost: NetworkCost
    # Size of the study, number of networks that are left, and budget in full trainings, None if there is none.
    trials: int
    left: int
    budget: float | None
    # Seconds to the end of the study if all networks are stopped at the first rung, and if all are trained to the end,
    # within the budget.
    least_s: float
    most_s: float

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON-serializable values."""
        times = {"first_rung_s": self.cost.first_rung_s, "training_s": self.cost.training_s}
        return strict.plain(self) | {"cost": strict.plain(self.cost) | times}


def plan(spec: StudySpec, task: Task, data: SearchData, counted: int, report: Callable[[str], None]) -> Plan:
    """Estimate the duration of a study of which `counted` networks are done; `report` is called with what happens next.

    Raises InputError, MeasurementError and TrainingFailed in the same cases as network_cost.
    """
    cost = network_cost(task, data, report)
    left = max(0, spec.trials - counted)
    trainings = left if spec.budget is None else min(left, spec.budget)
    scored = left if spec.budget is None else min(left, spec.budget * cost.rungs[-1] / cost.rungs[0])
    least_s = scored * (cost.reading_s + cost.first_rung_s)
    most_s = max(least_s, scored * cost.reading_s + trainings * cost.training_s)
    return Plan(spec.space.name, size(spec.space), cost, spec.trials, left, spec.budget, least_s, most_s)


def network_cost(task: Task, data: SearchData, report: Callable[[str], None]) -> NetworkCost:
    """Measure a random network and train it for a few steps; `report` is called with what happens next.

    Raises InputError if no random network satisfies the limits on costs, MeasurementError if a measurement fails, and
    TrainingFailed if the training does.
    """
    pool = Pool(task)
    pool.reseed((task.seed,))
    networks = sorted((each.spec for each in pool.renew((), (), {}).values()), key=partial(macs, task))
    if not networks:
        raise InputError("limits: no random network of the space satisfies the limits on params, macs and memory_bytes")
    report("measuring the idle baseline")
    latency_ms(task, networks[0])  # not timed: the first reading on a device also measures the idle baseline
    for rank in RANKS:
        network = networks[int(rank * (len(networks) - 1))]
        report("measuring a random network")
        began = time.perf_counter()
        latency = latency_ms(task, network)
        reading_s = time.perf_counter() - began
        if all(excess <= 0 for excess in task.limits.of_latency(latency).values()):
            break
    report("training it for a few steps")
    epoch_s, score_s = _training_s(task, data, network)
    return NetworkCost(macs(task, network), latency, reading_s, epoch_s, score_s, task.rungs)


def macs(task: Task, network: NetworkSpec) -> int:
    """Return the multiply-accumulates of a network for one image of the study."""
    return count(network, task.input_size).macs


def latency_ms(task: Task, network: NetworkSpec) -> float:
    """Measure a network with all runtimes of the study and return the latency objective."""
    readings = [measure_on(task.device, network, task.input_size, name, task.protocol) for name in task.runtimes]
    return readings[0].latency_ms


def _training_s(task: Task, data: SearchData, network: NetworkSpec) -> tuple[float, float]:
    """Return the seconds of an epoch and of a scoring of a network."""
    batch = min(task.recipe.batch, len(data.train))
    images = min(len(data.train) // batch, STEPS) * batch
    split = Split(data.train.images[:images], data.train.labels[:images])
    recipe = replace(task.recipe, epochs=max(2, task.recipe.epochs))
    lease = partial(shared, task.training_lease)
    training: Training[ThreshNet] = Training(
        partial(build, network), split, recipe, flip=task.flip, seed=task.seed, device=task.trains_on
    )
    training.step_epoch(shared_lease=lease)
    epoch_s = training.step_epoch(shared_lease=lease).seconds * (len(data.train) // batch) / training.steps
    scored = data.validation.images[:SCORED]
    began = time.perf_counter()
    logits(training.current(lease), scored, lease)
    return epoch_s, (time.perf_counter() - began) * len(data.validation) / len(scored)
