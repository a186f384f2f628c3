"""The store of lines: what it takes is there once, until others need its room.

Each service has blocks of its own (see ``blocks``). The oldest make room, but a service keeps a share of it: one that
is noisy cannot push out the few lines of the others.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from obskit.collector.lines.blocks import MOST_BYTES, MOST_LINES, Block, pack, slices, traces_of, unpack
from obskit.collector.lines.line import Line
from obskit.collector.options import DEFAULTS
from obskit.collector.store.blocks import Damaged
from obskit.collector.store.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS line_blocks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival; never used again, so a search sees what has gone
    arrived INTEGER NOT NULL,    -- epoch seconds
    service TEXT NOT NULL,
    lines INTEGER NOT NULL,
    size INTEGER NOT NULL,       -- bytes that it takes here
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    first INTEGER NOT NULL,      -- times of lines, microseconds
    newest INTEGER NOT NULL,
    worst INTEGER NOT NULL,      -- severity
    small INTEGER NOT NULL,      -- 1 when it will be merged with the next ones
    counts BLOB NOT NULL,        -- lines by minute and severity
    data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS line_blocks_by_time ON line_blocks (newest, first, worst, service);
CREATE INDEX IF NOT EXISTS line_blocks_by_id ON line_blocks (last_id, first_id);
CREATE INDEX IF NOT EXISTS line_blocks_to_merge ON line_blocks (service, lines, size) WHERE small = 1;
CREATE TABLE IF NOT EXISTS line_traces (  -- which blocks have lines of a trace
    trace INTEGER NOT NULL,      -- the low 64 bits of its id
    number INTEGER NOT NULL,
    PRIMARY KEY (trace, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS line_totals (last_id INTEGER NOT NULL, dropped INTEGER NOT NULL);
INSERT INTO line_totals SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM line_totals)
"""
_INSERT = "INSERT INTO line_blocks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_MOST_SMALL = 32  # blocks of a service before they are merged
_DROPPED_AT_ONCE = 20  # blocks
_MOST_MARKS = 500  # parameters of a statement; SQLite takes 999 at least
_MOST_KNOWN = 50_000  # lines: one that is sent again soon is found among them


