"""Health numbers: calls, errors and durations of each operation of each service, by the minute.

They are counted from entry spans: those of servers and consumers, and the roots of traces. Counting happens in memory
as spans arrive; the result is written now and then, together with the position (in order of arrival) that it includes.
After a crash the next process counts the spans behind that position from the store, so no span counts twice and none
is missed. The numbers are kept when the traces they were counted from are deleted.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec

from obskit.collector.store.database import Database
from obskit.collector.store.entries import Entries, entries_of, joined
from obskit.collector.store.health_numbers import Minute, Numbers, decode_buckets
from obskit.collector.store.hours import FIVE, HOUR, Hours
from obskit.collector.store.outbox import Outbox, Waiting
from obskit.collector.store.reading import Reader

_MINUTE = 60_000_000  # microseconds
_MOST_CELLS = 500_000
_PRUNE_EVERY = 10_000  # cells written between two looks at the table's size
_AT_ONCE = 32  # blocks counted in one transaction
_PLACE = "health numbers"  # the row of the positions table that says how far they are counted
_MOST_NOTED = 4_000  # requests in memory that are not counted yet
_UNTIMED = -1  # the bucket of what has no duration
_Key = tuple[int, str, str, str, str]  # minute, service, name, workload, pod
_WRITE = """
    INSERT OR REPLACE INTO cells (minute, digest, service, name, workload, pod, calls, errors, buckets)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_MOST_MINUTES = 300  # that are kept decoded


