"""Training: the published recipe, exact resumption and every way to fail."""

import copy
import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch
from search_tests.tiny import DROPPING, NETWORK, RECIPE, dark_and_bright
from torch import Tensor, nn

from search.data import Split
from search.training import train as module
from search.training.evaluate import error_percent, logits
from search.training.recipes import PUBLISHED, RECIPES, Recipe, learning_rate, recipe_named
from search.training.train import Epoch, Training, TrainingFailed, train
from threshnet.errors import InputError
from threshnet.network import ThreshNet, build
from threshnet.spec import NetworkSpec

PLAIN = replace(RECIPE, averaged=False, flip="where_allowed", shift=0)


def start(
    spec: NetworkSpec = NETWORK, recipe: Recipe = RECIPE, *, seed: int = 0, flip: bool = True, images: int = 20
) -> Training[ThreshNet]:
    return Training(partial(build, spec), dark_and_bright(images), recipe, flip=flip, seed=seed)


def finish(training: Training[ThreshNet]) -> Training[ThreshNet]:
    while not training.finished:
        training.step_epoch()
    return training


def state(training: Training[ThreshNet]) -> dict[str, Tensor]:
    """Every tensor in the state of a training, by its path."""
    found: dict[str, Tensor] = {}

    def collect(where: str, value: object) -> None:
        if isinstance(value, Tensor):
            found[where] = value.clone()
        elif isinstance(value, dict):
            for key, inner in value.items():
                collect(f"{where}/{key}", inner)

    collect("", training.state_dict())
    return found


def assert_equal(a: Training[ThreshNet], b: Training[ThreshNet]) -> None:
    """Check that two trainings are equal bit for bit, except for wall-clock times."""
    first, second = state(a), state(b)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert [(e.number, e.loss) for e in a.epochs] == [(e.number, e.loss) for e in b.epochs]


def seen_images(training: Training[ThreshNet]) -> list[Tensor]:
    """The batches that the network reads from now on."""
    seen: list[Tensor] = []
    training.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    return seen


# Recipes


def test_the_published_recipe_has_the_published_values() -> None:
    assert (
        Recipe(
            name="published",
            epochs=200,
            batch=100,
            optimiser="adam",
            learning_rate=1e-3,
            schedule="published",
            weight_decay=0.0,
            label_smoothing=0.0,
            flip="always",
            shift=0,
            averaged=False,
            mixed=False,
        )
        == PUBLISHED
    )


@pytest.mark.parametrize(
    ("epoch", "rate"), [(1, 1e-3), (74, 1e-3), (75, 5e-4), (149, 5e-4), (150, 2.5e-4), (200, 2.5e-4)]
)
def test_the_published_training_uses_the_published_rates(epoch: int, rate: float) -> None:
    training = Training(partial(build, NETWORK), dark_and_bright(200), PUBLISHED, flip=False, seed=0)
    training.epochs = [Epoch(number, 0.0, 0.0) for number in range(1, epoch)]
    rates: set[float] = set()
    assert training.steps == 2
    training.step_epoch(lambda done, steps: rates.update(g["lr"] for g in training.optimiser.param_groups))
    assert rates == {rate}
    assert training.finished == (epoch == 200)


def test_the_published_training_only_flips_and_is_in_full_precision() -> None:
    split = dark_and_bright(100)
    training = Training(partial(build, NETWORK), split, PUBLISHED, flip=False, seed=0)
    assert type(training.optimiser) is torch.optim.Adam
    assert {group["weight_decay"] for group in training.optimiser.param_groups} == {0.0}
    assert {(group["betas"], group["eps"]) for group in training.optimiser.param_groups} == {((0.9, 0.999), 1e-8)}
    assert training.average is None
    assert {p.dtype for p in training.model.parameters()} == {torch.float32}
    autocast: list[bool] = []
    training.model.register_forward_pre_hook(lambda *_: autocast.append(torch.is_autocast_enabled("cpu")))
    seen = seen_images(training)
    training.step_epoch()
    assert autocast == [False]
    (images,) = seen
    originals = split.images.float() / 255
    plain, flipped = positions(images, originals), positions(images, originals.flip(-1))
    assert sorted(plain + flipped) == list(range(100))  # every image once, flipped or not
    assert plain + flipped != list(range(100))  # shuffled
    assert 30 <= len(flipped) <= 70  # a fair coin


