"""How much is stored, since when, and how much made room: what pages say, so that nothing is missing without a word."""

from __future__ import annotations

from dataclasses import dataclass

from obskit.collector.store.database import Database
from obskit.collector.store.reading import Reader


@dataclass(frozen=True)
class Holdings:
    """Spans and about how many bytes are stored; ``since`` is when the oldest of them came, in epoch seconds, or 0."""

    spans: int
    size: int
    ever: int  # spans that were stored since the file began
    since: int

    @property
    def gone(self) -> int:
        """Return how many spans made room."""
        return max(self.ever - self.spans, 0)


def holdings(database: Database, reader: Reader) -> Holdings:
    """Return what a database holds."""
    ((spans, size),) = database.rows("SELECT spans, size FROM totals")
    ((since,),) = database.rows("SELECT coalesce(min(arrived), 0) FROM blocks")
    return Holdings(spans, size, reader.end()[1], since)
