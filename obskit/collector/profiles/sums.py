"""Profiles of a service and type, added up by the hour in which they began.

What a page shows of a day is the sum of 24 parts and of the profiles at both ends, not of a thousand profiles. The part
of an hour that is over is made by whoever asks first, or before that in spare time. It says of how many profiles it is,
and is made anew when there are others.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from obskit.collector.profiles.flame import version_of
from obskit.collector.profiles.stacks import Labels, Part, Stacks, Sums, unpack
from obskit.collector.store.blocks import Damaged
from obskit.collector.store.database import Database

_HOUR = 3_600_000_000  # microseconds
_LATE = 300_000_000  # after its end, in which profiles of an hour still come
_PATIENCE = 0.6  # seconds of CPU, after which a sum is of the newest profiles alone
_KEPT = frozenset(["http.route", "service.version", "thread", "version"])  # labels that may be asked for
_SCHEMA = """
CREATE TABLE IF NOT EXISTS profile_sums (
    service TEXT NOT NULL, kind TEXT NOT NULL, hour INTEGER NOT NULL,
    profiles INTEGER NOT NULL, numbers INTEGER NOT NULL,  -- how many, and the sum of their numbers: which they are
    versions TEXT NOT NULL,      -- of the service, as a JSON list
    size INTEGER NOT NULL,       -- of the following
    plain BLOB NOT NULL,         -- without labels, which most who ask do not ask for
    data BLOB NOT NULL,
    PRIMARY KEY (service, kind, hour)
) WITHOUT ROWID
"""
_OF_HOUR = "service = ? AND kind = ? AND hour = ?"
# Deletes the parts of hours without profiles.
OUTLIVED = """
DELETE FROM profile_sums AS its WHERE NOT EXISTS (SELECT 1 FROM profiles WHERE service = its.service
AND kind = its.kind AND first BETWEEN its.hour * 3600000000 AND its.hour * 3600000000 + 3599999999)
"""
_Add = Callable[[Stacks, Callable[[Labels], Labels]], None]
_read_part = msgspec.msgpack.Decoder(Part).decode


class _Hour(NamedTuple):
    """An hour of a service and type, and which profiles it has."""

    service: str
    kind: str
    hour: int
    profiles: int
    numbers: int

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what it is found by."""
        return self[:3]

    def is_within(self, first: int, last: int) -> bool:
        """Return whether all of it lies in a time."""
        return first <= self.hour * _HOUR and (self.hour + 1) * _HOUR - 1 <= last


@dataclass
class Summed:
    """Samples of a time: of ``used`` profiles, the newest of ``found``."""

    sums: Sums = field(default_factory=Sums)
    used: int = 0
    found: int = 0


class ProfileSums:
    """The sums of a database. Any thread may call it. Raises StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as connection:
            connection.execute("DROP TABLE IF EXISTS profile_hours")  # the same without plain ones
            connection.execute(_SCHEMA)

    def within(
        self, service: str, kind: str, first: int, last: int, version: str = "", *, plain: bool = False
    ) -> Summed:
        """Return what the profiles of a time have together; parts without a ``version`` are not read for it.

        ``plain`` sums take a third of the time.
        """
        began, found = time.thread_time(), Summed()
        add = found.sums.add_plain if plain else found.sums.add
        versions = self._versions(service, kind)
        for hour in self._hours("service = ? AND kind = ? AND last >= ? AND first <= ?", service, kind, first, last):
            found.found += hour.profiles
            if found.used and time.thread_time() - began > _PATIENCE:
                continue
            found.used += hour.profiles
            if version and version not in versions.get(hour, [version]):
                continue
            if hour.profiles > 1 and hour.is_within(first, min(last, _now() - _LATE)):
                add(self._part(hour, plain=plain))
            else:
                self._add_each(add, hour, first, last)
        return found

    def add_ahead(self) -> bool:
        """Make the part of one hour that is over; return False when none is missing."""
        known = set(self._known())
        for hour in self._hours("last >= 0"):
            if hour.profiles > 1 and hour.is_within(0, _now() - _LATE) and hour not in known:
                self._make(hour)
                return True
        return False

    def _hours(self, condition: str, *values: object) -> list[_Hour]:
        """Return the hours that have profiles, the newest first."""
        statement = f"""
            SELECT service, kind, first / {_HOUR} AS hour, count(*), sum(number) FROM profiles WHERE {condition}
            GROUP BY 1, 2, 3 ORDER BY hour DESC
        """
        return [_Hour(*row) for row in self._database.rows(statement, *values)]

    def _known(self) -> list[_Hour]:
        rows = self._database.rows("SELECT service, kind, hour, profiles, numbers FROM profile_sums")
        return [_Hour(*row) for row in rows]

    def _versions(self, service: str, kind: str) -> dict[_Hour, list[str]]:
        columns = "service, kind, hour, profiles, numbers, versions"
        rows = self._database.rows(f"SELECT {columns} FROM profile_sums WHERE service = ? AND kind = ?", service, kind)
        return {_Hour(*row[:5]): msgspec.json.decode(row[5], type=list[str]) for row in rows}

    def _part(self, hour: _Hour, *, plain: bool) -> Part:
        column = "plain" if plain else "data"
        statement = f"SELECT {column} FROM profile_sums WHERE {_OF_HOUR} AND profiles = ? AND numbers = ?"
        for (data,) in self._database.rows(statement, *hour):
            with suppress(zlib.error, msgspec.MsgspecError):
                return _read_part(zlib.decompress(data))
        return self._make(hour)[plain]

    def _make(self, hour: _Hour) -> tuple[Part, Part]:
        """Make the part of an hour; return it, and the plain one."""
        sums = Sums()
        self._add_each(sums.add, hour, 0, (hour.hour + 1) * _HOUR - 1)
        parts = sums.part(), sums.plain_part()
        data, plain = (zlib.compress(msgspec.msgpack.encode(part), 1) for part in parts)
        versions = sorted({version_of(dict(labels)) for labels in sums.labels})
        values = (*hour, msgspec.json.encode(versions).decode(), len(plain) + len(data), plain, data)
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO profile_sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return parts

    def _add_each(self, add: _Add, hour: _Hour, first: int, last: int) -> None:
        """Add the profiles of an hour one by one, as far as they lie in a time."""
        begin, end = max(hour.hour * _HOUR, 0), (hour.hour + 1) * _HOUR - 1
        statement = "SELECT number FROM profiles WHERE service = ? AND kind = ? AND first BETWEEN ? AND ? AND last >= ?"
        for (number,) in self._database.rows(statement, hour.service, hour.kind, begin, min(end, last), first):
            for (data,) in self._database.rows("SELECT data FROM profiles WHERE number = ?", number):
                with suppress(Damaged):
                    add(unpack(data), _kept)


def _kept(labels: Labels) -> Labels:
    return tuple(label for label in labels if label[0] in _KEPT)


def _now() -> int:
    return time.time_ns() // 1_000
