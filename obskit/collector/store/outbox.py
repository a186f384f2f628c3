"""What one destination has not been sent yet, as a position in the order of arrival, stored in the database.

Nothing is stored twice: the spans behind the position are those that wait. So an outage of days costs no memory, a
restart continues where the last run ended, and spans evicted before they were sent are counted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from obskit.collector.store.database import Database, StoreError
from obskit.collector.store.reading import Reader
from obskit.zipkin.model import Span


@dataclass(frozen=True)
class Waiting:
    """The spans to send next, and the position after them. ``missed`` spans were deleted before they were sent."""

    number: int
    ordinal: int
    missed: int = 0
    spans: list[Span] = field(default_factory=list)


class Outbox:
    """The spans that wait for one destination. A new destination starts with the next span. Raises StoreError."""

    def __init__(self, database: Database, reader: Reader, destination: str) -> None:
        self._database = database
        self._reader = reader
        self._destination = destination
        number, ordinal = reader.end()
        with database.transaction() as connection:
            row = (destination, number, ordinal)
            connection.execute("INSERT OR IGNORE INTO positions VALUES (?, ?, ?)", row)

    def next(self, after: Waiting | None = None) -> Waiting | None:
        """Return the next spans to send, or those after ``after``, a block at a time; None when there are no more."""
        number, ordinal = (after.number, after.ordinal) if after else self._place()
        for key in self._reader.keys_after(number):
            begin = self._reader.ordinal(key[0])
            skip = max(ordinal - begin, 0) if key[0] <= number else 0
            missed = max(begin - ordinal, 0)
            if skip >= key[2]:
                continue
            try:
                spans = self._reader.in_order(key)[skip:]
            except StoreError:  # damaged
                spans, missed = [], missed + key[2] - skip
            return Waiting(key[1], begin + key[2], missed, spans)
        return None

    def done(self, waiting: Waiting) -> None:
        """Advance the position: these spans were sent, or never will be."""
        with self._database.transaction() as connection:
            self.move(connection, waiting)

    def move(self, connection: sqlite3.Connection, waiting: Waiting) -> None:
        """Advance the position within a transaction that also writes what was computed from these spans."""
        values = (waiting.number, waiting.ordinal, self._destination)
        connection.execute("UPDATE positions SET number = ?, ordinal = ? WHERE destination = ?", values)

    def count(self) -> int:
        """Return how many spans wait."""
        return max(self._reader.end()[1] - self._place()[1], 0)

    def _place(self) -> tuple[int, int]:
        statement = "SELECT number, ordinal FROM positions WHERE destination = ?"
        ((number, ordinal),) = self._database.rows(statement, self._destination)
        return number, ordinal


def move_places(connection: sqlite3.Connection, number: int, last: int, stay: Sequence[bool]) -> None:
    """Adjust the positions within a block whose spans are partly deleted, so that the others still wait."""
    statement = """
        SELECT destination, positions.ordinal, positions.ordinal - arrivals.ordinal FROM positions, arrivals
        WHERE positions.number BETWEEN ? AND ? AND arrivals.number = ?
    """
    for destination, ordinal, sent in connection.execute(statement, (number, last, number)).fetchall():
        if 0 < sent < len(stay):
            moved = ordinal - stay[:sent].count(False)
            connection.execute("UPDATE positions SET ordinal = ? WHERE destination = ?", (moved, destination))


def is_place_within(connection: sqlite3.Connection, first: int, last: int) -> bool:
    """Return whether a destination's position is inside these blocks, which then must not be merged."""
    statement = "SELECT 1 FROM positions WHERE number BETWEEN ? AND ? LIMIT 1"
    return connection.execute(statement, (first, last)).fetchone() is not None
