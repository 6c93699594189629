"""The command that looks for networks of given costs: recover."""

import json

import click

from studies.options import OUT, as_json_option, input_option
from studies.quantities import Percent, Stated
from threshnet.errors import InputError

Typed = tuple[float, float] | None


@click.command()
@click.option("--params", type=Stated(), help="Such as 10.18M.")
@click.option("--flops", type=Stated(), help="torchstat's Flops, such as 2.28G.")
@click.option("--madd", type=Stated(), help="torchstat's MAdd, such as 4.55G.")
@click.option("--memory", type=Stated(), help="torchstat's memory in MB (2^20 bytes), such as 83.26.")
@click.option("--convs", type=click.IntRange(min=1), help="Convolutions, the linear layer not counted.")
@click.option("--within", type=Percent(), default="0.5", show_default=True, help="Largest distance, percent.")
@click.option("--template", help="threshnet or hardnet [both].")
@click.option("--show", type=click.IntRange(1, 1000), default=10, show_default=True, help="Networks to list.")
@input_option(224)
@click.option("--classes", type=click.IntRange(2, 1_000_000), default=10, show_default=True)
@as_json_option
def recover(
    params: Typed,
    flops: Typed,
    madd: Typed,
    memory: Typed,
    convs: int | None,
    within: float,
    template: str | None,
    show: int,
    size: int,
    classes: int,
    as_json: bool,
) -> None:
    """Find the networks of a stated template that have given costs: how many there are, and the nearest.

    All of the template is looked through. Named networks that match are listed on top, with their rank by distance.
    """
    from studies.recover import Figure
    from studies.recover import recover as recovered
    from studies.recover_told import narrowing, recovered_json, recovered_table, template_lines
    from studies.templates import TEMPLATES

    if template is not None and template not in TEMPLATES:
        raise InputError(f"--template {template!r}: must be one of {', '.join(TEMPLATES)}")
    megabytes = (memory[0] * 2**20, memory[1] * 2**20) if memory else None
    typed = {"params": params, "flops": flops, "madd": madd, "memory_bytes": megabytes}
    figures = [Figure(column, *figure) for column, figure in typed.items() if figure]
    figures += [Figure("convs", convs, 0.0)] if convs is not None else []
    chosen = [TEMPLATES[template]] if template else list(TEMPLATES.values())
    found = recovered(chosen, figures, within / 100, show, size, classes)
    if as_json:
        click.echo(json.dumps(recovered_json(found, size, classes), indent=2))
        return
    OUT.print(recovered_table(found, size, classes))
    for line in (*narrowing(found), *template_lines(found)):
        OUT.print(line, highlight=False, soft_wrap=True)
