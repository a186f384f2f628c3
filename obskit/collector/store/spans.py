"""The store of spans: what it takes is there until the store is full, and is there once.

Spans are kept in blocks (see ``blocks``), in the order in which they came; the oldest blocks go first.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from obskit.collector.deadline import Deadline
from obskit.collector.links import Link
from obskit.collector.query import TraceQuery
from obskit.collector.store import search as searches
from obskit.collector.store.blocks import (
    MOST_BYTES,
    MOST_SPANS,
    TRACE_SIZE,
    Block,
    Damaged,
    decode_lines,
    low_id,
    merged,
    only,
    pack,
    slices,
    trace_numbers,
)
from obskit.collector.store.cells import Cells
from obskit.collector.store.database import Database, StoreError
from obskit.collector.store.ids import find_ids
from obskit.collector.store.link_cells import LinkCells
from obskit.collector.store.names import Names
from obskit.collector.store.outbox import Outbox
from obskit.collector.store.reading import Reader
from obskit.collector.store.recent import Known, RecentSpans
from obskit.zipkin.ids import trace_key
from obskit.zipkin.json_v2 import encode_span
from obskit.zipkin.model import Span

MAX_SPANS = 500_000
MAX_BYTES = 1024 * 1024 * 1024
_TINY = 16  # spans: blocks of fewer are merged early
_MOST_TINY = 32
_COUNT_EVERY = 128  # messages
_LONGEST_TAIL = _MOST_TINY + MOST_SPANS // _TINY
_MOST_COMPARED = 4_000  # spans of the last blocks of a trace: one that is sent again soon is found there
_MIGRATED_AT_ONCE = 1_000

_INSERT = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OLDEST = """
    SELECT number, last, spans, size, traces, data FROM blocks WHERE number > ? AND arrived < ? ORDER BY number LIMIT 1
