"""Health numbers of a window of time, in the steps that charts draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from obskit.collector.deadline import Deadline
from obskit.collector.pages.website import Site
from obskit.collector.periods import Period
from obskit.collector.store.health_numbers import Numbers
from obskit.collector.store.hours import FIVE, HOUR

MINUTE = 60_000_000  # microseconds
_MOST_STEPS = 60
_FINEST = 2  # minutes, up to which steps are of any length


@dataclass(frozen=True)
class Health:
    """Numbers of the minutes ``first`` to ``last``: of services in steps of so many minutes, and of operations of one.

    Longer steps are of five minutes each or of whole hours, and ``first`` is the begin of such a time.
    """

    first: int
    last: int
    step: int
    services: dict[str, list[Numbers]]
    operations: dict[str, Numbers]

    def steps(self, service: str) -> list[Numbers]:
        """Return the numbers of a service in each step."""
        return self.services.get(service) or [Numbers() for _ in range(self.first, self.last + 1, self.step)]

    def period(self, number: int) -> tuple[int, int]:
        """Return the begin and end of a step in epoch milliseconds."""
        begin = (self.first + number * self.step) * MINUTE
        return begin // 1_000, (begin + self.step * MINUTE) // 1_000

    def total(self, service: str) -> Numbers:
        """Return the numbers of a service in the whole window."""
        return added(self.services.get(service, ()))


def added(numbers: Iterable[Numbers]) -> Numbers:
    """Return the sum."""
    total = Numbers()
    for one in numbers:
        total.add(one)
    return total


def health(site: Site, period: Period, deadline: Deadline, service: str | None = None) -> Health:
    """Return the numbers of a window, of one service or of all. Raises Stopped at the deadline."""
    cells, last = site.store.cells, period.end // MINUTE
    first = min(period.first // MINUTE or cells.oldest() or last, last)
    step = -(-(last - first + 1) // _MOST_STEPS)
    if step > _FINEST:
        unit = HOUR if step > HOUR // 2 else FIVE
        step += -step % unit
        first -= first % unit
    services = cells.in_steps(first, last, step, service)
    deadline.check()
    operations: dict[str, Numbers] = {}
    if service is not None:
        found = cells.between(first * MINUTE, last * MINUTE, service)
        operations = {name: numbers for (_, name), numbers in found.items()}
    return Health(first, last, step, services, operations)
