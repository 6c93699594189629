"""The page of the campaign: a section for each stage, from the recorded lines."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.campaign.protocol import FULL
from benchmarks.campaign.stage import Stage
from benchmarks.campaign.units import Outcomes
from studies.json_lines import read_lines

NOT_YET = "Not yet run to its end."


def render(stages: Sequence[Stage], outcomes: Outcomes, folder: Path) -> str:
    """Return the page as Markdown. `folder` has a file of lines for each stage that was started."""
    parts = FULL
    return "\n\n".join(
        [
            f"CIFAR-10's training images are split once, stratified: {parts.train:,} to train, {parts.a:,} (part A) "
            f"for recipes and searches, {parts.b:,} (part B) to choose challengers. No test image was used for the "
            "tables below. Each training uses one thread. Times are processor seconds, which differ little between an "
            "idle and a busy machine.",
            *(text for stage in stages for text in (f"## {stage.title}", _section(stage, outcomes, folder))),
        ]
    )


def _section(stage: Stage, outcomes: Outcomes, folder: Path) -> str:
    file = folder / f"{stage.name}.jsonl"
    if not file.exists() or not stage.complete(outcomes):
        return NOT_YET
    return f"{stage.section(outcomes)}\n\n{conditions(file)}"


def conditions(file: Path) -> str:
    """Return the conditions of a stage in one line, from its lines."""
    lines = read_lines(file)

    def each(values: Sequence[str]) -> str:
        return ", ".join(dict.fromkeys(values))

    where = [line["conditions"] for line in lines]
    hours = sum(sum(line["outcome"]["cpu_seconds"]) for line in lines) / 3600
    facts = [
        f"{len(lines)} trainings",
        f"{hours:.1f} processor hours",
        each([one["processor"] for one in where]),
        f"{each([str(one['training']['threads']) for one in where])} thread(s) each",
        f"torch {each([one['versions']['torch'] for one in where])}",
        f"Python {each([one['python'] for one in where])}",
        f"commit {each([line['commit'] for line in lines])}",
        f"{lines[0]['date'][:10]} to {lines[-1]['date'][:10]}",
    ]
    return f"Conditions: {', '.join(facts)}. {each([line['caveat'] for line in lines])}".rstrip()
