"""How much is stored, since when, and how much was evicted: pages say so, lest a list seem complete when it is not."""

from __future__ import annotations

from dataclasses import dataclass

from obskit.collector.store.database import Database
from obskit.collector.store.reading import Reader


@dataclass(frozen=True)
class Holdings:
    """Stored spans and about how many bytes they take; ``since`` is when the oldest arrived (epoch seconds), or 0."""

    spans: int
    size: int
    ever: int  # spans stored since the file was created
    since: int

    @property
    def gone(self) -> int:
        """Return how many spans were evicted."""
        return max(self.ever - self.spans, 0)


def holdings(database: Database, reader: Reader) -> Holdings:
    """Return what a database holds."""
    ((spans, size),) = database.rows("SELECT spans, size FROM totals")
    ((since,),) = database.rows("SELECT coalesce((SELECT arrived FROM blocks ORDER BY number LIMIT 1), 0)")
    return Holdings(spans, size, reader.end()[1], since)
