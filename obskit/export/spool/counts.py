"""What became of the items in a spool: taken = settled + evicted + expired + corrupt + waiting, exactly."""

from __future__ import annotations

from typing import NamedTuple

EVICTED = "evicted"
EXPIRED = "expired"
CORRUPT = "corrupt"


class Counts(NamedTuple):
    """Counters of one moment: items, where not said otherwise.

    ``taken`` were appended, or adopted; ``settled`` were acknowledged. ``evicted`` went to make room, in this process
    or another, or somebody removed their file. ``corrupt_bytes`` could not be read; the items in them are part of
    ``corrupt`` as far as their number is known: always where this process wrote them. ``bytes`` are held on disk.
    """

    taken: int = 0
    settled: int = 0
    evicted: int = 0
    expired: int = 0
    corrupt: int = 0
    corrupt_bytes: int = 0
    bytes: int = 0

    @property
    def waiting(self) -> int:
        """The number of items that wait on disk."""
        return self.taken - self.settled - self.evicted - self.expired - self.corrupt


class Account:
    """Holds ``counts``; one thread changes them, and any may read them: they are replaced as a whole."""

    def __init__(self) -> None:
        self.counts = Counts()

    def add(self, **changes: int) -> None:
        """Add to each counter that is named."""
        counts = self.counts
        self.counts = counts._replace(**{name: getattr(counts, name) + by for name, by in changes.items()})
