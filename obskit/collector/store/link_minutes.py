"""Dependency links of evicted traces, kept by the minute in which the trace began.

When spans are deleted, the difference between the links of their traces before and after is added to the minute. So
the links of the stored traces and those kept here add up to the links of all traces ever stored.
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
_MOST = 500_000  # rows; beyond, the oldest minutes are deleted
_PRUNE_EVERY = 10_000  # rows written between two looks at the table's size
_Row = tuple[int, str, str]  # minute, parent, child
_WRITE = """
    INSERT INTO link_minutes VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, errors = errors + excluded.errors
"""


class LinkMinutes:
    """The links of evicted traces in a database."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._written = _PRUNE_EVERY  # since the last look at how many there are

    @contextmanager
    def outlive(self, connection: sqlite3.Connection, traces: set[int]) -> Iterator[None]:
        """Keep the links that these traces lose to the deletions in the block, within its transaction."""
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
        """Return the links kept for the minutes between two times (microseconds)."""
        statement = """
            SELECT parent, child, sum(calls), sum(errors) FROM link_minutes WHERE minute BETWEEN ? AND ? GROUP BY digest
        """
        return [Link(*row) for row in self._database.rows(statement, first // _MINUTE, last // _MINUTE)]

    def _count(self, traces: set[int]) -> tuple[Counter[_Row], Counter[_Row]]:
        """Return calls and errors of the stored spans of traces. A damaged block counts as empty."""
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
        """Delete the oldest minutes where there are too many rows."""
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
