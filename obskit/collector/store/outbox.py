"""What one destination has not been sent yet: a place in the order of arrival, kept in the database.

Nothing is stored twice: what waits is what was stored after that place. So an outage of days costs no memory, a restart
goes on where the last run ended, and what must make room before it was sent is counted.
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
    """Some spans that are to be sent next, and the place behind them. ``missed`` were deleted before their turn."""

    number: int
    ordinal: int
    missed: int = 0
    spans: list[Span] = field(default_factory=list)


class Outbox:
    """The spans that wait for one destination. A new one begins with what comes next. Raises StoreError."""

    def __init__(self, database: Database, reader: Reader, destination: str) -> None:
        self._database = database
        self._reader = reader
        self._destination = destination
        number, ordinal = reader.end()
        with database.transaction() as connection:
            row = (destination, number, ordinal)
            connection.execute("INSERT OR IGNORE INTO positions VALUES (?, ?, ?)", row)

    def next(self, after: Waiting | None = None) -> Waiting | None:
        """What is to be sent next, or after something else that waits, a block at a time; None when that is all."""
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
        """Moves on: these spans were sent, or will never be."""
        with self._database.transaction() as connection:
            self.move(connection, waiting)

    def move(self, connection: sqlite3.Connection, waiting: Waiting) -> None:
        """The same, within a transaction that writes what these spans led to."""
        values = (waiting.number, waiting.ordinal, self._destination)
        connection.execute("UPDATE positions SET number = ?, ordinal = ? WHERE destination = ?", values)

    def count(self) -> int:
        """How many spans wait."""
        return max(self._reader.end()[1] - self._place()[1], 0)

    def _place(self) -> tuple[int, int]:
        statement = "SELECT number, ordinal FROM positions WHERE destination = ?"
        ((number, ordinal),) = self._database.rows(statement, self._destination)
        return number, ordinal


def move_places(connection: sqlite3.Connection, number: int, last: int, stay: Sequence[bool]) -> None:
    """Moves places within a block of which some spans are deleted, so that the others wait as they did."""
    statement = """
        SELECT destination, positions.ordinal, positions.ordinal - arrivals.ordinal FROM positions, arrivals
        WHERE positions.number BETWEEN ? AND ? AND arrivals.number = ?
    """
    for destination, ordinal, sent in connection.execute(statement, (number, last, number)).fetchall():
        if 0 < sent < len(stay):
            moved = ordinal - stay[:sent].count(False)
            connection.execute("UPDATE positions SET ordinal = ? WHERE destination = ?", (moved, destination))


def is_place_within(connection: sqlite3.Connection, first: int, last: int) -> bool:
    """True when a destination has been sent a part of what came with some numbers: then that must not be joined."""
    statement = "SELECT 1 FROM positions WHERE number BETWEEN ? AND ? LIMIT 1"
    return connection.execute(statement, (first, last)).fetchone() is not None
