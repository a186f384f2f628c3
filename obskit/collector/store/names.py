"""The names of services and spans, remote services and values of tags, kept as lists so that no search is needed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from hashlib import blake2b

from obskit.collector.store.blocks import Part, service_id
from obskit.collector.store.database import Database
from obskit.collector.store.filters import Place

_Name = tuple[str, str, str]  # kind, service, name
_MOST_REMEMBERED = 50_000
_LONGEST_USUAL = 400  # characters of names that are cached
_STEP = 256  # blocks between two updates of the row of a known name
_NEVER = 2**62
_PRUNE = """
    DELETE FROM names WHERE number < ?2 AND number < coalesce(
        CASE WHEN service IS NULL THEN (SELECT min(number) FROM held)
        ELSE (SELECT min(number) FROM held WHERE service = names.service) END, ?1) - ?3
"""


class Names:
    """The names in a database. A name is deleted some time after the last block that had it."""

    def __init__(self, database: Database, tags: Iterable[str] = ()) -> None:
        self._database = database
        self._tags = frozenset(tags)  # the tags whose values are listed
        self._noted: dict[_Name, int] = {}
        self._pruned = 0

    def note(self, connection: sqlite3.Connection, part: Part, number: int) -> None:
        """Record the names of the spans of a block, within its transaction."""
        step = number // _STEP
        fresh = [name for name in self._names_of(part) if self._noted.get(name) != step]
        connection.executemany(
            "INSERT INTO names VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET number = excluded.number",
            [(_digest(*name), _digest(*name[:2]), name[2], number, _owner(*name)) for name in fresh],
        )
        if len(self._noted) > _MOST_REMEMBERED:
            self._noted.clear()
        usual = [name for name in fresh if len(name[1]) + len(name[2]) <= _LONGEST_USUAL]
        self._noted.update(dict.fromkeys(usual[:_MOST_REMEMBERED], step))

    def forget(self) -> None:
        """Empty the cache: what was recorded may not have been written."""
        self._noted.clear()

    def prune(self, connection: sqlite3.Connection, number: int) -> None:
        """Delete, now and then, the names that no block has any more; ``number`` is an evicted block's."""
        if number // _STEP != self._pruned:
            self._pruned = number // _STEP
            connection.execute(_PRUNE, (_NEVER, number - _STEP, _STEP))

    def services(self) -> list[str]:
        """Return the local services, sorted."""
        return self._sorted("service", "")

    def spans(self, service: str) -> list[str]:
        """Return the names of the spans of a local service, sorted."""
        return self._sorted("span", service)

    def remote_services(self, service: str) -> list[str]:
        """Return the remote services of the spans of a local service, sorted."""
        return self._sorted("remote", service)

    def tag_values(self, key: str) -> list[str]:
        """Return the values of one of the listed tags, sorted."""
        return self._sorted("tag", key)

    def _names_of(self, part: Part) -> set[_Name]:
        if not self._tags:
            return _names_of(part.places)
        tags = {("tag", key, span.tags[key]) for span in part.spans for key in self._tags & span.tags.keys()}
        return _names_of(part.places) | tags

    def _sorted(self, kind: str, service: str) -> list[str]:
        rows = self._database.rows("SELECT name FROM names WHERE list = ?", _digest(kind, service))
        return sorted(str(name) for (name,) in rows)


def _names_of(places: Iterable[Place]) -> set[_Name]:
    found: set[_Name] = set()
    for service, name, remote in places:
        if service:
            found.add(("service", "", service))
            if name:
                found.add(("span", service, name))
            if remote:
                found.add(("remote", service, remote))
    return found


def _owner(kind: str, service: str, name: str) -> int | None:
    return None if kind == "tag" else service_id(service or name)


def _digest(*texts: str) -> bytes:
    return blake2b("\0".join(texts).encode(), digest_size=16).digest()
