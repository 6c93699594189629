"""The search problem that every candidate of a study is scored on."""

from dataclasses import dataclass

from search.latency.devices.device import Device
from search.latency.protocol import Protocol
from search.training.recipes import Recipe
from space import Limits, Space
from threshnet.costs import Costs, count
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec


@dataclass(frozen=True)
class Task:
    """The search problem of a study: the space, the limits, and how candidates are trained and measured."""

    space: Space
    # Height and width of the images, pixels.
    input_size: int
    limits: Limits
    recipe: Recipe
    # Whether training may flip images horizontally if the recipe leaves that to the data set.
    flip: bool
    # Seed of the weights and the order of the images, the same for every candidate.
    seed: int
    # Epochs after which a training is scored and may be stopped, increasing; the last one is the recipe's end.
    rungs: tuple[int, ...]
    # The torch device that trains: "cpu", "cuda", "cuda:1".
    trains_on: str
    # The lease that a training shares while it runs, see search.latency.lease.
    training_lease: str
    # The device and the runtimes that latency is measured with; the first runtime's reading is the objective.
    device: Device
    runtimes: tuple[str, ...]
    protocol: Protocol

    def counted(self, spec: NetworkSpec) -> tuple[Costs | None, dict[str, float]]:
        """Costs of a network, and the constraints that follow from counting.

        Costs are None if the input is too small, so that pooling leaves no pixels.
        """
        room = {"input_size": smallest_input(spec) / self.input_size - 1}
        if room["input_size"] > 0:
            return None, room
        costs = count(spec, self.input_size)
        return costs, room | self.limits.of_costs(costs)

    def fits(self, spec: NetworkSpec) -> bool:
        """True if a network satisfies every constraint that follows from counting."""
        return all(value <= 0 for value in self.counted(spec)[1].values())
