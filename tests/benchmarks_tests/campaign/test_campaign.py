"""The campaign: the split, resuming, choice rules, tables and the command line, on random images."""

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from scipy.stats import kendalltau, tukey_hsd

from benchmarks.campaign import __main__ as program
from benchmarks.campaign import costs, factorial, networks, page, recipes, rungs, units, widths
from benchmarks.campaign import run as runs
from benchmarks.campaign.arms import ARMS, OPTIMISERS, changed, combination, described
from benchmarks.campaign.factorial import FACTORIAL
from benchmarks.campaign.protocol import BASE, EPOCHS, FULL, Images, Parts
from benchmarks.campaign.recipes import RECIPES
from benchmarks.campaign.run import Places, run
from benchmarks.campaign.rungs import RUNGS
from benchmarks.campaign.stage import Stage
from benchmarks.campaign.units import Outcome, Outcomes, Unit, read_outcomes, record, train
from search.latency.compare import Comparison, Pair
from search.latency.lease import exclusive
from search.training.checkpoints import save_training
from search.training.recipes import Recipe
from threshnet.errors import InputError
from threshnet.schedules import CHAIN, DENSE, THRESHOLD_NAMES
from threshnet.spec import NetworkSpec, StemSpec

TINY = networks.network(CHAIN, StemSpec((2, 2), stride=2, pool=True), [(1, 2, 4, False)])
PARTS = Parts(train=40, a=20, b=20)
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight random images of each of ten classes, without a test part."""
    root, random = tmp_path_factory.mktemp("images"), np.random.RandomState(0)
    for label in range(10):
        (root / "train" / str(label)).mkdir(parents=True)
        for number in range(8):
            pixels = random.randint(0, 256, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / "train" / str(label) / f"{number}.png")
    return root


@pytest.fixture
def images(folder: Path) -> Images:
    return Images(folder, PARTS)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "results", tmp_path / "work")


@pytest.fixture(autouse=True)
def recorded_files(tmp_path: Path, monkeypatch: Patch) -> None:
    """Costs and widths as their programs record them. Muon takes twice the time of the base recipe."""
    ratios = {name: {arm: 2.0 if arm == "muon" else 1.0 for arm in ARMS} for name in networks.RECIPE_NETWORKS}
    sizes = {
        title: {
            name: {"latency_ms": 0.5, "spec": networks.factorial_network(threshold, size, size.dense).to_json()}
            for threshold, name in enumerate(THRESHOLD_NAMES)
        }
        for title, size in networks.FACTORIAL_SIZES.items()
    }
    for module, document in ((costs, {"ratios": ratios}), (widths, {"sizes": sizes, "warnings": []})):
        file = tmp_path / f"{module.__name__}.json"
        file.write_text(json.dumps(document))
        monkeypatch.setattr(module, "FILE", file)


def unit(seed: int = 0, epochs: int = 3, scored_after: tuple[int, ...] = (1, 3)) -> Unit:
    return Unit("tiny", BASE.name, TINY, replace(BASE, epochs=epochs, batch=20), seed, "a", scored_after)


def made_up(found: Sequence[Unit], error: Callable[[Unit], float]) -> dict[Unit, Outcome]:
    """Make up outcomes of units, with the same error after all epochs."""
    return {
        each: Outcome((error(each),) * len(each.scored_after), (1.0,), (2.0,), (1.0,) * each.recipe.epochs)
        for each in found
    }


def never() -> bool:
    return False


# The protocol


def test_the_parts_are_disjoint_and_balanced(images: Images) -> None:
    parts = {"train": images.train, "a": images.scored("a"), "b": images.scored("b")}
    assert {name: len(split) for name, split in parts.items()} == {"train": 40, "a": 20, "b": 20}
    pixels = {name: {image.numpy().tobytes() for image in split.images} for name, split in parts.items()}
    assert len(set.union(*pixels.values())) == 80  # all images, each in one part
    for split in parts.values():
        assert len(set(torch.bincount(split.labels).tolist())) == 1
    both = images.scored("ab")
    assert {image.numpy().tobytes() for image in both.images} == pixels["a"] | pixels["b"]
    assert len(both) == 40


def test_the_split_is_fixed(folder: Path, images: Images) -> None:
    assert (FULL.train, FULL.a, FULL.b, FULL.seed) == (40_000, 5_000, 5_000, 0)
    again = Images(folder, PARTS)
    assert again.identity == images.identity
    assert Images(folder, replace(PARTS, seed=1)).identity != images.identity


def test_the_networks_do_not_change() -> None:
    found = networks.rung_networks()
    assert {name: spec.fingerprint() for name, spec in found.items()} == {
        "dense-s": "7423d6b390ae7ce1",
        "dense-m": "de6e47c35bce7ec8",
        "dense-l": "58913d09a84199dc",
        "log-dense-s": "3a0abfff74652755",
        "log-dense-m": "790bc58ad1327ed5",
        "log-dense-l": "2e86bd88a9b237ce",
        "harmonic-s": "2011b6027ba605e3",
        "harmonic-m": "c20b5328caedc191",
        "harmonic-l": "1c10295669467ab4",
        "chain-s": "6b3d9750d49090db",
        "chain-m": "310f8a1cd72bc49f",
        "chain-l": "02c602dc479b453b",
    }


# Units


def test_a_unit_that_was_cut_off_ends_like_an_undisturbed_one(
    images: Images, tmp_path: Path, monkeypatch: Patch
) -> None:
    undisturbed = train(unit(), images, _made(tmp_path / "a"), never)
    work, saves = _made(tmp_path / "b"), []

    def killed_at_second(*arguments: Any) -> None:  # noqa: ANN401 - passed on
        saves.append(arguments)
        if len(saves) == 2:
            raise KeyboardInterrupt  # after the epoch was recorded, before its checkpoint
        save_training(*arguments)

    monkeypatch.setattr(units, "save_training", killed_at_second)
    with pytest.raises(KeyboardInterrupt):
        train(unit(), images, work, never)
    resumed = train(unit(), images, work, never)
    assert undisturbed is not None
    assert resumed is not None
    assert (resumed.errors, resumed.losses) == (undisturbed.errors, undisturbed.losses)
    assert len(resumed.cpu_seconds) == len(resumed.seconds) == 3
    assert len(resumed.errors) == 2
    assert len(saves) == 4  # epochs 1, 2 (killed), 2 and 3


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_unit_stops_after_an_epoch_and_continues(images: Images, tmp_path: Path) -> None:
    asked: list[bool] = []

    def second_time() -> bool:
        asked.append(True)
        return len(asked) > 1

    assert train(unit(), images, tmp_path, second_time) is None
    assert len((tmp_path / f"{unit().key}.jsonl").read_text().splitlines()) == 1
    assert train(unit(), images, tmp_path, never) is not None


def test_a_damaged_checkpoint_starts_over(images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / f"{unit().key}.pt").write_bytes(b"damaged")
    assert train(unit(), images, tmp_path, never) is not None
    assert "starts over" in capsys.readouterr().err


def test_a_lost_journal_starts_over(images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = iter([False, True])
    assert train(unit(), images, tmp_path, lambda: next(asked)) is None
    (tmp_path / f"{unit().key}.jsonl").unlink()
    assert train(unit(), images, tmp_path, never) is not None
    assert "lacks an epoch" in capsys.readouterr().err


def test_a_failed_training_is_recorded_with_the_error_of_chance(images: Images, tmp_path: Path) -> None:
    diverging = replace(unit(), recipe=replace(unit().recipe, optimiser="nesterov", learning_rate=1e30))
    outcome = train(diverging, images, tmp_path, never)
    assert outcome is not None
    assert outcome.failed
    assert outcome.error == 90.0


def test_a_line_is_read_as_the_same_unit(images: Images, tmp_path: Path) -> None:
    file, outcome = tmp_path / "new" / "lines.jsonl", Outcome((50.0, 40.0), (2.0,) * 3, (1.5,) * 3, (1.0,) * 3)
    record(file, unit(), outcome, images)
    assert read_outcomes(file, images) == {unit(): outcome}
    (line,) = map(json.loads, file.read_text().splitlines())
    assert line.keys() >= {"key", "unit", "outcome", "images", "train", "commit", "date", "conditions"}
    assert NetworkSpec.from_json(line["unit"]["spec"]) == TINY
    assert line["unit"]["recipe"] == vars(unit().recipe)
    del line["unit"]["recipe"]["cutout"]  # written before this setting existed
    file.write_text(json.dumps(line) + "\n")
    assert read_outcomes(file) == {unit(): outcome}


def test_lines_on_other_images_are_refused(images: Images, folder: Path, tmp_path: Path) -> None:
    record(tmp_path / "lines.jsonl", unit(), Outcome((), (), (), (), "diverged"), images)
    other = Images(folder, replace(PARTS, seed=1))
    with pytest.raises(InputError, match="tiny-fast-0 was trained on other images"):
        read_outcomes(tmp_path / "lines.jsonl", other)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"key": "x"}\n')
    with pytest.raises(InputError, match=r"lines\.jsonl: .*unit"):
        read_outcomes(file)


def test_the_lease_is_not_held_between_measurements() -> None:
    with units.between_measurements(), exclusive("cpu"):  # a process that is stopped here does not block it
        pass


# The run


def small_stage(name: str = "small") -> Stage:
    """Two units, of which the second is known once the first has finished."""

    def found(outcomes: Outcomes) -> list[Unit]:
        return [unit(0, 1, (1,)), *([unit(1, 1, (1,))] if unit(0, 1, (1,)) in outcomes else [])]

    def later(outcomes: Outcomes) -> list[Unit]:
        return [] if unit(0, 1, (1,)) in outcomes else [unit(1, 1, (1,))]

    return Stage(name, "A small stage", found, later, lambda outcomes: f"{len(outcomes)} units")


def test_a_second_run_does_nothing(images: Images, places: Places, monkeypatch: Patch) -> None:
    stage = small_stage()
    assert run([stage], [stage], images, places, never)
    file = places.file(stage)
    before = file.read_bytes()
    assert [json.loads(line)["key"] for line in before.decode().splitlines()] == ["tiny-fast-0", "tiny-fast-1"]
    assert sorted(path.suffix for path in (places.work / "small").iterdir()) == []  # checkpoints are removed
    monkeypatch.setattr(runs, "train", None)
    assert run([stage], [stage], images, places, never)
    assert file.read_bytes() == before


def test_a_truncated_line_is_trained_again(images: Images, places: Places) -> None:
    stage = small_stage()
    run([stage], [stage], images, places, never)
    file = places.file(stage)
    file.write_bytes(file.read_bytes()[:-10])
    assert len(read_outcomes(file)) == 1
    assert run([stage], [stage], images, places, never)
    assert len(read_outcomes(file)) == 2


def test_a_unit_of_another_process_is_left_to_it(images: Images, places: Places) -> None:
    stage, waits = small_stage(), []
    places.work.mkdir(parents=True)
    lock = FileLock(places.work / "small-tiny-fast-0.lock")
    lock.acquire()

    def release(seconds: float) -> None:
        waits.append(seconds)
        lock.release()

    assert run([stage], [stage], images, places, never, sleep=release)
    assert waits == [runs.WAIT_S]


def test_a_stage_that_needs_an_earlier_one_says_so(
    images: Images, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run([RECIPES, RUNGS], [RUNGS], images, places, never)
    assert "rungs: needs the results of earlier stages" in capsys.readouterr().err


def test_the_recipe_stage_reads_neither_part_b_nor_test_images(
    images: Images, places: Places, monkeypatch: Patch
) -> None:
    def forbidden(_images: Images) -> None:
        raise AssertionError("part B is for challengers")

    monkeypatch.setattr(Images, "b", property(forbidden))
    monkeypatch.setattr(recipes, "RECIPE_NETWORKS", dict.fromkeys(networks.RECIPE_NETWORKS, TINY))
    monkeypatch.setattr(recipes, "ARMS", {"muon": ARMS["muon"]})
    monkeypatch.setattr(recipes, "SEEDS", (0,))
    monkeypatch.setattr(recipes, "RATES", (1.0,))
    monkeypatch.setattr(recipes, "EPOCHS", 2)
    monkeypatch.setattr(costs, "EPOCHS", 2)
    assert run([RECIPES], [RECIPES], images, places, never)  # the folder has no test part
    outcomes = places.outcomes([RECIPES])
    assert {each.scored_on for each in outcomes} == {"a"}
    assert {(each.arm, each.recipe.epochs) for each in outcomes} == {("fast", 2), ("muon", 1)}
    with pytest.raises(AssertionError, match="part B"):
        images.scored("ab")


# Choice rules


def test_arms_change_what_they_name() -> None:
    assert len(ARMS) == 8
    for arm, changes in ARMS.items():
        recipe = changed(arm)
        assert {name for name, value in vars(recipe).items() if vars(BASE)[name] != value} == set(changes)
    assert described(changed()) == "fast"
    assert described(replace(changed("whitened"), epochs=3)) == "fast with whitened True"
    both = changed("muon-large-batches", "augmentation")
    assert (both.optimiser, both.cutout, both.batch) == ("muon", 8, 512)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ({"smoothing": 0.3, "augmentation": 0.1, "nesterov": -1.0}, ("smoothing",)),
        ({"smoothing": 0.3, "nesterov": 0.4, "muon": 0.5, "identity": 0.2}, ("smoothing", "muon", "identity")),
        ({"smoothing": -0.3, "augmentation": 0.1, "muon": -2.0}, ("augmentation",)),
        ({"nesterov": 0.1, "muon": 0.05}, ("nesterov",)),
    ],
)
def test_the_combination_has_the_arms_that_gain(gains: dict[str, float], expected: tuple[str, ...]) -> None:
    assert combination(gains, 0.2) == expected
    assert set(OPTIMISERS) <= set(ARMS)


@pytest.mark.parametrize(("ratio", "epochs"), [(1.0, 10), (1.05, 10), (1.06, 9), (2.0, 5), (0.5, 21), (30.0, 1)])
def test_recipes_train_for_equal_time(ratio: float, epochs: int) -> None:
    assert costs.epochs_in_equal_time(ratio) == epochs


def test_arms_add_their_times() -> None:
    assert costs.ratio_of("threshnet28", ()) == 1.0
    assert costs.ratio_of("threshnet28", ("muon", "augmentation")) == 2.0
    assert recipes.unit("threshnet28", ("muon",), 0).recipe.epochs == 5


def gaining(each: Unit) -> float:
    """Errors in which muon and augmentation gain, more so together and with twice the rate; other arms lose."""
    error = {"threshnet28": 16.0, "small-chain": 17.0, "threshnet79": 15.0}[each.network] + 0.1 * each.seed
    parts = each.arm.split("-rate")[0].split("+")
    error -= sum({"muon": 1.0, "augmentation": 0.5, "fast": 0.0}.get(part, -0.5) for part in parts)
    return error - (0.25 if each.arm.endswith("-rate2") else 0.0)


def all_recipes() -> dict[Unit, Outcome]:
    first = made_up(recipes.first_round(), gaining)
    return first | made_up(RECIPES.units(first), gaining)


def test_the_second_round_compares_the_combination_of_the_first() -> None:
    assert RECIPES.units({}) == recipes.first_round()
    assert len(RECIPES.later({})) == 36
    assert [each.arm for each in recipes.first_round()[:2]] == ["fast", "fast"]
    first = made_up(recipes.first_round(), gaining)
    assert len(first) == 36
    assert recipes.gains(first)["muon"] == pytest.approx(1.0)
    assert recipes.chosen(first) == ("muon", "augmentation")
    assert recipes.winner(first) is None
    assert RECIPES.later(first) == []
    added = [each for each in RECIPES.units(first) if each not in first]
    assert len(added) == 3 * 2 * 2 * 3 - 4  # the base recipe has four units already
    assert {each.recipe.epochs for each in added if "muon" in each.arm} == {5}
    keys = [each.key for each in RECIPES.units(first)]
    assert len(set(keys)) == len(keys)


def test_the_winner_has_the_lowest_mean_error() -> None:
    outcomes = all_recipes()
    recipe = recipes.winner(outcomes)
    assert recipe == replace(changed("muon", "augmentation"), learning_rate=4e-3, epochs=EPOCHS)
    first = made_up(recipes.first_round(), lambda each: 15.0)
    same = first | made_up(RECIPES.units(first), lambda each: 15.0)
    assert recipes.winner(same) == BASE  # of equal recipes, the base recipe
    text = RECIPES.section(outcomes)
    assert "| muon | 15.05 (5) | 16.05 (5) | 0.50 | +1.00 |" in text
    assert "muon+augmentation, rate x 2" in text
    assert "1.75 points below `fast`" in text


def test_later_stages_use_the_winner() -> None:
    outcomes = all_recipes()
    for stage, count in ((RUNGS, 12), (FACTORIAL, 24)):
        assert stage.units({}) == []
        assert len(stage.later({})) == count
        found = stage.units(outcomes)
        assert len({each.key for each in found}) == count
        assert {each.recipe for each in found} == {recipes.winner(outcomes)}
        assert stage.later(outcomes) == []


# Rungs


def test_tau_and_its_interval() -> None:
    random = np.random.RandomState(1)
    final = random.rand(12)
    early = final + 0.3 * random.rand(12)
    tau, low, high = rungs.tau_interval(early, final)
    assert tau == pytest.approx(kendalltau(early, final).statistic)
    assert -1 <= low < tau < high <= 1
    assert rungs.tau_interval(final, final) == pytest.approx((1.0, 1.0, 1.0))
    assert rungs.tau_interval(-final, final) == pytest.approx((-1.0, -1.0, -1.0))


def test_rungs_are_the_epochs_that_rank_networks_well() -> None:
    outcomes: dict[Unit, Outcome] = all_recipes()
    for index, each in enumerate(RUNGS.units(outcomes)):
        errors = (30.0 + (7 * index) % 12, 30.0 + (index ^ 1), 25.0 + index, 15.0 + index)
        outcomes[each] = Outcome(errors, (1.0,), (1.0,), (1.0,))
    assert rungs.rungs(outcomes) == (2, 5)
    text = RUNGS.section(outcomes)
    assert "| dense-s | 30.00 | 31.00 | 25.00 | 15.00 |" in text
    assert "| 5 | 1.00 (1.00 to 1.00) |" in text
    assert "with a tau of at least 0.6: 2, 5." in text


# The factorial


def test_differences_of_links_have_tukeys_interval() -> None:
    random = np.random.RandomState(0)
    cells = random.normal(15.0, 0.5, (1, 4, 6))
    expected = tukey_hsd(*cells[0]).confidence_interval(0.95)
    least = factorial.least_difference(cells)
    widths_of_pairs = np.asarray(expected.high) - np.asarray(expected.low)
    assert least == pytest.approx(widths_of_pairs[0, 1] / 2, rel=1e-6)


def test_the_factorial_compares_links() -> None:
    outcomes: dict[Unit, Outcome] = all_recipes()
    assert {(each.scored_on, each.scored_after) for each in FACTORIAL.units(outcomes)} == {("ab", (EPOCHS,))}
    error = {"dense": 15.0, "log-dense": 15.5, "harmonic": 16.0, "chain": 17.0}

    def of(each: Unit) -> float:
        size, _, name = each.network.partition("-")
        return error[name] + (3.0 if size == "small" else 0.0) + 0.1 * each.seed

    outcomes |= made_up(FACTORIAL.units(outcomes), of)
    means = np.array(factorial.errors(outcomes).mean(axis=2)).tolist()
    assert means == [pytest.approx(row) for row in ([18.1, 18.6, 19.1, 20.1], [15.1, 15.6, 16.1, 17.1])]
    text = FACTORIAL.section(outcomes)
    assert "| small, dense | 0.500 |" in text
    assert "| dense - chain | -2.00 (-2.17 to -1.83) |" in text
    assert "one thread). Warnings: none." in text


def made_up_comparison(specs: Sequence[NetworkSpec]) -> Comparison:
    """Latencies that rise with widths and links."""
    latencies = [
        sum((len(b.links) + 0.3 * sum(map(len, b.links))) * b.growth + b.transition for b in spec.blocks)
        for spec in specs
    ]
    pairs = [
        Pair(a, b, latencies[a] / latencies[b], 0.0, 9.0) for a in range(len(specs)) for b in range(a + 1, len(specs))
    ]
    return Comparison(tuple(pairs), tuple(latencies), 20, "cpu", "onnxruntime", "1", ("busy",))


def test_widths_are_scaled_to_equal_latency(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setattr(widths, "compare", made_up_comparison)
    monkeypatch.setattr(widths, "CLOSE", 0.02)
    monkeypatch.setattr(widths, "TOLERANCE", 0.06)
    monkeypatch.setattr(widths, "FILE", tmp_path / "new" / "widths.json")
    with pytest.raises(InputError, match=r"run python -m benchmarks\.campaign\.widths"):
        widths.networks()
    assert widths.main() == 0
    for size in widths.latencies_ms().values():
        assert list(size.values()) == pytest.approx([size["dense"]] * 4, rel=0.03)
    found = widths.networks()
    for name, sized in networks.FACTORIAL_SIZES.items():
        assert found[name]["dense"] == networks.factorial_network(DENSE, sized, sized.dense)
        for threshold, links in enumerate(THRESHOLD_NAMES):
            spec = found[name][links]
            chosen = networks.Widths(
                tuple(block.growth for block in spec.blocks), tuple(block.transition for block in spec.blocks)
            )
            assert spec == networks.factorial_network(threshold, sized, chosen)  # otherwise equal
            assert {width % widths.GRAIN for width in (*chosen.growths, *chosen.transitions)} == {0}
    total = [sum(block.growth for block in found["large"][links].blocks) for links in THRESHOLD_NAMES]
    assert total == sorted(total)
    assert total[0] < total[-1]
    assert widths.warnings() == ["busy"] * 2


def test_widths_that_differ_are_not_recorded(
    monkeypatch: Patch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(widths, "compare", made_up_comparison)
    monkeypatch.setattr(widths, "FILE", tmp_path / "new.json")
    monkeypatch.setattr(widths, "TOLERANCE", 1e-9)
    assert widths.main() == 1
    assert "log-dense: the closest latency differs by" in capsys.readouterr().err
    monkeypatch.setattr(widths, "widths_of", lambda threshold, size: size.dense)
    assert widths.main() == 1
    assert "small: latencies differ by more than 0%: dense/log-dense" in capsys.readouterr().err
    assert not widths.FILE.exists()


def test_the_widths_nearest_to_a_multiple_are_the_least_distorted() -> None:
    size = networks.FACTORIAL_SIZES["small"]
    doubled = networks.Widths((32, 64), (64, 128))
    assert widths.distortion(size.dense, size) == 0.0
    assert widths.distortion(doubled, size) == pytest.approx(0.0)
    assert widths.distortion(replace(doubled, growths=(32, 48)), size) > 0
    assert widths.growths(2)[:5] == [(16, 16), (16, 32), (16, 48), (16, 64), (32, 32)]
    assert widths.transitions(size)[:3] == [(16, 32), (32, 48), (32, 64)]


def test_costs_are_measured_against_the_base_recipe(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setattr(costs, "FILE", tmp_path / "new" / "costs.json")
    with pytest.raises(InputError, match=r"run python -m benchmarks\.campaign\.costs"):
        costs.ratios()
    monkeypatch.setattr(costs, "RECIPE_NETWORKS", {"tiny": TINY})
    monkeypatch.setattr(costs, "ARMS", {"muon": ARMS["muon"]})
    monkeypatch.setattr(costs, "IMAGES", 128)
    monkeypatch.setattr(costs, "ROUNDS", 3)
    assert costs.main() == 0
    assert costs.ratios()["tiny"]["muon"] > 0


# The command line


@pytest.fixture
def stages(monkeypatch: Patch, places: Places) -> Iterator[Stage]:
    """A campaign of one small stage in a folder of its own."""
    stage, handler = small_stage(), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(program, "STAGES", {stage.name: stage})
    monkeypatch.setattr(program, "PLACES", places)
    monkeypatch.setattr(program, "PAGE", places.results / "campaign.md")
    monkeypatch.setattr(program, "FULL", PARTS)
    threads = torch.get_num_threads()
    yield stage
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)


def test_the_command_trains_lists_and_checks(
    stages: Stage, folder: Path, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert "small: 0 of 2 done, about" in out
    assert "1 more once earlier ones have finished" in out
    assert program.main(["--output", str(program.PAGE)]) == 0
    assert page.NOT_YET in program.PAGE.read_text()
    assert program.main(["--data", str(folder), "--caveat", "Random images."]) == 0
    assert "processor hours left" in capsys.readouterr().err
    assert program.main(["--list"]) == 0
    assert "small: 2 of 2 done, about 0.0 processor hours left" in capsys.readouterr().out
    assert program.main(["--check"]) == 1  # the page is older than the lines
    assert "differs from the page" in capsys.readouterr().err
    assert program.main(["--output", str(program.PAGE), "--check"]) == 0
    text = program.PAGE.read_text()
    assert "2 units\n\nConditions: 2 trainings" in text
    assert text.endswith(" Random images.\n")
    assert program.main(["--check"]) == 0


def test_the_recorded_page_is_current(capsys: pytest.CaptureFixture[str], monkeypatch: Patch) -> None:
    """If this fails: `python -m benchmarks.campaign --output benchmarks/results/campaign.md`."""
    for module in (costs, widths):
        monkeypatch.setattr(module, "FILE", program.PLACES.results / f"{module.__name__.rpartition('.')[2]}.json")
    assert program.main(["--check"]) == 0, capsys.readouterr().err


def test_an_unfinished_stage_has_no_table(stages: Stage, images: Images, places: Places) -> None:
    record(places.file(stages), unit(0, 1, (1,)), Outcome((50.0,), (1.0,), (1.0,), (1.0,)), images)
    assert page.NOT_YET in page.render([stages], places.outcomes([stages]), places.results)


def test_the_time_is_limited(stages: Stage, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--data", str(folder), "--minutes", "0"]) == 0
    assert "not finished; rerun the command to resume" in capsys.readouterr().err


def test_sigterm_ends_cleanly(
    stages: Stage, folder: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "train", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert program.main(["--data", str(folder)]) == program.INTERRUPTED
    assert capsys.readouterr().err.endswith("\ncampaign: stopped; rerun the command to resume\n")


def test_wrong_images_give_one_line(stages: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--data", str(tmp_path / "missing")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("campaign: ")
    assert err.count("\n") == 1


def test_quick_records_nothing(
    stages: Stage, folder: Path, places: Places, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "QUICK", PARTS)
    assert program.main(["--data", str(folder), "--quick"]) == 0
    assert "2 units" in capsys.readouterr().out
    assert not places.results.exists()


def test_the_estimate_uses_recorded_units() -> None:
    done = {unit(): Outcome((1.0, 1.0), (1.0,) * 3, (9.0,) * 3, (4.0,) * 3)}
    assert runs.seconds(unit(seed=1), done) == pytest.approx(12.0)
    other: Recipe = replace(unit().recipe, epochs=5)
    assert runs.seconds(replace(unit(), recipe=other), done) == pytest.approx(20.0)
    assert 5 * 60 < runs.seconds(recipes.unit("threshnet28", (), 0), {}) < 30 * 60
