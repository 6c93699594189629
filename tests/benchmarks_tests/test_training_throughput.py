"""Training throughput: the input of the published loop, the training of each loop, and the table."""

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import torch
from search_tests.tiny import NETWORK, dark_and_bright
from torch import Tensor, nn

from benchmarks import training_throughput
from benchmarks.training_throughput import (
    LOOPS,
    OURS,
    RECIPES,
    THEIRS,
    Plan,
    PublishedImages,
    Round,
    Setting,
    Throughput,
    main,
    markdown,
    our_round,
    plan_for,
    published_round,
    ratio,
    reached,
    running,
    serve,
    settings,
)
from search.data import Split
from search.training.recipes import FAST, PUBLISHED, Recipe
from threshnet.network import build as build_network

PLAN = Plan("cpu", warm_up=1, steps=2, rounds=6)


def rows(**rates: float) -> list[Throughput]:
    """All loops with constant throughput: the given rates, 100 images/s for the others."""
    return [Throughput(Setting(loop, threads=2, loaders=1), (rates.get(loop, 100.0),) * 6) for loop in LOOPS]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Split:
    """Replace NETWORK with a tiny network; returns images for it."""
    monkeypatch.setattr(training_throughput, "spec_of", lambda name: NETWORK)
    return dark_and_bright(400)


# Loops


def test_the_published_loop_loads_images_one_by_one_through_pil() -> None:
    split = dark_and_bright(8, size=5)
    images = PublishedImages(split)
    assert len(images) == 8
    torch.manual_seed(0)
    flipped: list[bool] = []
    for index in list(range(8)) * 10:
        image, label = images[index]
        assert (tuple(image.shape), image.dtype, label) == ((3, 5, 5), torch.float32, int(split.labels[index]))
        assert 0 <= float(image.min()) <= float(image.max()) <= 1
        plain = split.images[index].float() / 255
        flipped.append(torch.equal(image, plain.flip(-1)))
        assert flipped[-1] or torch.equal(image, plain)
    assert 20 <= sum(flipped) <= 60  # about half of 80


