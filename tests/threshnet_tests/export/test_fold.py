"""Folding batch norms: the right norms are folded, and only rounding errors change the logits."""

import torch
from hypothesis import given, settings
from threshnet_tests.strategies import small_networks
from torch import nn

from threshnet.export.fold import foldable, folded, folding_difference
from threshnet.named import NAMED
from threshnet.network import build
from threshnet.shapes import smallest_input
from threshnet.spec import BlockSpec, NetworkSpec


def test_all_norms_of_conv_units_and_the_second_of_bottlenecks_fold() -> None:
    links = ((0,), (0, 1), (0, 1, 2))
    for unit, kept in (("conv", set()), ("bottleneck", {f"block1_layer{layer}_norm1" for layer in (1, 2, 3)})):
        block = BlockSpec(links, growth=4, transition=8, unit=unit, bottleneck_width=4)
        model = build(NetworkSpec((block,)))
        rows = model.rows
        norms = {row.name for row in rows if row.op == "norm"}
        assert norms - {rows[index].name for index in foldable(rows)} == kept
        after = {name for name, module in folded(model).named_modules() if isinstance(module, nn.BatchNorm2d)}
        assert after == kept


def test_a_norm_folds_only_into_a_convolution_with_no_other_reader() -> None:
    for spec in NAMED.values():
        rows = build(spec).rows
        for norm, convolution in foldable(rows).items():
            assert rows[norm].sources == (convolution,)
            assert [index for index, row in enumerate(rows) if convolution in row.sources] == [norm]


@settings(max_examples=25, deadline=None)
@given(small_networks())
def test_folding_changes_logits_by_rounding_only(spec: NetworkSpec) -> None:
    torch.manual_seed(1)
    model, size = build(spec), max(8, smallest_input(spec))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values in (module.weight, module.bias, module.running_mean, module.running_var):
                    assert values is not None
                    values.uniform_(0.5, 2.0)
    model.eval()
    images = torch.rand(2, 3, size, size)
    before = model.state_dict()["stem_conv1.weight"].clone()
    exact = model.double()(images.double()).abs().max().detach()
    assert folding_difference(model.float(), images) <= 1e-9 * float(exact)
    assert torch.equal(model.state_dict()["stem_conv1.weight"], before)  # the model is not modified
