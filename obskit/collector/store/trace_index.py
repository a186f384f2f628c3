"""Which blocks have spans of a trace: rows in the database, and in memory what came since they were written.

The ids of traces are random, so a row for each would change a page of the database for each. They are written for many
blocks at once, in order; what a crash leaves unwritten is read from the blocks.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from obskit.collector.store.blocks import trace_numbers
from obskit.collector.store.database import Database

_AT_ONCE = 500  # parameters of a statement; SQLite takes 999 at least
_MOST_UNWRITTEN = 16_000  # traces of blocks; in memory, some 200 bytes each
_INSERT = "INSERT OR IGNORE INTO parts VALUES (?, ?)"
_UNWRITTEN = """
    SELECT number, last, traces FROM blocks
    WHERE number >= coalesce((SELECT max(number) FROM blocks WHERE number <= ?1), 0) AND last > ?1 ORDER BY number
"""
_TAIL_BITS = 0xFFFFFFFF


class TraceIndex:
    """The index of a database. Any thread may read; changes are made within transactions of the writer's.

    ``reload`` when one was rolled back.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._written = 0  # the number of the last block whose rows are written
        self._unwritten: dict[int, tuple[int, ...]] = {}
        self._count = 0  # of numbers in these

    def reload(self) -> None:
        """Load what the database holds."""
        ((self._written,),) = self._database.rows("SELECT number FROM indexed")
        self._unwritten, self._count = {}, 0
        for number, _, traces in self._database.rows(_UNWRITTEN, self._written):
            self.add(number, trace_numbers(traces))

    def numbers(self, traces: Sequence[int]) -> dict[int, list[int]]:
        """Return the numbers of the blocks of each trace, in order; traces that are not stored are missing."""
        unwritten = self._unwritten  # before the rows: what is written in the meantime is in both
        recent = {trace: unwritten[trace] for trace in traces if trace in unwritten}
        found: dict[int, list[int]] = defaultdict(list)
        for start in range(0, len(traces), _AT_ONCE):
            some = traces[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            statement = f"SELECT trace, number FROM parts WHERE trace IN ({marks}) ORDER BY number"
            for trace, number in self._database.rows(statement, *some):
                found[trace].append(number)
        for trace, numbers in recent.items():
            found[trace] = sorted({*found[trace], *numbers})
        return found

    def ending_with(self, bits: int) -> Iterator[int]:
        """Yield the traces whose ids end with these 32 bits, the newest first."""
        yield from [trace for trace in reversed(list(self._unwritten)) if trace & _TAIL_BITS == bits]
        statement = f"SELECT trace FROM parts WHERE trace & {_TAIL_BITS} = ? ORDER BY number DESC LIMIT 1"
        yield from (trace for (trace,) in self._database.rows(statement, bits))

    def add(self, number: int, traces: Iterable[int]) -> None:
        """Note which traces came with a block."""
        for trace in traces:
            self._unwritten[trace] = (*self._unwritten.get(trace, ()), number)
            self._count += 1

    def write(self, connection: sqlite3.Connection) -> None:
        """Write the rows of all blocks, once they are enough."""
        if self._count >= _MOST_UNWRITTEN:
            self.write_all(connection)

    def write_all(self, connection: sqlite3.Connection) -> None:
        """Write the rows of all blocks."""
        rows = []
        for number, last, traces in connection.execute(_UNWRITTEN, (self._written,)).fetchall():
            rows += [(trace, number) for trace in trace_numbers(traces)]
            self._written = max(self._written, last)
        connection.executemany(_INSERT, sorted(rows))
        connection.execute("UPDATE indexed SET number = ?", (self._written,))
        self._unwritten, self._count = {}, 0

    def remove(self, connection: sqlite3.Connection, traces: Iterable[int], first: int, last: int) -> None:
        """Record that blocks in a range of numbers no longer have spans of these traces."""
        ends = [(trace, first, last) for trace in traces]
        if first <= self._written:
            connection.executemany("DELETE FROM parts WHERE trace = ? AND number BETWEEN ? AND ?", ends)
        for trace in traces if last > self._written else ():
            left = tuple(number for number in self._unwritten.pop(trace, ()) if not first <= number <= last)
            if left:
                self._unwritten[trace] = left

    def join(self, connection: sqlite3.Connection, traces: Iterable[int], first: int, last: int) -> None:
        """Write the rows of a block that joins an earlier one, where only those of the earlier one are written."""
        if first <= self._written < last:
            connection.executemany(_INSERT, [(trace, first) for trace in sorted(traces)])
