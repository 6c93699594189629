"""What a study asks of every candidate."""

from dataclasses import dataclass

from search.latency.protocol import Protocol
from search.training.recipes import Recipe
from space import Limits, Space
from threshnet.costs import Costs, count
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec


@dataclass(frozen=True)
class Task:
    """What a study asks of every candidate."""

    space: Space
    # Height and width of the images, pixels.
    input_size: int
    limits: Limits
    recipe: Recipe
    # Whether training may mirror images where the recipe leaves that to the data set.
    flip: bool
    # Seed of the weights and the order of the images, the same for every candidate.
    seed: int
    # Epochs after which a training is scored and may be stopped, rising; the last one is the recipe's end.
    rungs: tuple[int, ...]
    # What trains: "cpu", "cuda", "cuda:1".
    trains_on: str
    # Where latency is measured, and through which runtimes; the first one's reading is the objective.
    device: str
    runtimes: tuple[str, ...]
    protocol: Protocol

    def counted(self, spec: NetworkSpec) -> tuple[Costs | None, dict[str, float]]:
        """Costs of a network, None where its pools leave no pixel, and the constraints that counting can tell."""
        room = {"input_size": smallest_input(spec) / self.input_size - 1}
        if room["input_size"] > 0:
            return None, room
        costs = count(spec, self.input_size)
        return costs, room | self.limits.of_costs(costs)

    def fits(self, spec: NetworkSpec) -> bool:
        """Whether a network keeps every limit that counting can tell."""
        return all(value <= 0 for value in self.counted(spec)[1].values())
