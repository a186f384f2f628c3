"""The latest state of what Kubernetes told, and what changed, in the database of the spans."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from obskit.collector.kubernetes.health import changes
from obskit.collector.kubernetes.objects import Object, Pod, Workload
from obskit.collector.store.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kubernetes_objects (
    cluster TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    heard INTEGER NOT NULL,  -- epoch seconds
    data BLOB NOT NULL,
    PRIMARY KEY (cluster, kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kubernetes_changes (
    number INTEGER PRIMARY KEY, at INTEGER NOT NULL,
    cluster TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, what TEXT NOT NULL
)
"""
MOST_OBJECTS, MOST_CHANGES = 20_000, 10_000
_FORGOTTEN_AFTER = 24 * 3600  # seconds in which nothing was heard of an object
_decode = msgspec.json.Decoder(Pod | Workload).decode


class Known(NamedTuple):
    """An object, its cluster, and when it was last heard of in epoch seconds."""

    cluster: str
    heard: int
    object: Object


class Change(NamedTuple):
    """What happened to an object; ``at`` is in epoch seconds."""

    at: int
    cluster: str
    kind: str
    namespace: str
    name: str
    what: str


class KubernetesStore:
    """Objects and changes. Any thread may call it. Raises StoreError."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        with database.transaction() as connection:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)

    def put(self, cluster: str, objects: Iterable[Object], *, whole: bool) -> int:
        """Take over the state of objects; return how many there were.

        With ``whole``, objects of the same kinds and namespaces that are not among them are there no more.
        """
        now = int(self._clock())
        found = {(*_kind_and_namespace(one), one.name): one for one in objects}
        with self._database.transaction() as connection:
            if whole:
                _remove_missing(connection, cluster, set(found))
            for key, one in found.items():
                _put(connection, cluster, key, one, now)
            _bound(connection, now)
        return len(found)

    def objects(self) -> Iterator[Known]:
        """Return all objects, by cluster, kind, namespace and name."""
        rows = self._database.rows("SELECT cluster, heard, data FROM kubernetes_objects")
        return (Known(cluster, heard, _decode(data)) for cluster, heard, data in rows)

    def changes(self, since: float, limit: int = 200) -> list[Change]:
        """Return what changed since a time in epoch seconds, newest first."""
        columns = "at, cluster, kind, namespace, name, what"
        query = f"SELECT {columns} FROM kubernetes_changes WHERE at >= ? ORDER BY number DESC LIMIT ?"
        return [Change(*row) for row in self._database.rows(query, int(since), limit)]


_Key = tuple[str, str, str]  # kind, namespace, name


def _kind_and_namespace(one: Object) -> tuple[str, str]:
    return ("Pod" if isinstance(one, Pod) else one.kind), one.namespace


def _put(connection: sqlite3.Connection, cluster: str, key: _Key, one: Object, now: int) -> None:
    query = "SELECT data FROM kubernetes_objects WHERE cluster = ? AND kind = ? AND namespace = ? AND name = ?"
    row = connection.execute(query, (cluster, *key)).fetchone()
    for what in changes(_decode(row[0]) if row else None, one, now):
        connection.execute("INSERT INTO kubernetes_changes VALUES (NULL, ?, ?, ?, ?, ?, ?)", (now, cluster, *key, what))
    values = (cluster, *key, now, msgspec.json.encode(one))
    connection.execute("INSERT OR REPLACE INTO kubernetes_objects VALUES (?, ?, ?, ?, ?, ?)", values)


def _remove_missing(connection: sqlite3.Connection, cluster: str, there: set[_Key]) -> None:
    for kind, namespace in {key[:2] for key in there}:
        where = "cluster = ? AND kind = ? AND namespace = ?"
        known = connection.execute(f"SELECT name FROM kubernetes_objects WHERE {where}", (cluster, kind, namespace))
        for (name,) in known.fetchall():
            if (kind, namespace, name) not in there:
                statement = f"DELETE FROM kubernetes_objects WHERE {where} AND name = ?"
                connection.execute(statement, (cluster, kind, namespace, name))


def _bound(connection: sqlite3.Connection, now: int) -> None:
    """Forget what was not heard of for a day, and the oldest beyond what is kept."""
    connection.execute("DELETE FROM kubernetes_objects WHERE heard < ?", (now - _FORGOTTEN_AFTER,))
    (count,) = connection.execute("SELECT count(*) FROM kubernetes_objects").fetchone()
    if count > MOST_OBJECTS:
        key = "cluster, kind, namespace, name"
        oldest = f"SELECT {key} FROM kubernetes_objects ORDER BY heard LIMIT ?"
        connection.execute(f"DELETE FROM kubernetes_objects WHERE ({key}) IN ({oldest})", (count - MOST_OBJECTS,))
    newest = "SELECT max(number) FROM kubernetes_changes"
    connection.execute(f"DELETE FROM kubernetes_changes WHERE number <= ({newest}) - ?", (MOST_CHANGES,))
