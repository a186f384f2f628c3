"""Health numbers: calls, errors and durations of each operation of each service, by the minute.

They are counted from entry spans: those of servers and consumers, and the roots of traces. Counting happens in memory
as spans arrive; the result is written now and then, together with the position (in order of arrival) that it includes.
After a crash the next process counts the spans behind that position from the store, so no span counts twice and none
is missed. The numbers are kept when the traces they were counted from are deleted.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from obskit.collector.query import is_entry
from obskit.collector.store.database import Database
from obskit.collector.store.outbox import Outbox, Waiting
from obskit.collector.store.reading import Reader
from obskit.zipkin.model import Span, local_service

_MINUTE = 60_000_000  # microseconds
_PER_OCTAVE = 8  # buckets: a duration is known to 9 percent
_MOST_CELLS = 500_000
_PRUNE_EVERY = 10_000  # cells written between two looks at the table's size
_AT_ONCE = 32  # blocks counted in one transaction
_PLACE = "health numbers"  # the row of the positions table that says how far they are counted
_WORKLOAD, _POD = "k8s.deployment.name", "k8s.pod.name"  # tags that name where a span ran
_Key = tuple[int, str, str, str, str]  # minute, service, name, workload, pod
_WRITE = """
    INSERT OR REPLACE INTO cells (minute, digest, service, name, workload, pod, calls, errors, buckets)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_decode_buckets = msgspec.json.Decoder(dict[int, int]).decode


@dataclass
class Numbers:
    """Calls, errors, and a histogram of durations: bucket n holds those from 2**(n/8) microseconds on."""

    calls: int = 0
    errors: int = 0
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, other: Numbers) -> None:
        """Add other numbers to these."""
        self.calls += other.calls
        self.errors += other.errors
        self.buckets.update(other.buckets)

    @property
    def took(self) -> int:
        """About how many microseconds all of them took together."""
        return sum(count * duration_of(bucket + 0.5) for bucket, count in self.buckets.items())

    def percentile(self, part: float) -> int | None:
        """Return the duration (microseconds) that this part of the timed calls did not exceed; None without any."""
        wanted, seen = part * self.buckets.total(), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return duration_of(bucket + 0.5)
        return None


def bucket_of(duration: int) -> int:
    """Return the bucket of a duration in microseconds; 0 is in the first."""
    return int(math.log2(duration) * _PER_OCTAVE) if duration > 0 else 0


def duration_of(bucket: float) -> int:
    """Return the shortest duration, in microseconds, that a bucket holds."""
    return round(2 ** (bucket / _PER_OCTAVE))


