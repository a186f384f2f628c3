"""Health numbers of whole hours, added up from their minutes once the hour is over.

A day of a hundred operations has 144,000 minutes that are not empty, but 240 hours of ten services. An hour is added up
by whoever asks first, or before that in spare time; when spans of it come late, it is dropped and added up again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from obskit.collector.store.database import Database
from obskit.collector.store.health_numbers import Minute, Numbers, decode_buckets

HOUR = 60  # minutes
FIVE = 5  # minutes that have a histogram of their own, for charts of a day
_LATE = 5  # minutes after its end in which spans of an hour still come: not worth adding up yet
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cell_hours (  -- sums of cells, see hours
    hour INTEGER NOT NULL, service TEXT NOT NULL,
    minutes BLOB NOT NULL,       -- of each minute with calls: its number, what it was like
    fives BLOB NOT NULL,         -- of each five minutes with calls: the first of them, calls, errors, buckets
    operations BLOB NOT NULL,    -- by name, workload and pod
    PRIMARY KEY (hour, service)
) WITHOUT ROWID
"""
_CELLS = "SELECT minute, service, name, workload, pod, calls, errors, buckets FROM cells WHERE minute BETWEEN ? AND ?"
_Buckets = dict[int, int]
_Key = TypeVar("_Key", bound=Hashable)


class Operation(NamedTuple):
    """The numbers of a name, workload and pod in an hour."""

    name: str
    workload: str
    pod: str
    calls: int
    errors: int
    buckets: _Buckets


_decode_minutes = msgspec.json.Decoder(list[tuple[int, Minute]]).decode
_decode_fives = msgspec.json.Decoder(list[tuple[int, int, int, _Buckets]]).decode
_decode_operations = msgspec.json.Decoder(list[Operation]).decode


class Hours:
    """The hours of a database. Any thread may read; ``forget`` is called within the writer's transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as connection:
            connection.execute(_SCHEMA)

    def within(self, first: int, last: int) -> range:
        """Return the hours that lie within minutes and are over, all of them added up."""
        over = (int(time.time()) // 60 - _LATE) // HOUR
        hours = range(-(-first // HOUR), min((last + 1) // HOUR, over))
        while self.add_ahead(hours):
            pass
        return hours

    def add_ahead(self, hours: range | None = None) -> bool:
        """Add up one hour of a range, or of all that are over; return False when none is missing."""
        if hours is None:
            hours = range((int(time.time()) // 60 - _LATE) // HOUR)
        hour = self._missing(hours)
        if hour is None:
            return False
        with self._database.transaction() as connection:  # no minute of it changes meanwhile
            rows = connection.execute(_CELLS, (hour * HOUR, hour * HOUR + HOUR - 1))
            values = [(hour, service, *columns) for service, columns in _added(rows).items()]
            connection.executemany("INSERT OR REPLACE INTO cell_hours VALUES (?, ?, ?, ?, ?)", values)
        return True

    def _missing(self, hours: range) -> int | None:
        """Return the newest hour that has minutes and is not added up."""
        known = {hour for (hour,) in self._rows("DISTINCT hour", hours)}
        after = "SELECT max(minute) FROM cells WHERE minute BETWEEN ? AND ?"
        end = hours.stop
        while end > hours.start:
            ((minute,),) = self._database.rows(after, hours.start * HOUR, end * HOUR - 1)
            if minute is None:
                return None
            end = minute // HOUR
            if end not in known:
                return int(end)
        return None

    def forget(self, connection: sqlite3.Connection, minutes: Iterable[int]) -> None:
        """Drop the hours of minutes that changed."""
        hours = {minute // HOUR for minute in minutes}
        connection.executemany("DELETE FROM cell_hours WHERE hour = ?", [(hour,) for hour in hours])

    def forget_until(self, connection: sqlite3.Connection, minute: int) -> None:
        """Drop the hours up to that of a minute, as these were deleted."""
        connection.execute("DELETE FROM cell_hours WHERE hour <= ?", (minute // HOUR,))

    def minutes(self, hours: range) -> Iterator[tuple[str, int, Minute]]:
        """Yield what each minute of each service was like, in short."""
        for service, minutes in self._rows("service, minutes", hours):
            for minute, its in _decode_minutes(minutes):
                yield service, minute, its

    def fives(self, hours: range, service: str | None) -> Iterator[tuple[str, int, int, int, _Buckets]]:
        """Yield calls, errors and buckets of a service or of all, for five minutes at a time; the first is told."""
        for its_service, fives in self._rows("service, fives", hours, service):
            for five in _decode_fives(fives):
                yield its_service, *five

    def operations(self, hours: range, service: str | None) -> Iterator[tuple[str, int, Operation]]:
        """Yield the operations of a service or of all, with the hour."""
        for its_service, hour, operations in self._rows("service, hour, operations", hours, service):
            for operation in _decode_operations(operations):
                yield its_service, hour, operation

    def _rows(self, columns: str, hours: range, service: str | None = None) -> list[tuple[Any, ...]]:
        condition, values = ("", ()) if service is None else (" AND service = ?", (service,))
        statement = f"SELECT {columns} FROM cell_hours WHERE hour >= ? AND hour < ?{condition}"
        return self._database.rows(statement, hours.start, hours.stop, *values)


def _added(rows: Iterable[tuple[int, str, str, str, str, int, int, bytes]]) -> dict[str, tuple[bytes, bytes, bytes]]:
    """Return the columns of each service."""
    minutes: dict[str, dict[int, Numbers]] = {}
    fives: dict[str, dict[int, Numbers]] = {}
    operations: dict[str, dict[tuple[str, str, str], Numbers]] = {}
    for minute, service, name, workload, pod, calls, errors, encoded in rows:
        buckets = decode_buckets(encoded).items()
        for numbers in (
            _of(minutes.setdefault(service, {}), minute),
            _of(fives.setdefault(service, {}), minute - minute % FIVE),
            _of(operations.setdefault(service, {}), (name, workload, pod)),
        ):
            numbers.count(calls, errors, buckets)
    return {service: _encoded(its, fives[service], operations[service]) for service, its in minutes.items()}


def _of(numbers: dict[_Key, Numbers], key: _Key) -> Numbers:
    found = numbers.get(key)
    if found is None:
        found = numbers[key] = Numbers()
    return found


def _encoded(
    minutes: dict[int, Numbers], fives: dict[int, Numbers], operations: dict[tuple[str, str, str], Numbers]
) -> tuple[bytes, bytes, bytes]:
    return (
        msgspec.json.encode([(minute, its.minute) for minute, its in sorted(minutes.items())]),
        msgspec.json.encode([(five, its.calls, its.errors, its.buckets) for five, its in fives.items()]),
        msgspec.json.encode([(*key, its.calls, its.errors, its.buckets) for key, its in operations.items()]),
    )