def positions(images: Tensor, originals: Tensor) -> list[int]:
    """Indices into the originals of the images that are among them."""
    return [int(at) for image in images for at in (originals == image).flatten(1).all(1).nonzero()]


@pytest.mark.parametrize(
    ("allowed", "wish", "flips"), [(True, "where_allowed", 1), (False, "where_allowed", 0), (False, "always", 1)]
)
def test_a_recipe_or_the_data_set_decides_about_flips(allowed: bool, wish: Any, flips: int) -> None:  # noqa: ANN401
    assert start(recipe=replace(PLAIN, flip=wish), flip=allowed).flip == bool(flips)


def test_alternating_flips_show_every_image_both_ways_in_two_epochs() -> None:
    recipe = replace(PLAIN, epochs=3, alternating_flips=True)
    training, originals = start(recipe=recipe, images=40), dark_and_bright(40).images.float() / 255
    seen = seen_images(training)
    flipped = []
    for _ in range(3):
        seen.clear()
        training.step_epoch()
        batch = torch.cat(seen)
        assert sorted(positions(batch, originals) + positions(batch, originals.flip(-1))) == list(range(40))
        flipped.append(set(positions(batch, originals.flip(-1))))
    assert 10 <= len(flipped[0]) <= 30  # a fair coin
    assert flipped[1] == set(range(40)) - flipped[0]
    assert flipped[2] == flipped[0]


def test_alternating_flips_need_flips() -> None:
    recipe = replace(PLAIN, alternating_flips=True)
    assert_equal(finish(start(recipe=recipe, flip=False)), finish(start(recipe=PLAIN, flip=False)))


def test_checkpoints_match_recipes_that_use_no_later_setting() -> None:
    later = {"alternating_flips", "cutout", "whitened", "identity"}
    assert vars(PLAIN).keys() - PLAIN.stored.keys() == later
    assert replace(PLAIN, cutout=3).stored == PLAIN.stored | {"cutout": 3}


def test_one_cycle_rises_for_a_fifth_and_falls_to_zero() -> None:
    recipe = replace(RECIPE, epochs=10, learning_rate=0.5)
    rates = [learning_rate(recipe, epoch, step, 10) for epoch in range(1, 11) for step in range(10)]
    assert rates[:2] == pytest.approx([0.5 * 0.005 / 0.2, 0.5 * 0.015 / 0.2])
    assert rates[-1] == pytest.approx(0.5 * 0.005 / 0.8)
    assert np.diff(rates[:20]) == pytest.approx(np.full(19, 0.5 * 0.01 / 0.2))
    assert np.diff(rates[20:]) == pytest.approx(np.full(79, -0.5 * 0.01 / 0.8))
    assert 0.48 < max(rates) < 0.5
    assert learning_rate(recipe, 2, 9, 10) == max(rates[:20])


def test_norms_and_biases_have_no_weight_decay() -> None:
    decayed, free = start(recipe=replace(RECIPE, weight_decay=0.07)).optimiser.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.07, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in free["params"]} == {1}
    assert len(decayed["params"]) + len(free["params"]) == len(list(start().model.parameters()))


def test_recipes_by_name() -> None:
    assert [recipe_named(name).name for name in RECIPES] == ["published", "fast"]
    with pytest.raises(InputError, match="no recipe is named 'slow'; the recipes are published, fast"):
        recipe_named("slow")


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        *(({"epochs": value}, "a whole number, at least 1") for value in (0, True, "9", None, 2.5)),
        ({"batch": 1}, "a whole number, at least 2"),
        ({"optimiser": "sgd"}, "one of adam, adamw, nesterov, muon"),
        ({"learning_rate": 0}, "a number above 0"),
        ({"learning_rate": "1"}, "a number above 0"),
        ({"learning_rate": math.nan}, "a finite number above 0"),
        ({"schedule": None}, "one of published, one_cycle"),
        ({"weight_decay": -0.1}, "a number, at least 0"),
        ({"weight_decay": math.inf}, "a finite number, at least 0"),
        ({"label_smoothing": 2}, "a number from 0 to 1"),
        ({"flip": True}, "one of always, where_allowed"),
        ({"shift": -1}, "a whole number of pixels, at least 0"),
        ({"averaged": 1}, "true or false"),
        ({"mixed": "yes"}, "true or false"),
        ({"cutout": -1}, "a whole number of pixels, at least 0"),
        ({"whitened": 1}, "true or false"),
    ],
)
def test_a_wrong_value_of_a_recipe_is_named(change: dict[str, Any], allowed: str) -> None:
    ((name, value),) = change.items()
    with pytest.raises(InputError) as caught:
        replace(RECIPE, **change)
    assert str(caught.value) == f"training.{name} = {value!r}: must be {allowed}"