"""
_ANY_TIME = 2**62


_Row = tuple[int, int, int, int, bytes, bytes]  # number, last, spans, size, traces, data


class TooMany(StoreError):
    """A message, with what is stored of its traces, is larger than the store may get."""


@dataclass
class _Totals:
    """What the database holds, and the number of the last block."""

    spans: int
    size: int
    last: int


@dataclass(frozen=True)
class _Small:
    """A block at the end that will be merged with the next ones."""

    number: int
    spans: int
    size: int


@dataclass
class _Uncounted:
    """What came since health numbers were counted."""

    messages: int = 0
    spans: int = 0
    size: int = 0


class SpanStore:
    """Spans in memory (``path`` None) or in a file; beyond its limits the oldest make room. Raises StoreError."""

    def __init__(
        self,
        path: str | None = None,
        max_spans: int = MAX_SPANS,
        max_bytes: int = MAX_BYTES,
        max_age: float = float("inf"),
        *,
        strict_trace_id: bool = True,
        autocomplete_keys: Iterable[str] = (),
    ) -> None:
        self.on_stored: Callable[[list[Span]], None] | None = None  # told of the new spans, on the writer's thread
        self._max_spans, self._max_bytes, self.max_age = max_spans, max_bytes, max_age
        self._writing = threading.Lock()
        self._failure: str | None = None
        self._database = Database(path)
        self.name = self._database.name
        self._names = Names(self._database, autocomplete_keys)
        self._strict = strict_trace_id
        self._reader = Reader(self._database)
        self._recent = RecentSpans()
        self._totals, self._tail, self._ordinal = _Totals(0, 0, 0), list[_Small](), 0
        self._uncounted = _Uncounted()
        self._database.prepare(self._migrate)
        try:
            self._links = LinkCells(self._database, self._reader)
            self.cells = Cells(self._database, self._reader)
            self._reload()
        except StoreError:
            self._database.close()
            raise

    def close(self) -> None:
        """Closes the database; a store in memory is gone."""
        with self._writing:
            self._database.close()

    def check(self) -> None:
        """Raises StoreError when the database cannot be read, or could not be written last and still cannot."""
        self._database.rows("SELECT number FROM blocks LIMIT 1")
        if self._failure is not None:
            with self._writing, self._database.transaction() as connection:
                connection.execute("UPDATE totals SET spans = spans")
            self._failure = None

    # --- writing ------------------------------------------------------------------------------------------

    def add(self, spans: Sequence[Span], lines: Sequence[bytes] | None = None) -> None:
        """Stores all of the spans, or none and raises StoreError. Spans that are there already stay as they are.

        ``lines`` is the JSON of each, where the caller has it.
        """
        lines = lines or [encode_span(span) for span in spans]
        with self._writing:
            try:
                self._count_before(len(spans), sum(map(len, lines)))
                new = self._add(spans, lines)
            except BaseException as error:
                self._fail(error)
                raise
            self._failure = None
        if new and self.on_stored is not None:
            self.on_stored(new)

    def _count_before(self, spans: int, size: int) -> None:
        """Counts health numbers now and then, and before the spans could have to make room."""
        uncounted = self._uncounted
        uncounted.messages += 1
        uncounted.spans += spans
        uncounted.size += size
        crowded = uncounted.spans * 4 > self._max_spans or uncounted.size * 4 > self._max_bytes
        if crowded or uncounted.messages > _COUNT_EVERY:
            self.cells.update()
            self._uncounted = _Uncounted(1, spans, size)

    def _add(self, spans: Sequence[Span], lines: Sequence[bytes]) -> list[Span]:
        traces = [low_id(span.trace_id) for span in spans]
        known = self._known(sorted(set(traces)))
        new: list[int] = []
        changed: set[int] = set()
        for number, (trace, line) in enumerate(zip(traces, lines, strict=True)):
            its, digest = known[trace], hash(line)
            if digest not in its.hashes:
                its.hashes.add(digest)
                changed.add(its.begin)
                new.append(number)
        if new:
            new_spans, new_lines = [spans[number] for number in new], [lines[number] for number in new]
            cuts = list(slices(new_lines))
            blocks = [pack(new_spans[cut], new_lines[cut]) for cut in cuts]
            with self._database.transaction() as connection:
                self._links.forget(connection, changed - {0})
                for cut, block in zip(cuts, blocks, strict=True):
                    self._insert(connection, block, new_spans[cut], known)
                self._make_room(connection, known.keys())
                self._merge_small(connection)
                self._write_totals(connection)
        for trace, its in known.items():
            self._recent.put(trace, its)
        return [spans[number] for number in new]

    def _known(self, traces: list[int]) -> dict[int, Known]:
        """What is known of each trace: where it began, and the hashes of those of its spans that came last."""
        found = {trace: known for trace in traces if (known := self._recent.take(trace)) is not None}
        missing = [trace for trace in traces if trace not in found]
        numbers = self._reader.numbers(missing)
        for trace in missing:
            found[trace] = self._stored(trace, numbers[trace]) if trace in numbers else Known()
        return found

    def _stored(self, trace: int, numbers: list[int]) -> Known:
        known = Known(numbers[0])
        looked_at = 0
        try:
            for key in reversed(list(self._reader.keys(numbers))):
                known.hashes.update(hash(encode_span(span)) for span in self._reader.block(key).get(trace, ()))
                looked_at += key[2]
                if looked_at >= _MOST_COMPARED:
                    break
        except StoreError:  # a damaged block must not keep new spans of its traces out
            pass
        return known

    def _insert(
        self, connection: sqlite3.Connection, block: Block, spans: Sequence[Span], known: Mapping[int, Known]
    ) -> None:
        is_small = not block.filter
        if not is_small:
            self._finish_tail(connection)
        number = self._totals.last = self._totals.last + 1
        row = (number, number, int(time.time()), block.spans, block.size, block.first, block.newest, block.longest)
        connection.execute(_INSERT, (*row, block.filter, block.traces, block.data))
        connection.execute("INSERT INTO arrivals VALUES (?, ?)", (number, self._ordinal))
        self._ordinal += block.spans
        parts = [(trace, number) for trace in trace_numbers(block.traces)]
        connection.executemany("INSERT INTO parts VALUES (?, ?)", parts)
        self._names.note(connection, spans, number)
        for trace, _ in parts:
            if trace in known:
                known[trace].begin = known[trace].begin or number
        self._totals.spans += block.spans
        self._totals.size += block.size
        if is_small:
            self._tail.append(_Small(number, block.spans, len(block.data)))

    # --- merging ------------------------------------------------------------------------------------------

    def _merge_small(self, connection: sqlite3.Connection) -> None:
        """Merges the blocks at the end once they make a whole one, and tiny ones before: every search reads them."""
        spans, size = sum(small.spans for small in self._tail), sum(small.size for small in self._tail)
        tiny = [small for small in self._tail[-_MOST_TINY:] if small.spans < _TINY]
        if spans >= MOST_SPANS or size >= MOST_BYTES // 4:
            self._finish_tail(connection)
        elif len(tiny) == _MOST_TINY:
            self._tail[-_MOST_TINY:] = self._merge(connection, tiny, final=False)

    def _finish_tail(self, connection: sqlite3.Connection) -> None:
        if self._tail:
            self._merge(connection, self._tail, final=True)
            self._tail.clear()

    def _merge(self, connection: sqlite3.Connection, small: list[_Small], *, final: bool) -> list[_Small]:
        """Makes one block of several; what came with the number of any is found by the range of the new one.

        Damaged ones stay as they are, and none is returned.
        """
        first, last = small[0].number, small[-1].number
        statement = "SELECT data, size FROM blocks WHERE number BETWEEN ? AND ? ORDER BY number"
        rows = connection.execute(statement, (first, last)).fetchall()
        try:
            block = merged((data for data, _ in rows), final=final)
        except Damaged:
            return []
        for table in ("blocks", "arrivals"):
            connection.execute(f"DELETE FROM {table} WHERE number BETWEEN ? AND ?", (first + 1, last))
        self._update(connection, first, last, block)
        self._totals.size += block.size - sum(size for _, size in rows)
        return [_Small(first, block.spans, len(block.data))]

    @staticmethod
    def _update(connection: sqlite3.Connection, number: int, last: int, block: Block) -> None:
        statement = """
            UPDATE blocks SET last = ?, spans = ?, size = ?, first = ?, newest = ?, longest = ?, filter = ?, traces = ?,
            data = ? WHERE number = ?
        """
        times = (block.first, block.newest, block.longest)
        values = (last, block.spans, block.size, *times, block.filter, block.traces, block.data, number)
        connection.execute(statement, values)

    # --- making room --------------------------------------------------------------------------------------

    def _make_room(self, connection: sqlite3.Connection, kept: Iterable[int]) -> None:
        """Deletes the oldest blocks, but for the traces ``kept``. Raises TooMany."""
        kept, number = set(kept), 0
        expired = time.time() - self.max_age
        while expired > 0 and (row := connection.execute(_OLDEST, (0, expired)).fetchone()):
            self._delete(connection, row, set())
        while self._totals.spans > self._max_spans or self._totals.size > self._max_bytes:
            row = connection.execute(_OLDEST, (number, _ANY_TIME)).fetchone()
            if row is None:
                limits = f"{self._max_spans} spans and {self._max_bytes} bytes"
                raise TooMany(f"the traces of this message alone are over the store's {limits}; raise its limits")
            number = row[0]
            self._delete(connection, row, kept)

    def _delete(self, connection: sqlite3.Connection, row: _Row, kept: set[int]) -> None:
        """Deletes a block, or what it has of other traces than those ``kept``."""
        number, last, spans, size, traces, data = row
        gone = set(trace_numbers(traces)) - kept
        left = self._left(data, kept) if len(gone) * TRACE_SIZE < len(traces) else None
        ends = [(trace, number, last) for trace in gone]
        connection.executemany("DELETE FROM parts WHERE trace = ? AND number BETWEEN ? AND ?", ends)
        later = self._reader.numbers(list(gone))  # where what is left of these traces begins now
        self._links.forget(connection, [number, *(numbers[0] for numbers in later.values())])
        if left is None:
            for table in ("blocks", "arrivals"):
                connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))
            self._names.prune(connection, number, last)
        else:
            self._update(connection, number, last, left)
        self._recent.drop(gone)
        self._tail = [small for small in self._tail if small.number != number]
        self._totals.spans -= spans - (left.spans if left else 0)
        self._totals.size -= size - (left.size if left else 0)

    @staticmethod
    def _left(data: bytes, kept: set[int]) -> Block | None:
        try:
            return only(data, kept)
        except Damaged:
            return None

    # --- what memory knows of the database ----------------------------------------------------------------

    def _write_totals(self, connection: sqlite3.Connection) -> None:
        totals = (self._totals.spans, self._totals.size, self._totals.last)
        connection.execute("UPDATE totals SET spans = ?, size = ?, last = ?", totals)

    def _reload(self) -> None:
        (totals,) = self._database.rows("SELECT spans, size, last FROM totals")
        self._totals = _Totals(*totals)
        self._ordinal = self._reader.end()[1]
        self._recent = RecentSpans()
        self._names.forget()
        self._tail = []
        last_ones = "SELECT number, spans, length(data), length(filter) FROM blocks ORDER BY number DESC LIMIT ?"
        for number, spans, size, filter_size in self._database.rows(last_ones, _LONGEST_TAIL):
            if filter_size:
                break
            self._tail.insert(0, _Small(number, spans, size))

    def _fail(self, error: BaseException) -> None:
        """After a failure: what was not written is not remembered."""
        self._failure = None if isinstance(error, TooMany) else str(error)
        try:
            self._reload()
        except (StoreError, sqlite3.Error):
            self._recent = RecentSpans()

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Moves the spans of schema version 1, which had a row for each, within a transaction."""
        rows = connection.execute("SELECT json FROM spans ORDER BY number")
        while some := rows.fetchmany(_MIGRATED_AT_ONCE):
            lines = [line for (line,) in some]
            spans = decode_lines(lines)
            for cut in slices(lines):
                self._insert(connection, pack(spans[cut], lines[cut], final=True), spans[cut], {})
        connection.execute("DROP TABLE spans")
        self._write_totals(connection)

    @property
    def database(self) -> Database:
        """The database, for what is kept beside the spans."""
        return self._database

    def outbox(self, destination: str) -> Outbox:
        """What one destination has not been sent yet."""
        return Outbox(self._database, self._reader, destination)

    # --- reading ------------------------------------------------------------------------------------------

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace in order of arrival, as they were sent; empty when it is unknown."""
        key, low = trace_key(trace_id), low_id(trace_id)
        spans = self._reader.traces([low]).get(low, [])
        return [span for span in spans if not self._strict or trace_key(span.trace_id) == key]

    def traces(self, trace_ids: Iterable[str], deadline: Deadline) -> Iterator[list[Span]]:
        """Each trace in its turn. Raises Stopped at the deadline."""
        for trace_id in trace_ids:
            deadline.check()
            yield self.trace(trace_id)

    def search(self, query: TraceQuery, deadline: Deadline) -> Iterator[list[Span]]:
        """The traces which match, that with the newest span first; each is read in its turn."""
        return searches.search(self._reader, query, deadline, strict=self._strict)

    def links(self, query: TraceQuery, deadline: Deadline) -> list[Link]:
        """Which service calls which, over the traces with a span in a window.

        What some services cut to the low 64 bits of an id is one trace.
        """
        return self._links.count(*query.window_by_millisecond, deadline)

    def find_ids(self, text: str, deadline: Deadline) -> tuple[str, str | None] | None:
        """The trace, and the span if it is one's, of an id or of the 8 digits that end a trace's."""
        return find_ids(self._database, self._reader, text, deadline)

    def service_names(self) -> list[str]:
        """The local services, sorted."""
        return self._names.services()

    def span_names(self, service: str) -> list[str]:
        """The names of the spans of a local service, sorted."""
        return self._names.spans(service)

    def remote_service_names(self, service: str) -> list[str]:
        """The remote services of the spans of a local service, sorted."""
        return self._names.remote_services(service)

    def tag_values(self, key: str) -> list[str]:
        """The values of one of the tags for which they are noted, sorted."""
        return self._names.tag_values(key)
