"""Dependency links that outlive their traces: what the traces that make room lose is kept by the minute they began in.

What is stored and what is kept are together what all traces made: when spans go, the links of their traces before,
without those of what is left, are added to the minute.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from obskit.collector.links import Link, Links
from obskit.collector.store.database import Database, StoreError
from obskit.collector.store.reading import Reader
from obskit.collector.store.search import by_moment

_MINUTE = 60_000_000  # microseconds
_MOST = 500_000  # rows; the oldest minutes go
_PRUNE_EVERY = 10_000  # rows that were written
_Row = tuple[int, str, str]  # minute, parent, child
_WRITE = """
    INSERT INTO link_minutes VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, errors = errors + excluded.errors
"""


class LinkMinutes:
    """The links that are kept in a database."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._written = _PRUNE_EVERY  # since the last look at how many there are

    @contextmanager
    def outlive(self, connection: sqlite3.Connection, traces: set[int]) -> Iterator[None]:
        """Keeps what these traces lose while spans of theirs are deleted in the block, within its transaction."""
        calls, errors = self._count(traces)
        yield
        left_calls, left_errors = self._count(traces)
        calls.subtract(left_calls)
        errors.subtract(left_errors)
        changed = [row for row in calls if calls[row] or errors[row]]
        rows = [(row[0], _digest(*row[1:]), *row[1:], calls[row], errors[row]) for row in changed]
        connection.executemany(_WRITE, rows)
        self._prune(connection, len(rows))

    def between(self, first: int, last: int) -> list[Link]:
        """What is kept of the minutes of two moments (microseconds)."""
        statement = """
            SELECT parent, child, sum(calls), sum(errors) FROM link_minutes WHERE minute BETWEEN ? AND ? GROUP BY digest
        """
        return [Link(*row) for row in self._database.rows(statement, first // _MINUTE, last // _MINUTE)]

    def _count(self, traces: set[int]) -> tuple[Counter[_Row], Counter[_Row]]:
        """The calls and errors of what is stored of traces. A damaged block has none."""
        minutes: dict[int, Links] = {}
        try:
            stored = self._reader.traces(list(traces)).values()
        except StoreError:
            return Counter(), Counter()
        for spans in filter(None, stored):
            minute = min((span.timestamp for span in spans if span.timestamp), default=0) // _MINUTE
            minutes.setdefault(minute, Links()).add(by_moment(spans))
        calls: Counter[_Row] = Counter()
        errors: Counter[_Row] = Counter()
        for minute, links in minutes.items():
            for link in links.as_list():
                calls[minute, link.parent, link.child] = link.call_count
                errors[minute, link.parent, link.child] = link.error_count
        return calls, errors

    def _prune(self, connection: sqlite3.Connection, written: int) -> None:
        """Deletes the oldest minutes where there are too many rows."""
        self._written += written
        if self._written < _PRUNE_EVERY:
            return
        self._written = 0
        (count,) = connection.execute("SELECT count(*) FROM link_minutes").fetchone()
        if count > _MOST:
            oldest = "SELECT minute FROM link_minutes ORDER BY minute LIMIT 1 OFFSET ?"
            connection.execute(f"DELETE FROM link_minutes WHERE minute <= ({oldest})", (count - _MOST,))


def _digest(parent: str, child: str) -> bytes:
    return blake2b(f"{parent}\0{child}".encode(), digest_size=16).digest()
