"""The search problem, which is the same for all candidates of a study."""

from dataclasses import dataclass, field

from search.box import Objective
from search.earlier import EarlierNetwork
from search.latency.devices.device import Device
from search.latency.protocol import Protocol
from search.training.recipes import Recipe
from space import Limits, Space
from threshnet.costs import Costs, count
from threshnet.shapes import smallest_input
from threshnet.spec import NetworkSpec


@dataclass(frozen=True)
class Task:
    """The search problem of a study: the search space, the limits, and the training and measurement settings."""

    space: Space
    # Height and width of the images in pixels.
    input_size: int
    limits: Limits
    recipe: Recipe
    # Whether training may flip images horizontally. Used if the recipe leaves this choice to the data set.
    flip: bool
    # Seed of the weights and the order of the images. It is the same for all candidates.
    seed: int
    # Epochs after which a network is scored and training may be stopped, in increasing order. The last one is the end
    # of the recipe.
    rungs: tuple[int, ...]
    # The torch device for training, e.g. "cpu", "cuda" or "cuda:1".
    trains_on: str
    # The shared lease that is held during training, see search.latency.lease.
    training_lease: str
    # The device and the runtimes for measuring latency. The latency with the first runtime is the objective.
    device: Device
    runtimes: tuple[str, ...]
    protocol: Protocol
    # The error that is minimized and the box whose dominated share the search maximizes.
    objective: Objective = field(default_factory=Objective)
    # Networks of earlier work that the sampler `freeze_thaw` learns from before its first training.
    earlier: tuple[EarlierNetwork, ...] = ()

    @property
    def metric(self) -> str:
        """The error that is minimized, see METRICS."""
        return self.objective.metric

    def counted(self, spec: NetworkSpec) -> tuple[Costs | None, dict[str, float]]:
        """Return the costs of a network and the constraints on costs that can be counted without measuring.

        The costs are None if the input is too small and pooling leaves no pixels.
        """
        room = {"input_size": smallest_input(spec) / self.input_size - 1}
        if room["input_size"] > 0:
            return None, room
        costs = count(spec, self.input_size)
        return costs, room | self.limits.of_costs(costs)

    def fits(self, spec: NetworkSpec) -> bool:
        """Return whether a network satisfies all constraints that can be checked without measuring."""
        return all(value <= 0 for value in self.counted(spec)[1].values())
