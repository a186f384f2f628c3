"""Writes to the table of blocks, to the tables that refer to a block, and to the totals over all blocks."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping

from obskit.collector.store.blocks import Block
from obskit.collector.store.database import Database
from obskit.collector.store.reading import Reader
from obskit.collector.store.shares import Shares

_INSERT = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE = """
    UPDATE blocks SET last = ?, spans = ?, size = ?, first = ?, newest = ?, longest = ?, filter = ?, traces = ?,
    data = ? WHERE number = ?
"""


class BlockTable:
    """Changes to blocks, within the caller's transaction. Call ``reload`` after a rollback."""

    def __init__(self) -> None:
        self.spans = self.size = 0  # in all blocks
        self._last = 0  # the number of the last block
        self._ordinal = 0  # spans stored since the file was created
        self.shares = Shares()

    @property
    def last(self) -> int:
        """Return the number of the last block."""
        return self._last

    def reload(self, database: Database, reader: Reader) -> None:
        """Read the totals from the database."""
        ((self.spans, self.size, self._last),) = database.rows("SELECT spans, size, last FROM totals")
        self._ordinal = reader.end()[1]
        rows = database.rows("SELECT service, sum(spans), sum(bytes) FROM held GROUP BY service")
        self.shares = Shares((service, spans, size) for service, spans, size in rows)

    def insert(self, connection: sqlite3.Connection, block: Block) -> int:
        """Add a block, which gets the next number."""
        number = self._last = self._last + 1
        row = (number, number, int(time.time()), block.spans, block.size, block.first, block.newest, block.longest)
        connection.execute(_INSERT, (*row, block.filter, block.traces, block.data))
        connection.execute("INSERT INTO arrivals VALUES (?, ?)", (number, self._ordinal))
        self._ordinal += block.spans
        if block.requests:
            connection.execute("INSERT INTO requests VALUES (?, ?)", (number, block.requests))
        self.hold(connection, number, block.services)
        self.spans += block.spans
        self.size += block.size
        return number

    def replace(self, connection: sqlite3.Connection, first: int, last: int, block: Block) -> None:
        """Replace a range of block numbers by one block, which holds the same spans or some of them."""
        self._subtract(connection, first, last)
        self._delete(connection, first + 1, last)
        times = (block.first, block.newest, block.longest)
        values = (last, block.spans, block.size, *times, block.filter, block.traces, block.data, first)
        connection.execute(_UPDATE, values)
        connection.execute("DELETE FROM requests WHERE number = ?", (first,))
        if block.requests:  # a small one is read itself
            connection.execute("INSERT INTO requests VALUES (?, ?)", (first, block.requests))
        self.hold(connection, first, block.services)
        self.spans += block.spans
        self.size += block.size

    def delete(self, connection: sqlite3.Connection, first: int, last: int) -> None:
        """Delete the blocks of a range of numbers."""
        self._subtract(connection, first, last)
        self._delete(connection, first, last)

    def hold(self, connection: sqlite3.Connection, number: int, services: Mapping[int, tuple[int, int]]) -> None:
        """Record how many spans and bytes each service has in a block."""
        rows = [(number, service, *amounts) for service, amounts in services.items()]
        connection.executemany("INSERT INTO held VALUES (?, ?, ?, ?)", rows)
        self.shares.add(services)

    def write_totals(self, connection: sqlite3.Connection) -> None:
        """Write the totals over all blocks."""
        connection.execute("UPDATE totals SET spans = ?, size = ?, last = ?", (self.spans, self.size, self._last))

    def _subtract(self, connection: sqlite3.Connection, first: int, last: int) -> None:
        for spans, size in connection.execute(
            "SELECT spans, size FROM blocks WHERE number BETWEEN ? AND ?", (first, last)
        ):
            self.spans -= spans
            self.size -= size
        held = "SELECT service, spans, bytes FROM held WHERE number BETWEEN ? AND ?"
        for service, spans, size in connection.execute(held, (first, last)):
            self.shares.add({service: (spans, size)}, -1)
        connection.execute("DELETE FROM held WHERE number BETWEEN ? AND ?", (first, last))

    @staticmethod
    def _delete(connection: sqlite3.Connection, first: int, last: int) -> None:
        for table in ("blocks", "arrivals", "requests"):
            connection.execute(f"DELETE FROM {table} WHERE number BETWEEN ? AND ?", (first, last))
