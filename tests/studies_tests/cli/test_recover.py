"""Recovering networks from their costs: against brute force on small templates, and on the published figures."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, combinations_with_replacement, product

import click
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies import cli
from studies.cli.quantities import Stated
from threshnet import NAMED, InputError, NetworkSpec, StemSpec
from threshnet.costs import count
from threshnet.recover.partial import COLUMNS, convolutions
from threshnet.recover.recover import Figure, Recovery, distances, matching, recover
from threshnet.recover.templates import DENSE_GROWTH, HARDNET, POOLS, TEMPLATES, THRESHNET, Template, make_block
from threshnet.shapes import walk

SMALL = Template(
    name="small",
    stems=(StemSpec((4, 8)), StemSpec((6, 12), pool=False)),
    blocks=(4, 5),
    dense=(0, 3),
    dense_layers=(2,),
    harmonic_layers=(2, 3),
    growths=(6, 10),
    transitions=(16, 20, 24, 32, 48),
    dropouts=((0.0, 0.0), (0.1, 0.2)),
)
SIZE, CLASSES = 64, 7


def every(template: Template) -> list[NetworkSpec]:
    """All networks of a template, one by one, from its rules alone."""
    found = []
    for stem, number, dense, dropouts in product(template.stems, template.blocks, template.dense, template.dropouts):
        layers = product(*[template.dense_layers] * dense, *[template.harmonic_layers] * (number - dense))
        growths = combinations_with_replacement(template.growths, number - dense)
        pools = [{0, *middle} for middle in combinations(range(1, number - 1), POOLS - 1)]
        for depths, harmonic, widths, pooled in product(
            layers, growths, combinations(template.transitions, number), pools
        ):
            blocks = tuple(
                make_block(place < dense, depth, growth, width, place in pooled)
                for place, (depth, growth, width) in enumerate(
                    zip(depths, (*[DENSE_GROWTH] * dense, *harmonic), widths, strict=True)
                )
            )
            block, head = dropouts
            found.append(NetworkSpec(blocks, stem, block_dropout=block, head_dropout=head, classes=CLASSES))
    return found


def costs_of(spec: NetworkSpec, size: int = SIZE) -> tuple[int, ...]:
    """COLUMNS of a network, by threshnet.costs."""
    costs = count(spec, size)
    return (costs.params, costs.flops, costs.madd, costs.memory_bytes, convolutions(walk(spec, size)))


ONE = replace(SMALL, dropouts=SMALL.dropouts[1:], stems=SMALL.stems[:1])
EVERY = every(ONE)
COSTS = {spec.fingerprint(): costs_of(spec) for spec in EVERY}


def exactly(costs: tuple[int, ...], columns: tuple[str, ...] = COLUMNS) -> list[Figure]:
    return [Figure(column, float(costs[COLUMNS.index(column)]), 0.0) for column in columns]


def test_a_template_has_as_many_networks_as_it_says() -> None:
    assert len(COSTS) == len(EVERY) == ONE.size
    assert SMALL.size == 4 * ONE.size  # two stems, two dropouts
    assert all(ONE.holds(spec) for spec in EVERY)


def test_the_enumeration_is_whole_and_its_costs_are_those_of_the_networks() -> None:
    """Every network once, with the very distances of its counted costs."""
    target = exactly(COSTS[EVERY[17].fingerprint()])
    found = {}
    for batch in matching(ONE, target, 1000.0, SIZE, CLASSES):
        for place in range(batch.distance.size):
            spec = batch.frame.spec(tuple(map(int, batch.codes[:, place])))
            assert spec.fingerprint() not in found
            found[spec.fingerprint()] = (batch.distance[place], batch.difference[place])
    wanted = distances(np.array(list(COSTS.values())).T, target)
    assert found == dict(zip(COSTS, zip(*wanted, strict=True), strict=True))


@settings(deadline=None, max_examples=15)
@given(
    st.integers(0, len(EVERY) - 1),
    st.sampled_from([0.0, 0.01, 0.1]),
    st.sampled_from([COLUMNS, ("params", "flops", "convs"), ("flops", "memory_bytes"), ("madd", "params")]),
)
def test_what_is_recovered_is_what_brute_force_finds(place: int, within: float, columns: tuple[str, ...]) -> None:
    costs = COSTS[EVERY[place].fingerprint()]
    figures = exactly(costs, columns)
    found = recover([ONE], figures, within, 5, SIZE, CLASSES)
    table = np.array([[row[COLUMNS.index(column)] for column in columns] for row in COSTS.values()]).T
    off, _ = distances(table, figures)
    assert found.matches == (off <= within).sum()
    assert [one.distance for one in found.listed] == sorted(off)[: len(found.listed)]
    assert len(found.listed) == min(5, found.matches)
    assert found.listed[0].distance == 0.0
    for one in found.listed:
        assert one.costs == count(one.spec, SIZE)
        assert one.rank == 1 + (off < one.distance).sum()


@pytest.mark.parametrize(("stems", "dropouts"), list(product(SMALL.stems, SMALL.dropouts)))
def test_every_stem_and_dropout_is_looked_through(stems: StemSpec, dropouts: tuple[float, float]) -> None:
    part = replace(SMALL, stems=(stems,), dropouts=(dropouts,), blocks=(5,), dense=(3,), growths=(6,))
    spec = every(part)[3]
    assert recover([SMALL], exactly(costs_of(spec)), 0.0, 3, SIZE, CLASSES).listed[0].spec == spec


# The published figures


def test_every_named_network_is_in_one_template() -> None:
    homes = {
        name: [template.name for template in TEMPLATES.values() if template.holds(spec)] for name, spec in NAMED.items()
    }
    assert homes == {
        "threshnet28": ["threshnet"],
        "threshnet79": ["threshnet"],
        "threshnet95": ["threshnet"],
        "hardnet68": ["hardnet"],
        "hardnet85": ["hardnet"],
    }
    assert not THRESHNET.holds(replace(NAMED["threshnet79"], head_dropout=0.1))
    assert not HARDNET.holds(replace(NAMED["hardnet68"], blocks=NAMED["hardnet68"].blocks[::-1]))


def printed(params: str, flops: str, madd: str, memory: str, convs: int) -> list[Figure]:
    """Figures as a table prints them."""
    read = [Stated().convert(text, None, None) for text in (params, flops, madd, memory)]
    read[3] = (read[3][0] * 2**20, read[3][1] * 2**20)
    return [
        *(Figure(column, *figure) for column, figure in zip(COLUMNS, read, strict=False)),
        Figure("convs", convs, 0),
    ]


def first(found: Recovery) -> tuple[str | None, int, float]:
    return found.listed[0].named, found.listed[0].rank, found.listed[0].distance


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("threshnet79", printed("14.371858M", "3.457146G", "6.895960G", "109.6805", 79)),
        ("threshnet95", printed("16.19M", "4.07G", "8.12G", "132.34", 95)),
    ],
)
def test_a_threshnet_is_found_at_distance_0_by_its_costs(name: str, figures: list[Figure]) -> None:
    assert first(recover([THRESHNET], figures, 0.005, 3, 224, 10)) == (name, 1, 0.0)


def test_threshnet79_is_on_top_of_the_networks_near_its_printed_figures_with_its_rank() -> None:
    found = recover([THRESHNET], printed("14.31M", "3.46G", "6.90G", "109.68", 79), 0.005, 4, 224, 10)
    name, rank, distance = first(found)
    assert name == "threshnet79"
    assert distance == pytest.approx((14_371_858 - 14_315_000) / 14_310_000)
    assert 1 < rank <= found.matches
    assert [one.rank for one in found.listed[1:]] == [1, 2, 3]
    assert [one.named for one in found.listed[1:]] == [None] * 3


def test_threshnet28s_printed_figures_are_those_of_many_networks() -> None:
    found = recover([THRESHNET], printed("10.18M", "2.28G", "4.55G", "83.26", 28), 0.005, 3, 224, 10)
    assert first(found) == ("threshnet28", 1, 0.0)
    assert found.matches > 50


def test_hardnet85_is_found_by_its_costs() -> None:
    spec = NAMED["hardnet85"]
    figures = exactly(costs_of(spec, 224))
    assert figures[4].value == 84  # and a linear layer
    assert first(recover([HARDNET], figures, 0.001, 2, 224, spec.classes)) == ("hardnet85", 1, 0.0)


# The command


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `threshnet recover` on the small template; returns what it printed."""
    monkeypatch.setattr("threshnet.recover.templates.TEMPLATES", {"small": ONE, "threshnet": THRESHNET})

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["threshnet", "recover", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == status
        out, err = capsys.readouterr()
        return out if status == 0 else err

    return run


def asked_for(spec: NetworkSpec) -> list[str]:
    params, flops, _, memory, convs = COSTS[spec.fingerprint()]
    given = {
        "--params": params,
        "--flops": f"{flops / 1e6:.3f}M",
        "--memory": f"{memory / 2**20:.5f}",
        "--convs": convs,
    }
    place = ["--template", "small", "--input", str(SIZE), "--classes", str(CLASSES)]
    return [*place, *(str(word) for pair in given.items() for word in pair)]


def test_the_command_lists_networks_and_states_the_template(run: Callable[..., str]) -> None:
    out = run(*asked_for(EVERY[5]), "--show", "2")
    assert f"Template small: {ONE.size:,} networks" in out
    assert "transitions rising: 16, 20, 24, 32, 48" in out
    told = json.loads(run(*asked_for(EVERY[5]), "--json"))
    assert told["templates"] == {"small": ONE.size}
    assert told["networks"][0]["distance"] == 0.0
    assert NetworkSpec.from_json(told["networks"][0]["spec"]) == EVERY[5]


@pytest.mark.parametrize("given", [("--params", "--flops"), ("--params", "--memory", "--convs")])
def test_the_figures_named_as_narrowing_leave_fewer_whatever_they_are(
    run: Callable[..., str], given: tuple[str, ...]
) -> None:
    """No value is near all the networks found, while there is one for each of the other figures."""
    place, figures = asked_for(EVERY[900])[:6], asked_for(EVERY[900])[6:]
    words = [word for pair in zip(figures[::2], figures[1::2], strict=True) if pair[0] in given for word in pair]
    asked = [*place, *words, "--within", "5"]
    (line,) = [line for line in run(*asked, "--show", "1").splitlines() if line.startswith("The fewer figures")]
    told = json.loads(run(*asked, "--json", "--show", "1000"))
    assert f"To narrow these {len(told['networks']):,}," in line
    for flag, column in zip(("--params", "--flops", "--madd", "--memory", "--convs"), COLUMNS, strict=True):
        values = np.array([network[column] for network in told["networks"]])
        assert told["spans"][column] == [values.min(), values.max()]
        figure = values.min() / 0.95  # the greatest that the least of them is near
        apart = bool((abs(values - figure) > 0.05 * figure + 1e-9).any())
        assert (f"{flag} (" in line) == (apart and flag not in given)


def test_nothing_is_said_of_narrowing_where_all_are_listed_or_no_figure_would(run: Callable[..., str]) -> None:
    two = asked_for(EVERY[900])[:10]
    assert "fewer figures" not in run(*two, "--within", "5", "--show", "1000")
    assert "fewer figures" not in run(*two, "--within", "100", "--show", "1")


def test_where_nothing_matches_the_count_is_zero(run: Callable[..., str]) -> None:
    out = run("--template", "small", "--params", "1", "--flops", "1", "--convs", "1")
    assert out.startswith("0 networks within 0.5 %")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--params", "1M"], "two or more of --params, --flops, --madd, --memory"),
        (["--params", "1M", "--convs", "28"], "two or more of --params, --flops, --madd, --memory"),
        (["--params", "10.18Q", "--flops", "2G"], "'10.18Q': must be a number above 0"),
        (
            ["--params", "1M", "--flops", "2G", "--template", "none"],
            "--template 'none': must be one of small, threshnet",
        ),
        (["--params", "1M", "--flops", "2G", "--within", "-1%"], "must be a percentage from 0 to 100"),
        (["--params", "1M", "--flops", "2G", "--input", "8"], "input size 8 is too small: the templates have 3 pools"),
    ],
)
def test_the_command_refuses_in_one_line(run: Callable[..., str], typed: list[str], told: str) -> None:
    err = run(*typed, status=2)
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "figure"),
    [
        ("10.18M", (10.18e6, 5e3)),
        ("14371858", (14371858.0, 0.5)),
        ("83.26", (83.26, 0.005)),
        ("2.28 G", (2.28e9, 5e6)),
        ("3G", (3e9, 5e8)),
    ],
)
def test_a_figure_stands_for_all_that_rounds_to_it(typed: str, figure: tuple[float, float]) -> None:
    value, half = Stated().convert(typed, None, None)
    assert value == figure[0]
    assert half == pytest.approx(figure[1])


def test_what_is_no_figure_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="must be a number above 0"):
        Stated().convert("many", None, None)


def test_no_template_fits_an_input_that_its_pools_use_up() -> None:
    with pytest.raises(InputError, match="the templates have 3 pools"):
        recover([THRESHNET], exactly((10, 10, 10, 10, 10)), 0.1, 1, 8, 10)
