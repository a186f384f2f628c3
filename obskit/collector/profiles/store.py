"""The store of profiles: by service, type and time; the oldest make room, but a service keeps its share."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

from obskit.collector.options import DEFAULTS
from obskit.collector.profiles.stacks import Stacks, pack, unpack
from obskit.collector.profiles.sums import OUTLIVED, ProfileSums
from obskit.collector.store.blocks import Damaged, low_id
from obskit.collector.store.database import Database
from obskit.zipkin.ids import normalise_trace_id

MOST_MERGED = 200
_OVERHEAD = 200  # bytes of a row and its places in the indexes
_SCHEMA = """
CREATE TABLE IF NOT EXISTS profiles (
    number INTEGER PRIMARY KEY,  -- order of arrival
    arrived INTEGER NOT NULL,    -- epoch seconds
    digest BLOB NOT NULL UNIQUE, -- of all that follows
    service TEXT NOT NULL,
    kind TEXT NOT NULL,          -- cpu, wall, inuse_space
    unit TEXT NOT NULL,
    first INTEGER NOT NULL,      -- when it began and ended, microseconds
    last INTEGER NOT NULL,
    size INTEGER NOT NULL,       -- bytes that it takes here
    data BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS profiles_by_service ON profiles (service, kind, first, last);
CREATE TABLE IF NOT EXISTS profile_traces (  -- which profiles have samples of a trace
    trace INTEGER NOT NULL,      -- the low 64 bits of its id
    number INTEGER NOT NULL,
    PRIMARY KEY (trace, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS profile_traces_by_number ON profile_traces (number)
"""


_SIZES = """
SELECT service, sum(size) FROM
(SELECT service, size FROM profiles UNION ALL SELECT service, size FROM profile_sums) GROUP BY service
"""


@dataclass(frozen=True)
class Kept:
    """What is known of a profile besides its samples. Times are microseconds."""

    service: str
    kind: str
    unit: str
    first: int
    last: int


class ProfileStore:
    """Profiles in the database of the spans. Any thread may call it. Raises StoreError."""

    def __init__(
        self, database: Database, max_bytes: int = DEFAULTS.max_profile_bytes, max_age: float = float("inf")
    ) -> None:
        self._database = database
        self._max_bytes, self._max_age = max_bytes, max_age
        self._writing = threading.Lock()
        with database.transaction() as connection:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
        self.sums = ProfileSums(database)

    def add(self, kept: Kept, stacks: Stacks) -> bool:
        """Store a profile; return False for one that is there already."""
        data = pack(stacks)
        digest = blake2b(f"{kept}".encode() + data, digest_size=16).digest()
        row = (int(time.time()), digest, kept.service, kept.kind, kept.unit, kept.first, kept.last)
        with self._writing, self._database.transaction() as connection:
            statement = "INSERT OR IGNORE INTO profiles VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            cursor = connection.execute(statement, (*row, len(data) + _OVERHEAD, data))
            if cursor.rowcount < 1:
                return False
            parts = [(trace, cursor.lastrowid) for trace in _traces(stacks)]
            connection.executemany("INSERT INTO profile_traces VALUES (?, ?)", parts)
            self._make_room(connection)
        return True

    def _make_room(self, connection: sqlite3.Connection) -> None:
        expired = time.time() - self._max_age
        rows = connection.execute("SELECT number FROM profiles WHERE arrived < ?", (expired,)).fetchall()
        for (number,) in rows:
            _delete(connection, number)
        sizes = Counter(dict(connection.execute(_SIZES)))
        excess = sum(sizes.values()) - self._max_bytes
        if excess > 0:
            self._make_room_for(connection, excess, sizes)
        if rows or excess > 0:
            connection.execute(OUTLIVED)

    def _make_room_for(self, connection: sqlite3.Connection, excess: int, sizes: Counter[str]) -> None:
        floor = self._max_bytes // (2 * len(sizes))
        oldest = connection.execute("SELECT number, service, size FROM profiles ORDER BY number").fetchall()
        for number, service, size in oldest:
            if excess > 0 and sizes[service] > floor:
                _delete(connection, number)
                sizes[service] -= size
                excess -= size

    def kinds(self) -> dict[str, list[tuple[str, str]]]:
        """Return the types of profiles that each service has, with their units."""
        found: dict[str, list[tuple[str, str]]] = {}
        statement = "SELECT DISTINCT service, kind, unit FROM profiles ORDER BY service, kind"
        for service, kind, unit in self._database.rows(statement):
            found.setdefault(service, []).append((kind, unit))
        return found

    def extent(self, service: str, kind: str) -> tuple[int, int, int]:
        """Return how many profiles there are, when the first began and the last ended; zeros where there is none."""
        statement = "SELECT count(*), min(first), max(last) FROM profiles WHERE service = ? AND kind = ?"
        ((count, first, last),) = self._database.rows(statement, service, kind)
        return count, first or 0, last or 0

    def numbers(self, service: str, kind: str, first: int, last: int, trace: str = "") -> list[int]:
        """Return the profiles of a time, the newest first; those with samples of a ``trace`` alone."""
        statement = "SELECT number FROM profiles WHERE service = ? AND kind = ? AND last >= ? AND first <= ?"
        if trace:
            statement += f" AND number IN (SELECT number FROM profile_traces WHERE trace = {low_id(trace)})"
        rows = self._database.rows(f"{statement} ORDER BY first DESC", service, kind, first, last)
        return [number for (number,) in rows]

    def of_trace(self, trace: str) -> list[tuple[str, str]]:
        """Return the services and types of the profiles that have samples of a trace."""
        statement = """
            SELECT DISTINCT service, kind FROM profiles JOIN profile_traces USING (number) WHERE trace = ? ORDER BY 1, 2
        """
        return [(service, kind) for service, kind in self._database.rows(statement, low_id(trace))]

    def read(self, numbers: list[int]) -> Iterator[Stacks]:
        """Return the samples of profiles, each in its turn; what has made room, or is damaged, is left out."""
        for number in numbers:
            for (data,) in self._database.rows("SELECT data FROM profiles WHERE number = ?", number):
                with suppress(Damaged):
                    yield unpack(data)


def _delete(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("DELETE FROM profile_traces WHERE number = ?", (number,))
    connection.execute("DELETE FROM profiles WHERE number = ?", (number,))


def _traces(stacks: Stacks) -> set[int]:
    found: set[int] = set()
    for labels in stacks.labels:
        for name, value in labels:
            if name == "trace_id":
                try:
                    found.add(low_id(normalise_trace_id(value.lower())))
                except ValueError:
                    continue
    return found