class LineStore:
    """Lines in the database of the spans. Any thread may call it. Raises StoreError."""

    def __init__(
        self, database: Database, max_bytes: int = DEFAULTS.max_line_bytes, max_age: float = float("inf")
    ) -> None:
        self.database = database
        self.max_bytes = max_bytes
        self._max_age = max_age
        self._writing = threading.Lock()
        with database.transaction() as connection:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
        self._sizes: Counter[str] = Counter()
        self._last_id = 0
        self._known: OrderedDict[int, None] = OrderedDict()
        self._reload()

    def add(self, lines: Iterable[Line]) -> int:
        """Store all of the lines, or none and raise StoreError; return how many were not there already."""
        with self._writing:
            try:
                return self._add(lines)
            except BaseException:
                self._reload()  # what was not written is not remembered
                raise

    def _add(self, lines: Iterable[Line]) -> int:
        new: dict[str, list[Line]] = {}
        for identity, line in _identified(lines):
            if identity not in self._known:
                self._last_id += 1
                self._known[identity] = None
                new.setdefault(line.service, []).append(msgspec.structs.replace(line, id=self._last_id))
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        if new:
            with self.database.transaction() as connection:
                connection.execute("UPDATE line_totals SET last_id = ?", (self._last_id,))
                for service, its in new.items():
                    for part in slices(its):
                        self._insert(connection, service, pack(part))
                    self._merge(connection, service)
                self._make_room(connection)
        return sum(map(len, new.values()))

    def _insert(self, connection: sqlite3.Connection, service: str, block: Block) -> None:
        row = (int(time.time()), service, block.lines, block.size, block.first_id, block.last_id, block.first)
        cursor = connection.execute(
            _INSERT, (*row, block.newest, block.worst, block.is_small, block.counts, block.data)
        )
        parts = [(trace, cursor.lastrowid) for trace in block.traces]
        connection.executemany("INSERT INTO line_traces VALUES (?, ?)", parts)
        self._sizes[service] += block.size

    def _merge(self, connection: sqlite3.Connection, service: str) -> None:
        """Make one block of the small ones of a service once there are many, or enough for a whole one."""
        statement = "SELECT count(*), sum(lines), sum(size) FROM line_blocks WHERE service = ? AND small = 1"
        blocks, lines, size = connection.execute(statement, (service,)).fetchone()
        if blocks < 2 or (blocks < _MOST_SMALL and lines < MOST_LINES and size < MOST_BYTES // 4):
            return
        statement = "SELECT number, size FROM line_blocks WHERE service = ? AND small = 1 ORDER BY number"
        merged: list[Line] = []
        for number, size in connection.execute(statement, (service,)).fetchall():
            merged += self._take_out(connection, service, number, size)
        if merged:
            self._insert(connection, service, pack(merged))

    # --- making room --------------------------------------------------------------------------------------

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Delete what is too old, then the oldest blocks of services that have more than their share."""
        expired = time.time() - self._max_age
        while expired > 0 and self._drop(connection, "arrived < ?", expired):
            pass
        while (excess := sum(self._sizes.values()) - self.max_bytes) > 0:
            floor = self.max_bytes // (2 * len(self._sizes))
            rich = [service for service, size in self._sizes.items() if size > floor][:_MOST_MARKS]
            condition = f"service IN ({','.join('?' * len(rich))})"
            self._drop(connection, condition, *rich, excess=excess, floor=floor)

    def _drop(
        self, connection: sqlite3.Connection, condition: str, *values: object, excess: int = 0, floor: int = 0
    ) -> int:
        """Delete some of the oldest blocks: until ``excess`` bytes are gone, or a service is at the floor."""
        columns = "number, service, size, lines"
        statement = f"SELECT {columns} FROM line_blocks WHERE {condition} ORDER BY number LIMIT {_DROPPED_AT_ONCE}"
        dropped = 0
        for number, service, size, lines in connection.execute(statement, values).fetchall():
            self._take_out(connection, service, number, size)
            dropped += lines
            excess -= size
            if floor and (excess <= 0 or self._sizes[service] <= floor):
                break
        connection.execute("UPDATE line_totals SET dropped = dropped + ?", (dropped,))
        return dropped

    def _take_out(self, connection: sqlite3.Connection, service: str, number: int, size: int) -> list[Line]:
        """Delete a block; return the lines that it had, none where it is damaged."""
        statement = "SELECT data FROM line_blocks WHERE number = ?"
        try:
            lines = unpack(connection.execute(statement, (number,)).fetchone()[0])
            parts = [(trace, number) for trace in traces_of(lines)]
            connection.executemany("DELETE FROM line_traces WHERE trace = ? AND number = ?", parts)
        except Damaged:
            lines = []
            connection.execute("DELETE FROM line_traces WHERE number = ?", (number,))
        connection.execute("DELETE FROM line_blocks WHERE number = ?", (number,))
        self._sizes[service] -= size
        if self._sizes[service] <= 0:
            del self._sizes[service]
        return lines

    # --- what is known of it ------------------------------------------------------------------------------

    def services(self) -> list[str]:
        """Return the services that have lines here, sorted."""
        return sorted(self._sizes)

    def totals(self) -> tuple[int, int, int]:
        """Return how many lines are stored, how many were evicted, and the oldest one's time; 0 without one."""
        ((lines, oldest),) = self.database.rows("SELECT coalesce(sum(lines), 0), min(first) FROM line_blocks")
        ((dropped,),) = self.database.rows("SELECT dropped FROM line_totals")
        return lines, dropped, oldest or 0

    def extent(self) -> tuple[int, int]:
        """Return the times of the oldest and of the newest line; 0 where there is none."""
        ((oldest, newest),) = self.database.rows("SELECT min(first), max(newest) FROM line_blocks")
        return oldest or 0, newest or 0

    @property
    def last_id(self) -> int:
        """The id of the line that came last."""
        return self._last_id

    def prometheus(self) -> str:
        """Return how many lines are stored and how many had to make room, for Prometheus."""
        stored, dropped, _ = self.totals()
        return (
            f"# HELP obskit_lines_stored log lines that are stored\n# TYPE obskit_lines_stored gauge\n"
            f"obskit_lines_stored {stored}\n# HELP obskit_lines_dropped_total log lines that had to make room\n"
            f"# TYPE obskit_lines_dropped_total counter\nobskit_lines_dropped_total {dropped}\n"
        )

    def _reload(self) -> None:
        ((self._last_id,),) = self.database.rows("SELECT last_id FROM line_totals")
        rows = self.database.rows("SELECT service, sum(size) FROM line_blocks GROUP BY service")
        self._sizes = Counter(dict(rows))
        self._known = OrderedDict()
        blocks = self.database.rows("SELECT number FROM line_blocks ORDER BY number DESC LIMIT 20")
        for (number,) in reversed(blocks):
            for identity, _ in _identified(self._lines_of(number)):
                self._known[identity] = None

    def _lines_of(self, number: int) -> Sequence[Line]:
        try:
            return [
                msgspec.structs.replace(line, id=0)
                for (data,) in self.database.rows("SELECT data FROM line_blocks WHERE number = ?", number)
                for line in unpack(data)
            ]
        except Damaged:
            return []


def _identified(lines: Iterable[Line]) -> Iterable[tuple[int, Line]]:
    """Return each line with what tells it from others: what its sender calls it, else all of it.

    A message may hold the same line several times, a message that is sent again holds it as often.
    """
    seen: Counter[int] = Counter()
    for line in lines:
        identity = hash((line.service, line.time, line.key) if line.key else msgspec.json.encode(line))
        seen[identity] += 1
        yield (identity if seen[identity] == 1 else hash((identity, seen[identity]))), line
