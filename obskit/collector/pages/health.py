"""Health numbers of a window of time, in the steps that charts draw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from obskit.collector.deadline import Deadline
from obskit.collector.pages.website import Site
from obskit.collector.periods import Period
from obskit.collector.store.cells import Numbers

MINUTE = 60_000_000  # microseconds
_MOST_STEPS = 60
_Minutes = dict[int, Numbers]  # by minute since the epoch


@dataclass
class Health:
    """Numbers by service and minute, or of one service by operation, of the minutes ``first`` to ``last``."""

    first: int
    last: int
    services: dict[str, _Minutes] = field(default_factory=lambda: defaultdict(dict))
    operations: dict[str, Numbers] = field(default_factory=lambda: defaultdict(Numbers))

    @property
    def step(self) -> int:
        """Return the length of a chart's step in minutes."""
        return max(-(-(self.last - self.first + 1) // _MOST_STEPS), 1)

    def steps(self, service: str) -> list[Numbers]:
        """Return the numbers of a service in each step."""
        steps = [Numbers() for _ in range(self.first, self.last + 1, self.step)]
        for minute, numbers in self.services.get(service, {}).items():
            steps[(minute - self.first) // self.step].add(numbers)
        return steps

    def period(self, number: int) -> tuple[int, int]:
        """Return the begin and end of a step in epoch milliseconds."""
        begin = (self.first + number * self.step) * MINUTE
        return begin // 1_000, (begin + self.step * MINUTE) // 1_000

    def total(self, service: str) -> Numbers:
        """Return the numbers of a service in the whole window."""
        return added(self.services.get(service, {}).values())


def added(numbers: Iterable[Numbers]) -> Numbers:
    """Return the sum."""
    total = Numbers()
    for one in numbers:
        total.add(one)
    return total


def health(site: Site, period: Period, deadline: Deadline, service: str | None = None) -> Health:
    """Return the numbers of a window, of one service or of all. Raises Stopped at the deadline."""
    found = Health(period.first // MINUTE, period.end // MINUTE)
    begun = 0
    for minute, its_service, name, numbers in site.store.cells.by_operation(period.first, period.end, service):
        deadline.check()
        begun = begun or minute
        found.services[its_service].setdefault(minute, Numbers()).add(numbers)
        if service is not None:
            found.operations[name].add(numbers)
    if not period.first:
        found.first = begun or found.last
    return found