# Learning


def test_training_fits_separable_classes() -> None:
    recipe = replace(RECIPE, epochs=8, learning_rate=1e-2)
    steps: list[tuple[int, int]] = []
    split, validation = dark_and_bright(64), dark_and_bright(32, seed=9)
    done = train(NETWORK, split, validation, recipe, flip=True, seed=0, progress=lambda *step: steps.append(step))
    assert done.error == error_percent(done.model, validation) == 0.0
    assert steps == [(step, 64) for step in range(1, 65)]
    assert done.image_passes == 8 * 64
    assert [epoch.number for epoch in done.epochs] == list(range(1, 9))
    assert done.epochs[-1].loss < 0.7 * done.epochs[0].loss
    assert all(epoch.seconds > 0 for epoch in done.epochs)
    assert not done.model.training


def test_random_labels_are_not_predicted() -> None:
    split = dark_and_bright(64)
    noise = Split(split.images, torch.arange(64) // 2 % 2)
    assert train(NETWORK, noise, noise, replace(PLAIN, epochs=1), flip=False, seed=0).error > 25


def test_trainings_are_equal_for_equal_seeds_only() -> None:
    first, again, other = (finish(start(DROPPING, seed=seed)) for seed in (3, 3, 4))
    assert_equal(first, again)
    a, b = state(first), state(other)
    assert not torch.equal(a["/model/head_linear.weight"], b["/model/head_linear.weight"])
    assert first.epochs[0].loss != other.epochs[0].loss


def test_every_epoch_has_another_order() -> None:
    training = start(recipe=PLAIN, flip=False)
    seen = seen_images(training)
    finish(training)
    first, second = torch.cat(seen[:2]), torch.cat(seen[2:])
    assert len(first) == len(second) == 16  # 20 images, 2 steps of 8
    assert not torch.equal(first, second)


def test_the_global_random_state_is_neither_used_nor_changed() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = finish(start(DROPPING))
    first.result()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert_equal(first, finish(start(DROPPING)))


def test_a_split_smaller_than_the_batch_is_one_batch() -> None:
    training = start(recipe=replace(PLAIN, batch=128), images=6)
    seen = seen_images(training)
    assert training.step_epoch().number == 1
    assert [len(images) for images in seen] == [6]
    done = train(NETWORK, dark_and_bright(6), dark_and_bright(4), replace(PLAIN, batch=128), flip=False, seed=0)
    assert done.image_passes == 12


# Sharing the machine with measurements


class LoggedLease:
    """A shared lease that logs when it is entered and left."""

    def __init__(self) -> None:
        self.log: list[str] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        assert "in" not in self.log[-1:], "leases do not nest"
        self.log.append("in")
        try:
            yield
        finally:
            self.log.append("out")


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 3), (60.0, 1)], ids=["shortest", "long"])
def test_a_lease_is_held_for_some_steps(monkeypatch: pytest.MonkeyPatch, seconds: float, expected: int) -> None:
    monkeypatch.setattr("search.training.train.LEASE_S", seconds)
    lease, training = LoggedLease(), start(images=24)
    training.model.register_forward_pre_hook(lambda *_: lease.log.append("step"))
    training.step_epoch(lambda done, steps: lease.log.append(f"{done}/{steps}"), lease)
    steps = [["step", f"{step}/3"] for step in (1, 2, 3)]
    if expected == 1:
        assert lease.log == ["in", *steps[0], *steps[1], *steps[2], "out"]
    else:
        assert lease.log == ["in", *steps[0], "out", "in", *steps[1], "out", "in", *steps[2], "out"]


