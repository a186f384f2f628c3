"""Which version of each service ran when, from the tag ``service.version`` of its spans."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace

from obskit.collector.store.database import Database
from obskit.zipkin.model import Span

_TAG = "service.version"
_GAP = 600_000_000  # microseconds without a span of a version after which its next one begins a new run
_STEP = 60_000_000  # a run is written again when it has grown by this
_MOST = 5_000
_LONGEST = 200  # characters
_IS_NEAR = "service = ? AND version = ? AND first <= ? AND last >= ?"
_NEAR = f"SELECT first, last FROM versions WHERE {_IS_NEAR}"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS versions (  -- when versions of services ran, see versions
    service TEXT NOT NULL, version TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (service, version, first)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Run:
    """A version of a service, and the first and last moment (microseconds) at which a span of it began."""

    service: str
    version: str
    first: int
    last: int


class Versions:
    """The runs in a database; they stay when the spans are evicted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._written: dict[tuple[str, str], Run] = {}  # the run of each version that was written last
        with database.transaction() as connection:
            connection.execute(_SCHEMA)

    def note(self, connection: sqlite3.Connection, spans: Iterable[Span]) -> None:
        """Record the versions of spans within the transaction that stores them."""
        for span in [span for span in spans if _TAG in span.tags]:  # few, as a rule
            version = span.tags[_TAG]
            if version and span.timestamp and span.local_endpoint and span.local_endpoint.service_name:
                self._note(connection, span.local_endpoint.service_name, version[:_LONGEST], span.timestamp)

    def forget(self) -> None:
        """Empty the cache: what was recorded may not have been written."""
        self._written.clear()

    def of(self, service: str) -> list[Run]:
        """Return when which version began to run, oldest first; what a version continues is one run."""
        rows = self._database.rows("SELECT * FROM versions WHERE service = ? ORDER BY first, last", service)
        found: list[Run] = []
        for run in (Run(*row) for row in rows):
            if found and found[-1].version == run.version:
                found[-1] = replace(found[-1], last=max(found[-1].last, run.last))
            else:
                found.append(run)
        return found

    def _note(self, connection: sqlite3.Connection, service: str, version: str, at: int) -> None:
        known = self._written.get((service, version))
        if known and known.first <= at < known.last + _STEP:
            return
        near = connection.execute(_NEAR, (service, version, at + _GAP, at - _GAP)).fetchall()
        run = Run(service, version, min([at, *(first for first, _ in near)]), max([at, *(last for _, last in near)]))
        connection.execute(f"DELETE FROM versions WHERE {_IS_NEAR}", (service, version, at + _GAP, at - _GAP))
        connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?)", (service, version, run.first, run.last))
        if not near:
            _prune(connection)
        if len(self._written) >= _MOST:
            self._written.clear()
        self._written[service, version] = run


def _prune(connection: sqlite3.Connection) -> None:
    """Delete the oldest runs where there are too many."""
    oldest = "SELECT service, version, first FROM versions ORDER BY last DESC LIMIT -1 OFFSET ?"
    connection.execute(f"DELETE FROM versions WHERE (service, version, first) IN ({oldest})", (_MOST,))
