"""Spans in SQLite, in memory or in a file.

One row is one span, kept as the JSON that the API answers with; the other columns are what searches look at.
One connection, guarded by a lock: statements are short, and SQLite has a single writer anyway.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import chain, compress, islice
from typing import Any

import msgspec

from obskit.collector.deadline import Deadline
from obskit.collector.query import TraceQuery
from obskit.zipkin.ids import trace_key
from obskit.zipkin.json_v2 import encode_span
from obskit.zipkin.model import Span

MAX_SPANS = 500_000
MAX_BYTES = 256 * 1024 * 1024
_LONGEST_KEY = 255  # characters of a name that an index keeps: it compares whole keys, however long
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spans (
    number INTEGER PRIMARY KEY,    -- order of arrival
    trace_id TEXT NOT NULL,
    digest BLOB NOT NULL,          -- of json: a span that is sent again is stored once
    service TEXT,
    remote_service TEXT,
    name TEXT,
    timestamp INTEGER,             -- microseconds
    json BLOB NOT NULL,
    UNIQUE (trace_id, digest)
);
CREATE INDEX IF NOT EXISTS spans_by_service ON spans (service, name);
CREATE INDEX IF NOT EXISTS spans_by_time ON spans (timestamp);
"""
_INSERT = """
INSERT OR IGNORE INTO spans (trace_id, digest, service, remote_service, name, timestamp, json)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_SELECT_BY_LOW_ID = """
SELECT DISTINCT trace_id FROM spans WHERE substr(trace_id, -16) IN
(SELECT substr(trace_id, -16) FROM spans WHERE coalesce(timestamp, 0) BETWEEN ? AND ?)
"""
_OLDEST = """
SELECT trace_id, count(*), sum(length(json)) FROM spans WHERE trace_id NOT IN (SELECT value FROM json_each(?))
GROUP BY trace_id ORDER BY min(number)
"""
_decode_span = msgspec.json.Decoder(Span).decode


class StoreError(Exception):
    """The database refused or returned rubbish; the message is one line which says what."""


class TooMany(StoreError):
    """A message, with what is stored of its traces, is larger than the store may get."""


class SpanStore:
    """A bounded store: with more spans or bytes than it may have, the traces that arrived first are deleted.

    ``path`` None means memory. A file is created readable by its owner alone. Raises StoreError.
    """

    def __init__(self, path: str | None = None, max_spans: int = MAX_SPANS, max_bytes: int = MAX_BYTES) -> None:
        self.name = path or "memory"
        self.on_stored: Callable[[list[Span]], None] | None = None  # told of the new spans, on the writer's thread
        self._max_spans = max_spans
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._connection = _connect(path)
        self._file = _identity(path) if path else None
        try:
            with self._access() as connection:
                _prepare(connection)
                size = "SELECT count(*), coalesce(sum(length(json)), 0) FROM spans"
                self._count, self._bytes = connection.execute(size).fetchone()
        except StoreError:
            self._connection.close()
            raise

    def close(self) -> None:
        """Closes the database; a store in memory is gone."""
        with self._lock:
            self._connection.close()

    def check(self) -> None:
        """Raises StoreError when the database cannot be read."""
        self._rows("SELECT number FROM spans LIMIT 1")

    def add(self, spans: list[Span]) -> None:
        """Stores all of the spans, or none and raises StoreError. Spans that are there already stay as they are."""
        rows = [_row(span) for span in spans]
        with self._access() as connection:
            with connection:  # one transaction: commits at the end, or rolls back
                is_new = [connection.execute(_INSERT, row).rowcount == 1 for row in rows]
                added = list(compress(rows, is_new))
                count, size = self._count + len(added), self._bytes + sum(len(row[-1]) for row in added)
                count, size = self._make_room(connection, {row[0] for row in rows}, count, size)
            self._count, self._bytes = count, size
        new = list(compress(spans, is_new))
        if new and self.on_stored is not None:
            self.on_stored(new)

    def _make_room(self, connection: sqlite3.Connection, kept: set[str], count: int, size: int) -> tuple[int, int]:
        """Deletes the traces that arrived first, but for those ``kept``. Returns what is left. Raises TooMany."""
        if count <= self._max_spans and size <= self._max_bytes:
            return count, size
        oldest = connection.execute(_OLDEST, (msgspec.json.encode(sorted(kept)).decode(),))
        doomed: list[tuple[str]] = []
        for trace_id, its_count, its_size in oldest:
            doomed.append((trace_id,))
            count, size = count - its_count, size - its_size
            if count <= self._max_spans and size <= self._max_bytes:
                break
        else:
            limits = f"{self._max_spans} spans and {self._max_bytes} bytes"
            raise TooMany(f"the traces of this message alone are over the store's {limits}; raise its limits")
        connection.executemany("DELETE FROM spans WHERE trace_id = ?", doomed)
        return count, size

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace in order of arrival, as they were sent; empty when it is unknown."""
        key = trace_key(trace_id)
        rows = self._rows("SELECT json FROM spans WHERE trace_id = ? ORDER BY number", key)
        try:
            return [_decode_span(data) for (data,) in rows]
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise StoreError(f"trace {trace_id} in {self.name} is damaged: {error}") from None

    def traces(self, trace_ids: Iterable[str], deadline: Deadline) -> Iterator[list[Span]]:
        """Each trace in its turn. Raises Stopped at the deadline."""
        for trace_id in trace_ids:
            deadline.check()
            yield self.trace(trace_id)

    def search(self, query: TraceQuery, deadline: Deadline) -> Iterator[list[Span]]:
        """At most ``query.limit`` traces which match, that with the newest span first; each is read in its turn."""
        traces = self.traces(self._candidates(query), deadline)
        return islice(filter(query.matches, traces), query.limit)

    def traces_by_low_id(self, query: TraceQuery, deadline: Deadline) -> Iterator[list[Span]]:
        """The traces with a span in a window; what some services cut to the low 64 bits of an id is one trace."""
        groups: dict[str, list[str]] = defaultdict(list)
        for (trace_id,) in self._rows(_SELECT_BY_LOW_ID, *query.window_by_millisecond):
            groups[trace_id[-16:]].append(trace_id)
        for ids in groups.values():
            yield list(chain.from_iterable(self.traces(ids, deadline)))

    def service_names(self) -> list[str]:
        """The local services, sorted."""
        return self._names("SELECT DISTINCT service FROM spans WHERE service NOT NULL")

    def span_names(self, service: str) -> list[str]:
        """The names of the spans of a local service, sorted."""
        return self._names("SELECT DISTINCT name FROM spans WHERE service = ? AND name NOT NULL", _cut(service))

    def remote_service_names(self, service: str) -> list[str]:
        """The remote services of the spans of a local service, sorted."""
        statement = "SELECT DISTINCT remote_service FROM spans WHERE service = ? AND remote_service NOT NULL"
        return self._names(statement, _cut(service))

    def _candidates(self, query: TraceQuery) -> list[str]:
        """The traces with a span in the window and one of the service and name, newest span first."""
        statement = "SELECT trace_id FROM spans WHERE timestamp BETWEEN ? AND ?"
        parameters: list[object] = [*query.window]
        wanted = [(column, value) for column, value in _columns(query) if value is not None]
        if wanted:
            conditions = " AND ".join(f"{column} = ?" for column, _ in wanted)
            statement += f" AND trace_id IN (SELECT trace_id FROM spans WHERE {conditions})"
            parameters += [_cut(value) for _, value in wanted]
        rows = self._rows(statement + " GROUP BY trace_id ORDER BY max(timestamp) DESC", *parameters)
        return [trace_id for (trace_id,) in rows]

    def _names(self, statement: str, *parameters: object) -> list[str]:
        return sorted(str(name) for (name,) in self._rows(statement, *parameters))

    def _rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._access() as connection:
            return connection.execute(statement, parameters).fetchall()

    @contextmanager
    def _access(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._check_file()
                yield self._connection
            except sqlite3.Error as error:
                raise StoreError(f"{self.name}: {error}") from None

    def _check_file(self) -> None:
        """SQLite goes on in a file that was deleted or replaced: what it keeps there, no later start would find."""
        if self._file is not None and _identity(self.name) != self._file:
            raise sqlite3.OperationalError(
                "the file was deleted or replaced while it was open; start the collector anew"
            )


def open_store(url: str, max_spans: int = MAX_SPANS, max_bytes: int = MAX_BYTES) -> SpanStore:
    """A store from ``memory`` or ``sqlite:///PATH``. Raises ValueError for another URL, StoreError for a bad file."""
    if url == "memory":
        return SpanStore(max_spans=max_spans, max_bytes=max_bytes)
    scheme, separator, path = url.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise ValueError(f"storage is {url!r}; use memory or sqlite:///PATH, such as sqlite:///traces.db")
    return SpanStore(path, max_spans, max_bytes)


def _connect(path: str | None) -> sqlite3.Connection:
    if path is not None:
        try:  # sqlite3 would create the file readable by others; its journal files take the mode of this one
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(
                f"cannot open {path}: {error.strerror}; name a writable file in a folder that exists"
            ) from None
    return sqlite3.connect(path or ":memory:", check_same_thread=False)


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in {0, _SCHEMA_VERSION}:
        raise sqlite3.DatabaseError(f"schema version {version} is of another obskit release; use another file")
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may come from somebody else
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # survives a crash of this process
    connection.executescript(_SCHEMA)
    connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


def _identity(path: str) -> tuple[int, int] | None:
    """Which file this is; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _cut(name: str | None) -> str | None:
    return name[:_LONGEST_KEY] if name else None


def _row(span: Span) -> tuple[Any, ...]:
    data = encode_span(span)
    local, remote = span.local_endpoint, span.remote_endpoint
    return (
        trace_key(span.trace_id),
        blake2b(data, digest_size=16).digest(),
        _cut(local.service_name if local else None),
        _cut(remote.service_name if remote else None),
        _cut(span.name),
        span.timestamp,
        data,
    )


def _columns(query: TraceQuery) -> list[tuple[str, str | None]]:
    """What narrows a search. A name and a service must stand on one span, as ``TraceQuery.matches`` has it."""
    return [("service", query.service), ("name", query.span_name)]