def test_every_validation_batch_takes_a_lease() -> None:
    lease, model = LoggedLease(), FirstPixel(2)
    images = torch.zeros(501, 3, 2, 2, dtype=torch.uint8)
    model.register_forward_pre_hook(lambda _, inputs: lease.log.append(str(len(inputs[0]))))
    error_percent(model, Split(images, torch.zeros(501, dtype=torch.long)), lease)
    assert lease.log == ["in", "100", "out"] * 5 + ["in", "1", "out"]


def test_training_and_validation_take_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.training.train.LEASE_S", 0.0)
    lease = LoggedLease()
    done = train(NETWORK, dark_and_bright(24), dark_and_bright(20), RECIPE, flip=True, seed=0, shared_lease=lease)
    assert lease.log == ["in", "out"] * (2 * 3 + 1 + 1)  # two epochs of three steps, the statistics, the validation
    assert done.error <= 100


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt(), ZeroDivisionError()])
def test_an_error_inside_a_lease_releases_it(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def wrong(*_args: object, **_kwargs: object) -> None:
        raise error

    lease = LoggedLease()
    monkeypatch.setattr(module, "augment", wrong)
    with pytest.raises((TrainingFailed, type(error))):
        train(NETWORK, dark_and_bright(8), dark_and_bright(8), PLAIN, flip=True, seed=0, shared_lease=lease)
    assert lease.log == ["in", "out"]


def test_leases_change_nothing_bit_for_bit() -> None:
    plain, leased = finish(start(DROPPING)), start(DROPPING)
    while not leased.finished:
        leased.step_epoch(shared_lease=LoggedLease())
    assert_equal(plain, leased)
    data = dark_and_bright(24), dark_and_bright(20)
    first = train(DROPPING, *data, RECIPE, flip=True, seed=0)
    second = train(DROPPING, *data, RECIPE, flip=True, seed=0, shared_lease=LoggedLease())
    assert first.error == second.error
    for mine, theirs in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


# Resuming


def through_a_file(saved: dict[str, Any]) -> dict[str, Any]:
    stream = io.BytesIO()
    torch.save(saved, stream)
    stream.seek(0)
    loaded: dict[str, Any] = torch.load(stream, weights_only=True)
    return loaded


@pytest.mark.parametrize("spec", [NETWORK, DROPPING], ids=["plain", "dropout"])
@pytest.mark.parametrize(
    "recipe", [replace(RECIPE, epochs=3), replace(PUBLISHED, epochs=3, batch=8)], ids=["fast", "published"]
)
@pytest.mark.parametrize("carry", [copy.deepcopy, through_a_file])
@pytest.mark.parametrize("stopped", [0, 1, 2, 3])
def test_a_resumed_training_equals_an_uninterrupted_one(
    spec: NetworkSpec, recipe: Recipe, carry: Callable[[dict[str, Any]], dict[str, Any]], stopped: int
) -> None:
    whole, first = finish(start(spec, recipe)), start(spec, recipe)
    for _ in range(stopped):
        first.step_epoch()
    saved = carry(first.state_dict())
    torch.rand(5)  # what happens in between does not matter
    second = start(spec, recipe)
    second.load_state_dict(saved)
    assert len(second.epochs) == stopped
    assert second.finished == (stopped == 3)
    assert_equal(finish(second), whole)
    for mine, theirs in zip(second.result().parameters(), whole.result().parameters(), strict=True):
        assert torch.equal(mine, theirs)


# Failures


def test_a_loss_that_is_not_finite_fails_the_training_and_the_epoch_does_not_count() -> None:
    training = start(recipe=replace(PLAIN, learning_rate=1e38, schedule="published", batch=4))
    with pytest.raises(TrainingFailed, match="the loss was not finite in epoch 1"):
        training.step_epoch()
    assert training.epochs == []


def test_a_training_that_diverges_fails() -> None:
    recipe = replace(PLAIN, learning_rate=50.0, schedule="published", batch=4)
    with pytest.raises(TrainingFailed, match=r"diverged: mean loss \d\S* in epoch 1 \(chance level is 0\.693\)"):
        finish(start(recipe=recipe))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
    ],
)
@pytest.mark.parametrize("where", ["build_architecture", "augment", "count_errors"])
def test_out_of_memory_fails_the_training(monkeypatch: pytest.MonkeyPatch, error: Exception, where: str) -> None:
    def too_much(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(module, where, too_much)
    with pytest.raises(TrainingFailed, match="out of memory") as caught:
        train(NETWORK, dark_and_bright(8), dark_and_bright(8), PLAIN, flip=True, seed=0)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes cannot be multiplied"), ZeroDivisionError(), KeyboardInterrupt()]
)
def test_other_errors_pass_through(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def wrong(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(module, "augment", wrong)
    with pytest.raises(type(error)) as caught:
        train(NETWORK, dark_and_bright(8), dark_and_bright(8), PLAIN, flip=True, seed=0)
    assert caught.value is error


# Results


def test_averaged_weights_are_the_moving_average_and_the_result() -> None:
    training = start(recipe=replace(RECIPE, epochs=2, batch=4), images=40)  # 20 steps: decay 1/2
    steps: list[dict[str, Tensor]] = []
    while not training.finished:
        training.step_epoch(lambda *_: steps.append({k: v.clone() for k, v in training.model.state_dict().items()}))
    result = training.result().state_dict()
    assert len(steps) == 20
    for name in ("head_linear.weight", "stem_conv1.weight", "stem_norm1.weight"):
        expected = steps[0][name]
        for step in steps[1:]:
            expected = 0.5 * expected + 0.5 * step[name]
        assert torch.allclose(result[name], expected, rtol=1e-6, atol=1e-7)
        assert not torch.equal(result[name], steps[-1][name])


def test_averaged_weights_have_recomputed_batch_statistics() -> None:
    training = finish(start(recipe=replace(RECIPE, mixed=False)))
    result = training.result()
    inputs: list[Tensor] = []
    result.get_submodule("stem_norm1").register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad():
        result(training.images.float() / 255)
    norm = result.get_submodule("stem_norm1")
    assert torch.allclose(cast(Tensor, norm.running_mean), inputs[0].mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-6)
    assert torch.allclose(cast(Tensor, norm.running_var), inputs[0].var(dim=(0, 2, 3)), rtol=1e-4, atol=1e-6)
    assert norm.momentum == 0.1
    assert not norm.training


def test_without_averaging_the_last_weights_are_the_result() -> None:
    training = finish(start(recipe=PLAIN))
    for mine, theirs in zip(training.result().parameters(), training.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("recipe", [RECIPE, PLAIN], ids=["averaged", "last"])
def test_a_result_is_a_copy_in_eval_mode(recipe: Recipe) -> None:
    training = start(recipe=recipe)
    training.step_epoch()
    before = state(training)
    result = training.result()
    assert not result.training
    assert {(p.device.type, p.is_contiguous()) for p in result.parameters()} == {("cpu", True)}
    with torch.no_grad():
        for parameter in result.parameters():
            parameter.zero_()
    after = state(training)
    assert all(torch.equal(before[key], after[key]) for key in before)
    kept = training.result()
    weights = [parameter.clone() for parameter in kept.parameters()]
    training.step_epoch()
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), weights, strict=True))


class FirstPixel(nn.Module):
    """A network that predicts the class in the first pixel of the image."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = nn.Parameter(torch.eye(classes))
        self.modes: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.modes.append(self.training)
        return self.classes[(images[:, 0, 0, 0] * 255).round().long()]


@pytest.mark.parametrize(("n", "wrong"), [(1, 0), (1, 1), (8, 3), (250, 1), (601, 77)])  # one forward pass, or three
def test_the_error_is_the_share_of_misclassified_images(n: int, wrong: int) -> None:
    answers = torch.arange(n) % 5
    labels = answers.clone()
    labels[torch.randperm(n)[:wrong]] += 1
    images = answers.to(torch.uint8)[:, None, None, None].expand(n, 3, 2, 2)
    model = FirstPixel(6).train()
    assert error_percent(model, Split(images, labels)) == pytest.approx(100 * wrong / n)
    assert set(model.modes) == {False}
    assert model.training
    assert logits(model, images).shape == (n, 6)


def test_an_allocation_larger_than_the_memory_fails_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "build_architecture", lambda *_: torch.empty(10**15))
    with pytest.raises(TrainingFailed, match="out of memory"):
        train(NETWORK, dark_and_bright(8), dark_and_bright(8), PLAIN, flip=True, seed=0)
