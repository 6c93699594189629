"""What moved between two fronts of a study, for the terminal."""

from collections.abc import Iterator

from rich.table import Table

from studies.front import flag, title
from studies.moves import Moves, agreement, change
from studies.options import plain_table


def moves_told(found: Moves) -> Iterator[Table | str]:
    """The networks that joined the front or left it, with their ranks by latency, then how far the backends agree."""
    if not found.joined and not found.left:
        yield f"On {found.there}: {change(found)}."
        return
    table = plain_table(f"Moved on {found.there}, against {found.here}")
    table.add_column("network", no_wrap=True)
    table.add_column("the front", no_wrap=True)
    for name in ("error %", "objective's ms", "ms there", "rank by ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for moved, what in ((found.joined, "joined"), (found.left, "left")):
        for one in moved:
            table.add_row(
                title(one.here),
                what,
                f"{one.here.error:.2f}",
                f"{one.here.latency_ms:.3f}{flag(one.here)}",
                f"{one.there.latency_ms:.3f}{flag(one.there)}",
                f"{one.rank_here} to {one.rank_there}",
                style="bold" if one.here.named else "",
            )
    yield table
    yield f"On {found.there}: {agreement(found)}."