@pytest.mark.parametrize("loaders", [0, 1])
def test_the_published_loop_trains_as_published(monkeypatch: pytest.MonkeyPatch, small: Split, loaders: int) -> None:
    seen: list[Tensor] = []
    built: list[nn.Module] = []

    def build(spec: object) -> nn.Module:
        built.append(build_network(NETWORK))
        built[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        return built[-1]

    monkeypatch.setattr(training_throughput, "build", build)
    train_round = published_round(small, PLAN, loaders)
    before = [weight.clone() for weight in built[0].parameters()]
    assert train_round() > 0
    assert [(images.shape, images.dtype) for images in seen] == [((100, 3, 16, 16), torch.float32)] * 3
    assert all(images.is_contiguous() for images in seen)
    assert built[0].training
    assert any(not torch.equal(old, new) for old, new in zip(before, built[0].parameters(), strict=True))
    assert multiprocessing.active_children() == []  # no loader workers remain in another loop's round


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_our_loop_trains_several_rounds(small: Split, recipe: Recipe) -> None:
    train_round = our_round(small, PLAN, recipe)
    assert train_round() > 0
    assert train_round() > 0


def test_warm_up_steps_are_not_counted(monkeypatch: pytest.MonkeyPatch, small: Split) -> None:
    now = iter([0.0, 100.0, 101.0, 103.0])  # at the start of the epoch, after each of three steps

    class Stub:
        def __init__(self, *_args: object, **_options: object) -> None:
            self.epochs: list[int] = []

        def step_epoch(self, progress: Callable[[int, int], None]) -> None:
            next(now)
            for done in (1, 2, 3):
                progress(done, 3)

    monkeypatch.setattr(training_throughput, "Training", Stub)
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    assert our_round(small, PLAN, PUBLISHED)() == pytest.approx(2 * 100 / 3)


def test_our_loops_range_from_the_published_recipe_to_the_fast_one() -> None:
    assert list(LOOPS) == [THEIRS, *RECIPES]
    assert (RECIPES["batched"], RECIPES[OURS]) == (PUBLISHED, FAST)
    changed = {key for key, value in vars(PUBLISHED).items() if vars(RECIPES["mixed"])[key] != value}
    assert changed == {"mixed"}
    assert plan_for("cpu", quick=True).rounds == 6
    assert plan_for("cuda:1", quick=False).steps > plan_for("cpu", quick=False).steps
    assert PLAN.images == 3 * FAST.batch


# Settings and processes


def test_the_sweep_of_a_loop() -> None:
    assert settings(OURS, "cpu", 1) == [Setting(OURS, 1)]
    assert settings(OURS, "cpu", 6) == [Setting(OURS, threads) for threads in (1, 2, 4, 6)]
    assert settings(OURS, "cuda", 16) == [Setting(OURS, threads) for threads in (1, 16)]
    assert settings(THEIRS, "cpu", 2) == [Setting(THEIRS, threads, n) for threads in (1, 2) for n in (0, 1, 2)]
    assert {each.loaders for each in settings(THEIRS, "cuda", 16)} == {0, 1, 2, 4}


def test_a_child_process_trains_on_request_until_its_pipe_closes(monkeypatch: pytest.MonkeyPatch, small: Split) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(training_throughput, "our_round", lambda split, plan, recipe: lambda: 7.0)
    parent, child = multiprocessing.Pipe()
    with parent, child:
        server = Thread(target=serve, args=(Setting(OURS, threads=3), PLAN, small, child))
        server.start()
        for _ in range(2):
            parent.send(None)
            assert parent.recv() == 7.0
        parent.close()
        server.join(10)
        assert not server.is_alive()
    assert threads == [3]


def test_the_fastest_setting_is_chosen_and_loops_alternate(monkeypatch: pytest.MonkeyPatch, small: Split) -> None:
    log: list[str] = []

    @contextmanager
    def fake_process(setting: Setting, plan: Plan, split: Split) -> Iterator[Round]:
        def train_round() -> float:
            log.append(setting.loop)
            return 10.0 * setting.threads - setting.loaders

        yield train_round

    monkeypatch.setattr(training_throughput, "running", fake_process)
    assert training_throughput.fastest(THEIRS, PLAN, small, 4) == Setting(THEIRS, 4, 0)
    log.clear()
    chosen = [Setting(THEIRS, 1, 1), Setting(OURS, 2)]
    measured = training_throughput.measure(chosen, PLAN, small)
    assert log == [THEIRS, OURS, OURS, THEIRS] * 3
    assert [row.images_per_s for row in measured] == [(9.0,) * 6, (20.0,) * 6]


# The table


def test_ratios_are_computed_per_round() -> None:
    pair = [
        Throughput(Setting(THEIRS, 1), (100.0, 50.0, 100.0, 100.0, 100.0, 100.0)),
        Throughput(Setting(OURS, 1), (200.0, 100.0, 150.0, 250.0, 200.0, 200.0)),
    ]
    assert ratio(pair, OURS) == (2.0, 1.5, 2.5)


@pytest.mark.parametrize(("device", "rate"), [("cpu", 150.0), ("cuda", 1000.0), ("cuda:1", 1000.0)])
def test_the_goal_of_check(device: str, rate: float) -> None:
    assert reached(rows(**{OURS: rate}), device)
    assert not reached(rows(**{OURS: 0.99 * rate}), device)


@pytest.mark.parametrize(("bf16", "text"), [(True, "bf16 and channels_last"), (False, "no bf16: not native here")])
def test_the_table(bf16: bool, text: str) -> None:
    page = markdown(rows(fast=200.0), PLAN, "an abacus", bf16=bf16).splitlines()
    assert page[0] == "| Training ThreshNet79 | threads | loader workers | images/s | ratio |"
    assert page[2].endswith("Adam, fp32, batch 100 | 2 | 1 | 100 (100 to 100) | 1 |")
    assert page[5].endswith("| 2 | - | 200 (200 to 200) | 2.00 (2.00 to 2.00) |")
    assert text in page[5]
    assert "{" not in "".join(page)
    assert "n = 6 rounds" in page[-1]
    assert page[-1].endswith("an abacus.")


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "t.md"
    monkeypatch.setattr(training_throughput, "images_for", lambda plan, folder: (dark_and_bright(4), "4 images"))
    monkeypatch.setattr(training_throughput, "fastest", lambda loop, *_: Setting(loop, 1))
    monkeypatch.setattr(training_throughput, "measure", lambda *_: rows(fast=149.0))
    assert main(["--quick", "--output", str(output)]) == 0
    assert main(["--quick", "--check"]) == 1
    assert output.read_text() in capsys.readouterr().out
    document = json.loads(output.with_suffix(".json").read_text())
    assert document["conditions"].startswith("4 images, ")
    assert document["loops"][0]["setting"] == {"loop": THEIRS, "threads": 2, "loaders": 1}


def test_missing_images_give_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--data", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("training_throughput: ")


def test_a_process_that_cannot_train_ends_the_benchmark() -> None:
    setting = Setting("no such loop", 1)
    with pytest.raises((EOFError, OSError)), running(setting, PLAN, dark_and_bright(2)) as train_round:
        train_round()