class Cells:
    """The health numbers of a database."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._outbox = Outbox(database, reader, _PLACE)
        self._pending: dict[_Key, Numbers] | None = None  # what came after the place; None: the storage knows
        self._updating = threading.Lock()
        self._written = _PRUNE_EVERY  # since the last look at how many there are

    def update(self) -> None:
        """Count the spans that were stored since the last time."""
        with self._updating:
            while self._pending is None and self._update_some():
                pass
            try:
                with self._database.transaction() as connection:
                    self._write_pending(connection)
            except BaseException:
                self.forget()
                raise

    def note(self, spans: Iterable[Span]) -> None:
        """Count spans within the transaction that stores them, so that they need not be read again."""
        if self._pending is not None:
            _count(self._pending, spans)

    def forget(self) -> None:
        """Count from the store again: the noted spans may not have been stored."""
        self._pending = None

    def _write_pending(self, connection: sqlite3.Connection) -> None:
        """Write what was noted. No span may be stored meanwhile."""
        if self._pending:
            self._write(connection, self._pending)
        if self._pending is not None:
            self._outbox.move(connection, Waiting(*self._reader.end()))
        if self._pending is not None or not self._outbox.count():
            self._pending = {}

    def _write(self, connection: sqlite3.Connection, cells: dict[_Key, Numbers]) -> None:
        for key, numbers in cells.items():
            _write(connection, key, numbers)
        self._written += len(cells)
        if self._written >= _PRUNE_EVERY:
            self._written = 0
            _prune(connection)

    def _update_some(self) -> bool:
        """Count several blocks at a time: writing a cell costs more than counting its spans."""
        cells: dict[_Key, Numbers] = {}
        last: Waiting | None = None
        for _ in range(_AT_ONCE):
            waiting = self._outbox.next(last)
            if waiting is None:
                break
            _count(cells, waiting.spans)
            last = waiting
        if last is None:
            return False
        with self._database.transaction() as connection:
            self._write(connection, cells)
            self._outbox.move(connection, last)
        return True

    def between(self, first: int, last: int, service: str | None) -> dict[tuple[str, str], Numbers]:
        """Return the numbers of each service and name in the minutes between two times (microseconds)."""
        found: dict[tuple[str, str], Numbers] = {}
        for (its_service, name, *_), numbers in self.by_place(first, last, service).items():
            found.setdefault((its_service, name), Numbers()).add(numbers)
        return found

    def by_place(self, first: int, last: int, service: str | None) -> dict[tuple[str, str, str, str], Numbers]:
        """Return the same for each service, name, workload and pod; the last two are empty where spans do not say."""
        self.update()
        fields = "service, name, workload, pod, calls, errors, buckets"
        statement = f"SELECT {fields} FROM cells WHERE minute BETWEEN ? AND ?"
        minutes = (first // _MINUTE, last // _MINUTE)
        found: dict[tuple[str, str, str, str], Numbers] = {}
        for *key, calls, errors, buckets in self._database.rows(statement, *minutes):
            if service in {None, key[0]}:
                numbers = Numbers(calls, errors, Counter(_decode_buckets(buckets)))
                found.setdefault((key[0], key[1], key[2], key[3]), Numbers()).add(numbers)
        return found

    def by_minute(self, first: int, last: int) -> dict[str, dict[int, Numbers]]:
        """Return the numbers of each service by the minute (microseconds divided by 60 million)."""
        found: dict[str, dict[int, Numbers]] = {}
        for minute, service, _, numbers in self.by_operation(first, last):
            found.setdefault(service, {}).setdefault(minute, Numbers()).add(numbers)
        return found

    def by_operation(
        self, first: int, last: int, service: str | None = None
    ) -> Iterator[tuple[int, str, str, Numbers]]:
        """Yield the numbers of each minute, service and name, oldest first."""
        self.update()
        condition, values = ("", ()) if service is None else ("AND service = ?", (service,))
        statement = f"""
            SELECT minute, service, name, calls, errors, buckets FROM cells
            WHERE minute BETWEEN ? AND ? {condition} ORDER BY minute
        """
        for row in self._database.rows(statement, first // _MINUTE, last // _MINUTE, *values):
            yield row[0], row[1], row[2], Numbers(row[3], row[4], Counter(_decode_buckets(row[5])))

    def totals(self) -> list[tuple[str, int, int]]:
        """Return each service with its calls and errors in all stored minutes."""
        self.update()
        statement = "SELECT service, sum(calls), sum(errors) FROM cells GROUP BY service ORDER BY service"
        return [(str(service), int(calls), int(errors)) for service, calls, errors in self._database.rows(statement)]


def _count(cells: dict[_Key, Numbers], spans: Iterable[Span]) -> None:
    for span in spans:
        service = local_service(span)
        if service is None or span.timestamp is None or not is_entry(span):
            continue
        tags = span.tags
        key = span.timestamp // _MINUTE, service, span.name or "", tags.get(_WORKLOAD, ""), tags.get(_POD, "")
        numbers = cells.get(key)
        if numbers is None:
            numbers = cells[key] = Numbers()
        numbers.calls += 1
        numbers.errors += "error" in tags
        if span.duration:
            numbers.buckets[bucket_of(span.duration)] += 1


def _write(connection: sqlite3.Connection, key: _Key, numbers: Numbers) -> None:
    """Add to a cell. Its key is a digest, as names may be long."""
    minute, *texts = key
    digest = blake2b("\0".join(texts if any(texts[2:]) else texts[:2]).encode(), digest_size=16).digest()
    where = "FROM cells WHERE minute = ? AND digest = ?"
    row = connection.execute(f"SELECT calls, errors, buckets {where}", (minute, digest)).fetchone()
    if row:
        numbers.add(Numbers(row[0], row[1], Counter(_decode_buckets(row[2]))))
    values = (minute, digest, *texts, numbers.calls, numbers.errors, msgspec.json.encode(numbers.buckets))
    connection.execute(_WRITE, values)


def _prune(connection: sqlite3.Connection) -> None:
    """Delete the oldest cells where there are too many."""
    (count,) = connection.execute("SELECT count(*) FROM cells").fetchone()
    if count > _MOST_CELLS:
        oldest = "SELECT minute FROM cells ORDER BY minute LIMIT 1 OFFSET ?"
        connection.execute(f"DELETE FROM cells WHERE minute <= ({oldest})", (count - _MOST_CELLS,))
