"""The command that recovers networks from their costs: its list, and the further figures that it suggests."""

import json
import sys
from collections.abc import Callable

import numpy as np
import pytest
from threshnet_tests.recover.small_template import CLASSES, COSTS, NETWORKS, ONE, SIZE

from studies import cli
from threshnet import NetworkSpec
from threshnet.recover.partial import COLUMNS
from threshnet.recover.templates import THRESHNET


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `threshnet recover` on the small template; returns its output."""
    monkeypatch.setattr("threshnet.recover.templates.TEMPLATES", {"small": ONE, "threshnet": THRESHNET})

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["threshnet", "recover", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == status
        out, err = capsys.readouterr()
        return out if status == 0 else err

    return run


def arguments_for(spec: NetworkSpec) -> list[str]:
    """List the arguments that ask for the networks with the costs of a network."""
    params, flops, _, memory, convs = COSTS[spec.fingerprint()]
    figures = {
        "--params": params,
        "--flops": f"{flops / 1e6:.3f}M",
        "--memory": f"{memory / 2**20:.5f}",
        "--convs": convs,
    }
    place = ["--template", "small", "--input", str(SIZE), "--classes", str(CLASSES)]
    return [*place, *(str(word) for pair in figures.items() for word in pair)]


def test_the_command_lists_networks_and_describes_the_template(run: Callable[..., str]) -> None:
    out = run(*arguments_for(NETWORKS[5]), "--show", "2")
    assert f"Template small: {ONE.size:,} networks" in out
    assert "increasing transitions: 16, 20, 24, 32, 48" in out
    output = json.loads(run(*arguments_for(NETWORKS[5]), "--json"))
    assert output["templates"] == {"small": ONE.size}
    assert output["networks"][0]["distance"] == 0.0
    assert NetworkSpec.from_json(output["networks"][0]["spec"]) == NETWORKS[5]


@pytest.mark.parametrize("given", [("--params", "--flops"), ("--params", "--memory", "--convs")])
def test_every_suggested_figure_leaves_fewer_networks_whatever_its_value(
    run: Callable[..., str], given: tuple[str, ...]
) -> None:
    """A figure is suggested exactly if no single value of it is within the tolerance of all listed networks."""
    place, figures = arguments_for(NETWORKS[900])[:6], arguments_for(NETWORKS[900])[6:]
    words = [word for pair in zip(figures[::2], figures[1::2], strict=True) if pair[0] in given for word in pair]
    arguments = [*place, *words, "--within", "5"]
    (line,) = [line for line in run(*arguments, "--show", "1").splitlines() if line.startswith("Fewer figures")]
    output = json.loads(run(*arguments, "--json", "--show", "1000"))
    assert f"To narrow down these {len(output['networks']):,}," in line
    for flag, column in zip(("--params", "--flops", "--madd", "--memory", "--convs"), COLUMNS, strict=True):
        values = np.array([network[column] for network in output["networks"]])
        assert output["spans"][column] == [values.min(), values.max()]
        figure = values.min() / 0.95  # the greatest value within the tolerance of the smallest
        apart = bool((abs(values - figure) > 0.05 * figure + 1e-9).any())
        assert (f"{flag} (" in line) == (apart and flag not in given)


def test_no_figure_is_suggested_if_all_networks_are_listed_or_none_would_help(run: Callable[..., str]) -> None:
    two = arguments_for(NETWORKS[900])[:10]
    assert "fewer figures" not in run(*two, "--within", "5", "--show", "1000")
    assert "fewer figures" not in run(*two, "--within", "100", "--show", "1")


def test_the_count_is_zero_if_no_network_matches(run: Callable[..., str]) -> None:
    out = run("--template", "small", "--params", "1", "--flops", "1", "--convs", "1")
    assert out.startswith("0 networks within 0.5 %")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--params", "1M"], "name two or more of --params, --flops, --madd and --memory"),
        (["--params", "1M", "--convs", "28"], "name two or more of --params, --flops, --madd and --memory"),
        (["--params", "10.18Q", "--flops", "2G"], "'10.18Q': must be a number above 0"),
        (
            ["--params", "1M", "--flops", "2G", "--template", "none"],
            "--template 'none': must be one of small, threshnet",
        ),
        (["--params", "1M", "--flops", "2G", "--within", "-1%"], "must be a percentage from 0 to 100"),
        (["--params", "1M", "--flops", "2G", "--input", "8"], "input size 8 is too small: the templates have 3 pools"),
    ],
)
def test_bad_input_ends_in_one_line(run: Callable[..., str], typed: list[str], message: str) -> None:
    err = run(*typed, status=2)
    assert message in err
    assert err.count("\n") == 1
