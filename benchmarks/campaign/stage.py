"""A stage of the campaign: which units it needs, and its table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.campaign.units import Outcomes, Unit


@dataclass(frozen=True)
class Stage:
    """A stage of the campaign. Its functions get the finished units of all stages."""

    # Name of the stage, and of its file.
    name: str
    title: str
    # Returns the units that can be trained now, finished ones included, in their order.
    units: Callable[[Outcomes], list[Unit]]
    # Returns stand-ins for the units that are known only after others have finished, to estimate their time.
    later: Callable[[Outcomes], list[Unit]]
    # Returns the section of the page, without its heading. Only called if all units are finished.
    section: Callable[[Outcomes], str]

    def missing(self, outcomes: Outcomes) -> list[Unit]:
        """Return the units that can be trained now and are not finished."""
        return missing(self.units(outcomes), outcomes)

    def complete(self, outcomes: Outcomes) -> bool:
        """True if all units are finished."""
        return not self.missing(outcomes) and not self.later(outcomes)


def missing(units: Iterable[Unit], outcomes: Outcomes) -> list[Unit]:
    """Return the units that are not finished."""
    return [unit for unit in units if unit not in outcomes]
