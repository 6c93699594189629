"""Specs as torch modules: the rows of the walk, run in order."""

import torch
from torch import Tensor, nn

from threshnet.baselines import Architecture, build_library_model
from threshnet.bounds import check_params
from threshnet.layers import module_for
from threshnet.shapes import IMAGE, Row, smallest_input, walk
from threshnet.spec import NetworkSpec


class ThreshNet(nn.Module):
    """The network of a spec; (n, 3, h, w) images scaled to [0, 1] in, (n, classes) logits out.

    Its modules have the names of the walk's rows and the order of the modules in the original repositories.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        # Modules do not depend on the input size, so walk with the smallest valid one.
        self.rows: tuple[Row, ...] = walk(spec, smallest_input(spec))
        self.last_use = _last_use(self.rows)
        for row in self.rows:
            self.add_module(row.name, module_for(row))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes); each intermediate result is freed after its last use."""
        outputs: dict[int, Tensor] = {IMAGE: images}
        for index, row in enumerate(self.rows):
            inputs = [outputs[source] for source in row.sources]
            for source in self.last_use[index]:
                del outputs[source]
            module = self.get_submodule(row.name)
            outputs[index] = module(inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1))
        return outputs[len(self.rows) - 1]


def build(spec: NetworkSpec) -> ThreshNet:
    """Build a network with random weights from torch's default generator.

    Raises InputError, before allocating memory, if it has more than MAX_PARAMS parameters.
    """
    check_params(spec)
    return ThreshNet(spec)


def build_architecture(network: Architecture, input_size: int) -> nn.Module:
    """Build a spec or a library model with random weights; raises InputError as `build` or `build_library_model`."""
    return build(network) if isinstance(network, NetworkSpec) else build_library_model(network, input_size)


def _last_use(rows: tuple[Row, ...]) -> tuple[tuple[int, ...], ...]:
    """For each row, those of its sources that no later row reads."""
    last: dict[int, int] = {source: index for index, row in enumerate(rows) for source in row.sources}
    return tuple(tuple(s for s in set(row.sources) if last[s] == index) for index, row in enumerate(rows))
