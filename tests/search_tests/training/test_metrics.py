"""The balanced error: closed forms, its effective number of images, and the weights of the classes in the loss."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from search_tests.tiny import NETWORK, SIZE
from torch.nn import functional

from search.data import Split
from search.training.evaluate import count_errors, error_percent
from search.training.metrics import METRICS, ErrorCounts, error_interval
from search.training.recipes import FAST
from search.training.train import Training, class_weights, train
from threshnet.network import build

COUNTS = st.lists(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=2, max_size=9
)


def counts_of(pairs: list[tuple[int, int]]) -> ErrorCounts:
    return ErrorCounts(*map(tuple, zip(*pairs, strict=True)))


@given(COUNTS)
def test_the_balanced_error_is_the_mean_over_classes(pairs: list[tuple[int, int]]) -> None:
    counts = counts_of(pairs)
    assert counts.percent() == pytest.approx(100 * sum(w for w, _ in pairs) / sum(n for _, n in pairs))
    assert counts.percent("balanced_error") == pytest.approx(sum(100 * w / n for w, n in pairs) / len(pairs))


@given(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), min_size=2, max_size=9)))
)
def test_with_classes_of_one_size_both_errors_are_equal(given: tuple[int, list[int]]) -> None:
    n, wrong = given
    counts = counts_of([(each, n) for each in wrong])
    assert counts.percent("balanced_error") == pytest.approx(counts.percent())


@given(COUNTS)
def test_the_interval_of_the_balanced_error_is_at_least_as_wide(pairs: list[tuple[int, int]]) -> None:
    counts = counts_of(pairs)
    total = sum(counts.images)
    assert counts.effective_images() == total
    assert 1 <= counts.effective_images("balanced_error") <= total
    percent = counts.percent("balanced_error")
    low, high = counts.interval("balanced_error")
    assert low <= percent + 1e-9
    assert high >= percent - 1e-9
    least, most = error_interval(percent, total)
    assert high - low >= most - least - 1e-9


def test_the_effective_number_of_images_has_the_variance_of_the_balanced_error() -> None:
    images, shares = (2000, 400), (0.1, 0.4)
    random = torch.Generator().manual_seed(0)
    wrong = [
        torch.rand(4000, n, generator=random).lt(share).sum(dim=1) for n, share in zip(images, shares, strict=True)
    ]
    deviation = float((wrong[0] / images[0] + wrong[1] / images[1]).mul(50).std())
    effective = ErrorCounts((200, 160), images).effective_images("balanced_error")
    assert 100 * (0.25 * 0.75 / effective) ** 0.5 == pytest.approx(deviation, rel=0.05)


def test_a_class_without_images_does_not_count() -> None:
    counts = ErrorCounts((1, 0, 2), (2, 0, 8))
    assert counts.percent("balanced_error") == 37.5
    assert counts.effective_images("balanced_error") == ErrorCounts((1, 2), (2, 8)).effective_images("balanced_error")


def test_the_errors_of_a_network_by_class() -> None:
    class Threshold(torch.nn.Module):
        """Answers 1 for bright images."""

        def __init__(self) -> None:
            super().__init__()
            self.middle = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            bright = images.mean(dim=(1, 2, 3)) - self.middle
            return torch.stack([-bright, bright], dim=1)

    images = torch.tensor([0, 200, 200, 0, 200], dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    split = Split(images, torch.tensor([0, 0, 1, 1, 0]))
    assert count_errors(Threshold(), split) == ErrorCounts((2, 1), (3, 2))
    assert error_percent(Threshold(), split) == 60.0


def test_all_classes_have_the_same_weight_in_the_loss() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = class_weights(labels)
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert weights[labels].mean() == pytest.approx(1)
    assert torch.equal(class_weights(torch.arange(4)), torch.ones(4))


def images_of(sizes: tuple[int, int]) -> Split:
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 60, (len(labels), 3, SIZE, SIZE), generator=random)
    return Split((noise + 8 * labels[:, None, None, None]).to(torch.uint8), labels)


def test_a_training_for_the_balanced_error_weights_its_loss_and_is_scored_by_it() -> None:
    split, recipe = images_of((30, 3)), replace(FAST, epochs=1, batch=33)
    losses = {}
    for metric in METRICS:
        training = Training(partial(build, NETWORK), split, recipe, flip=False, seed=0, metric=metric)
        losses[metric] = training.step_epoch().loss
        done = train(NETWORK, split, split, recipe, flip=False, seed=0, metric=metric)
        assert done.error == done.counts.percent(metric)
        assert done.counts.images == (30, 3)
    assert losses["error"] != losses["balanced_error"]


def test_the_weights_do_not_change_the_loss_of_equal_classes() -> None:
    logits, labels = torch.randn(6, 2), torch.tensor([0, 1] * 3)
    weighted = functional.cross_entropy(logits, labels, class_weights(labels), label_smoothing=0.1)
    assert weighted == pytest.approx(float(functional.cross_entropy(logits, labels, label_smoothing=0.1)))