class Cells:
    """The health numbers of a database."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._outbox = Outbox(database, reader, _PLACE)
        self._pending: dict[_Key, Numbers] | None = None  # what came after the place; None: the storage knows
        self._noted: list[Entries] = []  # what is not counted there yet: many are alike, and counted together
        self._in_noted = 0
        self._updating = threading.Lock()
        self.hours = Hours(database)
        self._recent: OrderedDict[int, dict[str, Numbers]] = OrderedDict()  # minutes by service
        self._changes = 0  # of minutes, since the start
        self._caching = threading.Lock()
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

    def note(self, entries: Entries) -> None:
        """Count requests within the transaction that stores their spans, so that these need not be read again."""
        if self._pending is not None:
            self._noted.append(entries)
            self._in_noted += len(entries.times)
            if self._in_noted > _MOST_NOTED:
                self._count_noted(self._pending)

    def forget(self) -> None:
        """Count from the store again: the noted spans may not have been stored."""
        self._pending = None
        self._noted, self._in_noted = [], 0

    def _count_noted(self, pending: dict[_Key, Numbers]) -> None:
        _count(pending, joined(self._noted))
        self._noted, self._in_noted = [], 0

    def _write_pending(self, connection: sqlite3.Connection) -> None:
        """Write what was noted. No span may be stored meanwhile."""
        if self._noted and self._pending is not None:
            self._count_noted(self._pending)
        if self._pending:
            self._write(connection, self._pending)
        if self._pending is not None:
            self._outbox.move(connection, Waiting(*self._reader.end()))
        if self._pending is not None or not self._outbox.count():
            self._pending = {}

    def _write(self, connection: sqlite3.Connection, cells: dict[_Key, Numbers]) -> None:
        for key, numbers in cells.items():
            _write(connection, key, numbers)
        changed = {minute for minute, *_ in cells}
        self.hours.forget(connection, changed)
        self._forget(changed)
        self._written += len(cells)
        if self._written >= _PRUNE_EVERY:
            self._written = 0
            self._prune(connection)

    def _forget(self, minutes: Iterable[int]) -> None:
        """Remove minutes from the cache, and keep out what is being read of them."""
        with self._caching:
            self._changes += 1
            for minute in minutes:
                self._recent.pop(minute, None)

    def _prune(self, connection: sqlite3.Connection) -> None:
        """Delete the oldest cells where there are too many."""
        (count,) = connection.execute("SELECT count(*) FROM cells").fetchone()
        if count > _MOST_CELLS:
            oldest = "SELECT minute FROM cells ORDER BY minute LIMIT 1 OFFSET ?"
            (last,) = connection.execute(oldest, (count - _MOST_CELLS,)).fetchone()
            connection.execute("DELETE FROM cells WHERE minute <= ?", (last,))
            self.hours.forget_until(connection, last)
            self._forget(list(self._recent))

    def _update_some(self) -> bool:
        """Count several blocks at a time: writing a cell costs more than counting its spans."""
        cells: dict[_Key, Numbers] = {}
        last: Waiting | None = None
        for _ in range(_AT_ONCE):
            waiting = self._outbox.next(last)
            if waiting is None:
                break
            _count(cells, entries_of(waiting.spans))
            last = waiting
        if last is None:
            return False
        with self._database.transaction() as connection:
            self._write(connection, cells)
            self._outbox.move(connection, last)
        return True

    # --- reading ------------------------------------------------------------------------------------------

    def between(self, first: int, last: int, service: str | None) -> dict[tuple[str, str], Numbers]:
        """Return the numbers of each service and name in the minutes between two times (microseconds)."""
        found: dict[tuple[str, str], Numbers] = {}
        for (its_service, name, *_), numbers in self.by_place(first, last, service).items():
            found.setdefault((its_service, name), Numbers()).add(numbers)
        return found

    def by_place(self, first: int, last: int, service: str | None) -> dict[tuple[str, str, str, str], Numbers]:
        """Return the same for each service, name, workload and pod; the last two are empty where spans do not say."""
        self.update()
        found: dict[tuple[str, str, str, str], Numbers] = {}
        hours, edges = self._parts(first // _MINUTE, last // _MINUTE)
        for its_service, _, one in self.hours.operations(hours, service):
            numbers = found.setdefault((its_service, one.name, one.workload, one.pod), Numbers())
            numbers.count(one.calls, one.errors, one.buckets.items())
        condition, values = ("", ()) if service is None else ("AND service = ?", (service,))
        fields = "service, name, workload, pod, calls, errors, buckets"
        statement = f"SELECT {fields} FROM cells WHERE minute BETWEEN ? AND ? {condition}"
        for edge in edges:
            for row in self._database.rows(statement, edge.start, edge.stop - 1, *values):
                numbers = found.setdefault((row[0], row[1], row[2], row[3]), Numbers())
                numbers.count(row[4], row[5], decode_buckets(row[6]).items())
        return found

    def by_minute(self, first: int, last: int) -> dict[str, dict[int, Minute]]:
        """Return what each minute (microseconds divided by 60 million) of each service was like."""
        self.update()
        found: dict[str, dict[int, Minute]] = {}
        hours, edges = self._parts(first // _MINUTE, last // _MINUTE)
        for service, minute, its in self.hours.minutes(hours):
            found.setdefault(service, {})[minute] = its
        for minute, services in self._minutes(edges):
            for service, numbers in services.items():
                found.setdefault(service, {})[minute] = numbers.minute
        return found

    def in_steps(self, first: int, last: int, step: int, service: str | None = None) -> dict[str, list[Numbers]]:
        """Return the numbers of each service in steps of so many minutes; ``first`` and ``last`` are minutes.

        Steps of whole hours must begin with an hour. Hours are read where the steps are of five minutes or such.
        """
        self.update()
        found: dict[str, list[Numbers]] = {}

        def numbers_of(its_service: str, minute: int) -> Numbers:
            steps = found.get(its_service)
            if steps is None:
                steps = found[its_service] = [Numbers() for _ in range(first, last + 1, step)]
            return steps[(minute - first) // step]

        is_coarse = step % FIVE == 0 == first % FIVE
        hours, edges = self._parts(first, last) if is_coarse else (range(0), [range(first, last + 1)])
        if step % HOUR:
            for its_service, minute, calls, errors, buckets in self.hours.fives(hours, service):
                numbers_of(its_service, minute).count(calls, errors, buckets.items())
        else:
            for its_service, hour, one in self.hours.operations(hours, service):
                numbers_of(its_service, hour * HOUR).count(one.calls, one.errors, one.buckets.items())
        for minute, services in self._minutes(edges):
            for its_service, numbers in services.items():
                if service in {None, its_service}:
                    numbers_of(its_service, minute).add(numbers)
        return found

    def oldest(self) -> int:
        """Return the first minute that has numbers; 0 if none has."""
        self.update()
        ((minute,),) = self._database.rows("SELECT min(minute) FROM cells")
        return minute or 0

    def _parts(self, first: int, last: int) -> tuple[range, list[range]]:
        """Return the whole hours of some minutes, and the minutes before and behind these."""
        hours = self.hours.within(first, last)
        if not hours:
            return hours, [range(first, last + 1)]
        return hours, [range(first, hours.start * HOUR), range(hours.stop * HOUR, last + 1)]

    def _minutes(self, edges: list[range]) -> Iterator[tuple[int, dict[str, Numbers]]]:
        """Yield the numbers of services in minutes that have some. They must not be changed."""
        for edge in edges:
            if len(edge) > _MOST_MINUTES:  # a clock that is wrong by years
                yield from self._read(edge.start, edge.stop - 1).items()
            elif edge:
                yield from self._cached(edge)

    def _cached(self, edge: range) -> Iterator[tuple[int, dict[str, Numbers]]]:
        with self._caching:
            changes = self._changes
            found = {minute: self._recent[minute] for minute in edge if minute in self._recent}
        missing = [minute for minute in edge if minute not in found]
        if missing:
            read = self._read(missing[0], missing[-1])
            new = {minute: read.get(minute, {}) for minute in missing}
            found |= new
            with self._caching:
                if changes == self._changes:
                    self._recent.update(new)
                while len(self._recent) > _MOST_MINUTES:
                    self._recent.popitem(last=False)
        yield from found.items()

    def _read(self, first: int, last: int) -> dict[int, dict[str, Numbers]]:
        statement = "SELECT minute, service, calls, errors, buckets FROM cells WHERE minute BETWEEN ? AND ?"
        found: dict[int, dict[str, Numbers]] = {}
        for minute, service, calls, errors, buckets in self._database.rows(statement, first, last):
            numbers = found.setdefault(minute, {}).setdefault(service, Numbers())
            numbers.count(calls, errors, decode_buckets(buckets).items())
        return found

    def totals(self) -> list[tuple[str, int, int]]:
        """Return each service with its calls and errors in all stored minutes."""
        self.update()
        statement = "SELECT service, sum(calls), sum(errors) FROM cells GROUP BY service ORDER BY service"
        return [(str(service), int(calls), int(errors)) for service, calls, errors in self._database.rows(statement)]


def _count(cells: dict[_Key, Numbers], entries: Entries) -> None:
    minutes = [time // _MINUTE for time in entries.times]
    timed = [bucket if took else _UNTIMED for took, bucket in zip(entries.took, entries.buckets, strict=True)]
    where = [entries.workloads, entries.pods] if any(entries.workloads) or any(entries.pods) else []
    alike = Counter(zip(minutes, entries.failed, timed, entries.services, entries.names, *where, strict=True))
    for (minute, failed, bucket, service, name, *its), number in alike.items():
        if service:
            workload, pod = its or ("", "")
            numbers = cells.get(place := (minute, service, name, workload, pod))
            if numbers is None:
                numbers = cells[place] = Numbers()
            numbers.count(number, number * failed, () if bucket == _UNTIMED else ((bucket, number),))


def _write(connection: sqlite3.Connection, key: _Key, numbers: Numbers) -> None:
    """Add to a cell. Its key is a digest, as names may be long."""
    minute, *texts = key
    digest = blake2b("\0".join(texts if any(texts[2:]) else texts[:2]).encode(), digest_size=16).digest()
    where = "FROM cells WHERE minute = ? AND digest = ?"
    row = connection.execute(f"SELECT calls, errors, buckets {where}", (minute, digest)).fetchone()
    if row:
        numbers.add(Numbers(row[0], row[1], Counter(decode_buckets(row[2]))))
    values = (minute, digest, *texts, numbers.calls, numbers.errors, msgspec.json.encode(numbers.buckets))
    connection.execute(_WRITE, values)
