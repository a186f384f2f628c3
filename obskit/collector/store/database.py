"""The SQLite file: opened by one process at a time, migrated to this release's schema, checked not to have moved."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SCHEMA_VERSION = 5
_SCHEMA = """
CREATE TABLE blocks (
    number INTEGER PRIMARY KEY,  -- order of arrival
    last INTEGER NOT NULL,       -- the number of the last block that was merged into this one
    arrived INTEGER NOT NULL,    -- epoch seconds
    spans INTEGER NOT NULL,
    size INTEGER NOT NULL,       -- bytes that it takes here
    first INTEGER NOT NULL,      -- timestamps, microseconds
    newest INTEGER NOT NULL,
    longest INTEGER NOT NULL,    -- duration
    filter BLOB NOT NULL,
    traces BLOB NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX blocks_by_time ON blocks (newest, number, first);
CREATE TABLE parts (             -- which blocks have spans of a trace
    trace INTEGER NOT NULL,      -- the low 64 bits of its id
    number INTEGER NOT NULL,
    PRIMARY KEY (trace, number)
) WITHOUT ROWID;
CREATE TABLE totals (spans INTEGER NOT NULL, size INTEGER NOT NULL, last INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0, 0);
"""
_BY_SERVICE = """
CREATE TABLE names (             -- what the spans of a service are called, and which services it calls
    digest BLOB PRIMARY KEY,     -- of kind, service and name, which may be long
    list BLOB NOT NULL,          -- the digest of kind and service
    name TEXT NOT NULL,
    number INTEGER NOT NULL,     -- the last block that had it, or one a little before
    service INTEGER              -- whose spans have it, see held; null for values of tags
) WITHOUT ROWID;
CREATE INDEX names_by_list ON names (list);
CREATE TABLE held (              -- what each service has in each block
    number INTEGER NOT NULL,
    service INTEGER NOT NULL,    -- see blocks.service_id
    spans INTEGER NOT NULL,
    bytes INTEGER NOT NULL,      -- of their JSON
    PRIMARY KEY (number, service)
) WITHOUT ROWID;
CREATE INDEX held_by_service ON held (service, number);
"""
_INDEXED = "CREATE TABLE IF NOT EXISTS indexed AS SELECT last AS number FROM totals"  # up to where parts are written
_ADDED = """
CREATE INDEX IF NOT EXISTS blocks_to_merge ON blocks (number) WHERE length(filter) = 0;
CREATE TABLE IF NOT EXISTS arrivals (  -- how many spans were stored before those of a block, ever
    number INTEGER PRIMARY KEY, ordinal INTEGER NOT NULL
);
INSERT INTO arrivals SELECT number, sum(spans) OVER (ORDER BY number) - spans FROM blocks
WHERE NOT EXISTS (SELECT 1 FROM arrivals);
CREATE TABLE IF NOT EXISTS requests (  -- those of a final block in columns, see packed
    number INTEGER PRIMARY KEY, data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS cells (  -- health numbers, see cells
    minute INTEGER NOT NULL, digest BLOB NOT NULL, service TEXT NOT NULL, name TEXT NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, buckets BLOB NOT NULL,
    workload TEXT NOT NULL DEFAULT '', pod TEXT NOT NULL DEFAULT '', PRIMARY KEY (minute, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (  -- what each destination has been sent, see outbox
    destination TEXT PRIMARY KEY, number INTEGER NOT NULL, ordinal INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS text_groups (  -- blocks whose texts are indexed together, see text_index
    last INTEGER PRIMARY KEY, oldest INTEGER NOT NULL, newest INTEGER NOT NULL,
    numbers BLOB NOT NULL, unknown BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS text_rows (
    id INTEGER PRIMARY KEY, data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS links (  -- cells, see link_cells
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL, oldest INTEGER NOT NULL, least INTEGER NOT NULL,
    newest INTEGER NOT NULL, links BLOB NOT NULL, timeless BLOB NOT NULL, spans INTEGER NOT NULL, traces BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS link_minutes (  -- of what is not stored any more, see link_minutes
    minute INTEGER NOT NULL, digest BLOB NOT NULL, parent TEXT NOT NULL, child TEXT NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, PRIMARY KEY (minute, digest)
) WITHOUT ROWID
"""


class StoreError(Exception):
    """The database failed or returned damaged data; the message is one line that says what happened."""


class Database:
    """One connection, guarded by a lock: statements are short, and SQLite allows one writer at a time anyway.

    ``path`` None means memory. A file is created readable by its owner only. Raises StoreError.
    """

    def __init__(self, path: str | None) -> None:
        self.name = path or "memory"
        self._lock = threading.RLock()
        self._lock_file = _lock(path) if path else None
        self._file: tuple[int, int] | None = None
        try:
            self._connection = _connect(path)
            self._file = _identity(path) if path else None
        except StoreError:
            self._unlock()
            raise

    def prepare(self, migrate: Callable[[sqlite3.Connection, int], None]) -> None:
        """Create the schema, or call ``migrate`` for an older version. Closes a file that it cannot read."""
        try:
            with self.access() as connection:
                _configure(connection)
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version not in range(SCHEMA_VERSION + 1):
                    raise StoreError(f"{self.name}: schema version {version} is of a newer obskit; use another file")
                if version != SCHEMA_VERSION:
                    _upgrade(connection, version, migrate)
                for statement in _ADDED.split(";\n"):
                    connection.execute(statement)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file and release its lock. A database in memory is gone."""
        with self._lock:
            self._connection.close()
            self._unlock()

    @contextmanager
    def access(self) -> Iterator[sqlite3.Connection]:
        """Give this thread exclusive use of the connection. SQLite's exceptions become StoreError."""
        with self._lock:
            try:
                self._check_file()
                yield self._connection
            except sqlite3.Error as error:
                raise StoreError(f"{self.name}: {error}") from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction: it is committed at the end of the block, rolled back on an error."""
        with self.access() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self.access() as connection:
            return connection.execute(statement, parameters).fetchall()

    def _check_file(self) -> None:
        """Raise StoreError if the file was deleted or replaced: SQLite would go on writing to the one that is gone."""
        if self._file is not None and _identity(self.name) != self._file:
            raise StoreError(
                f"{self.name}: the file was deleted or replaced while it was open; start the collector anew"
            )

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def backup(source: str, target: str) -> None:
    """Copy the database ``source``, even while a collector writes to it, to a new file. Raises StoreError."""
    if not os.path.exists(source):
        raise StoreError(f"{source} does not exist")
    try:
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        reader, writer = sqlite3.connect(f"file:{source}?mode=ro", uri=True), sqlite3.connect(target)
        try:
            reader.backup(writer, pages=1000)
        finally:
            reader.close()
            writer.close()
    except FileExistsError:
        raise StoreError(f"{target} exists; name a new file") from None
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"cannot copy {source} to {target}: {error}") from None


def _lock(path: str) -> int:
    """Return an open, locked file beside the database. Two writers would corrupt each other's view of it."""
    descriptor = _open(f"{path}-lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreError(f"{path} is in use by another collector; stop it, or name another file") from None
    return descriptor


def _connect(path: str | None) -> sqlite3.Connection:
    if path is not None:  # sqlite3 would create the file readable by others; journal files take its mode
        os.close(_open(path))
    return sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"cannot open {path}: {error.strerror}; name a writable file in a folder that exists"
        ) from None


def _identity(path: str) -> tuple[int, int] | None:
    """Return device and inode of the file; None if it does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may come from an untrusted source
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # survives a crash of this process
    connection.execute("PRAGMA secure_delete = FAST")  # ON writes each page of a merged block again
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: a page that changes often is then copied less
    connection.execute("PRAGMA cache_size = -16384")  # KiB


def _upgrade(connection: sqlite3.Connection, version: int, migrate: Callable[[sqlite3.Connection, int], None]) -> None:
    """Upgrade the schema in one transaction, so that a crash leaves the old file."""
    before = {0: [_SCHEMA, _BY_SERVICE], 1: [_SCHEMA, _BY_SERVICE], 2: ["DROP TABLE names", _BY_SERVICE]}
    statements = ";\n".join([*before.get(version, []), "DROP TABLE IF EXISTS links", _INDEXED, _ADDED])
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements.split(";\n"):
            connection.execute(statement)
        for column in {"workload", "pod"} - {row[1] for row in connection.execute("PRAGMA table_info(cells)")}:
            connection.execute(f"ALTER TABLE cells ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
        if version:
            migrate(connection, version)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
