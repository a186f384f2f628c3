"""The store of spans: each is stored once, and stays until the store is full.

Spans are kept in blocks (see ``blocks``) in order of arrival; the oldest blocks are evicted first.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from obskit.collector.deadline import Deadline
from obskit.collector.links import Link
from obskit.collector.query import TraceQuery
from obskit.collector.store import search as searches
from obskit.collector.store.block_table import BlockTable
from obskit.collector.store.blocks import Block, Part, low_id, pack, slices, trace_numbers
from obskit.collector.store.cells import Cells
from obskit.collector.store.database import Database, StoreError
from obskit.collector.store.eviction import Eviction, TooMany
from obskit.collector.store.link_cells import LinkCells
from obskit.collector.store.link_minutes import LinkMinutes
from obskit.collector.store.migrating import migrate
from obskit.collector.store.names import Names
from obskit.collector.store.outbox import Outbox
from obskit.collector.store.reading import Holdings, Reader
from obskit.collector.store.recent import RecentSpans
from obskit.collector.store.requests import Requests
from obskit.collector.store.tail import Tail
from obskit.collector.store.text_index import TextIndex
from obskit.collector.store.trace_index import TraceIndex
from obskit.collector.store.versions import Versions
from obskit.zipkin.ids import trace_key
from obskit.zipkin.json_v2 import encode_each
from obskit.zipkin.model import Span

MAX_SPANS = 500_000
MAX_BYTES = 1024 * 1024 * 1024
_COUNT_EVERY = 128  # messages between two updates of the health numbers
_MOST_COMPARED = 4_000  # spans in the last blocks of a trace that are searched for duplicates


@dataclass
class _Uncounted:
    """What was stored since the health numbers were updated."""

    messages: int = 0
    spans: int = 0
    size: int = 0


class SpanStore:
    """Spans in memory (``path`` None) or in a file; beyond its limits the oldest are evicted. Raises StoreError."""

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
        self.on_stored: Callable[[list[Span]], None] | None = None  # called with the new spans, on the writer's thread
        self.ahead: list[Callable[[], bool]] = []  # what else is done in spare time, each a bit; False: nothing is left
        self._max_spans, self._max_bytes, self.max_age = max_spans, max_bytes, max_age
        self.last_added = 0.0  # of the monotonic clock
        self._writing = threading.Lock()
        self._failure: str | None = None
        self._database = Database(path)
        self.name = self._database.name
        self._names = Names(self._database, autocomplete_keys)
        self._strict = strict_trace_id
        self._index = TraceIndex(self._database)
        self._texts = TextIndex(self._database)
        self._reader = Reader(self._database, self._index, self._texts)
        self._recent = RecentSpans()
        self._table = BlockTable()
        self._tail = Tail(self._table)
        self._gone_links = LinkMinutes(self._database, self._reader)
        self._eviction = Eviction(self._table, self._index, self._gone_links, max_spans, max_bytes, max_age)
        self._uncounted = _Uncounted()
        self._database.prepare(partial(migrate, table=self._table, index=self._index, names=self._names))
        try:
            self._links = LinkCells(self._database, self._reader)
            self.cells = Cells(self._database, self._reader)
            self.requests = Requests(self._reader)
            self.versions = Versions(self._database)
            self._reload()
        except StoreError:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the database. A store in memory is gone."""
        with self._writing:
            self._database.close()

    def check(self) -> None:
        """Raise StoreError if the database cannot be read, or if the last write failed and writing still does."""
        self._database.rows("SELECT number FROM blocks LIMIT 1")
        if self._failure is not None:
            with self._writing, self._database.transaction() as connection:
                connection.execute("UPDATE totals SET spans = spans")
            self._failure = None

    # --- writing ------------------------------------------------------------------------------------------

    def add(self, spans: Sequence[Span], lines: Sequence[bytes] | None = None) -> None:
        """Store all of the spans, or none and raise StoreError. Spans that are stored already are left unchanged.

        ``lines`` is the JSON of each, if the caller has it.
        """
        lines = lines or encode_each(spans)
        self.last_added = time.monotonic()
        with self._writing:
            try:
                self._count_before(len(spans), sum(map(len, lines)))
                new = self._add(spans, lines)
            except BaseException as error:
                self._fail(error)
                raise
            self._failure = None
        if new and self.on_stored is not None:
            self.on_stored(list(new))

    def _count_before(self, spans: int, size: int) -> None:
        """Update the health numbers now and then, and always before uncounted spans could be evicted."""
        uncounted = self._uncounted
        uncounted.messages += 1
        uncounted.spans += spans
        uncounted.size += size
        crowded = uncounted.spans * 4 > self._max_spans or uncounted.size * 4 > self._max_bytes
        if crowded or uncounted.messages > _COUNT_EVERY:
            self.cells.update()
            self._uncounted = _Uncounted(1, spans, size)

    def _add(self, spans: Sequence[Span], lines: Sequence[bytes]) -> Sequence[Span]:
        part = Part(spans, lines)
        traces = {*part.lows}
        self._recall(traces)
        new = self._recent.add(traces, list(map(hash, lines)))
        if len(new) < len(spans):
            part = Part([spans[number] for number in new], [lines[number] for number in new])
        if new:
            parts = [part[cut] for cut in slices(part.lines)]
            blocks = list(map(pack, parts))
            with self._database.transaction() as connection:
                self._links.forget(connection, self._recent.begins({*part.lows}))
                for its, block in zip(parts, blocks, strict=True):
                    self._insert(connection, block, its)
                    self.cells.note(its.entries)
                self.versions.note(connection, part.spans)
                self._make_room(connection, traces)
                self._tail.merge(connection)
                self._index.write(connection)
                self._texts.write(connection, self._table.last, self._tail.begin)
                self._table.write_totals(connection)
        return part.spans

    def _recall(self, traces: AbstractSet[int]) -> None:
        """Find out what is stored of traces: the first block, and the hashes of the latest spans."""
        self._recent.age()
        for trace, numbers in self._reader.numbers(list(self._recent.unknown(traces))).items():
            self._recent.add([trace], self._hashes(trace, numbers))
            self._recent.begin([trace], numbers[0])

    def _hashes(self, trace: int, numbers: list[int]) -> list[int]:
        found: list[int] = []
        looked_at = 0
        try:
            for key in reversed(list(self._reader.keys(numbers))):
                found += map(hash, encode_each(self._reader.block(key).get(trace, [])))
                looked_at += key[2]
                if looked_at >= _MOST_COMPARED:
                    break
        except StoreError:  # a damaged block must not prevent storing new spans of its traces
            pass
        return found

    def _insert(self, connection: sqlite3.Connection, block: Block, part: Part) -> None:
        is_small = not block.filter
        if not is_small:
            self._tail.finish(connection)
        number = self._table.insert(connection, block)
        self._names.note(connection, part, number)
        traces = trace_numbers(block.traces)
        self._index.add(number, traces)
        self._recent.begin(traces, number)
        if is_small:
            self._tail.append(number, block, part)

    def _make_room(self, connection: sqlite3.Connection, kept: AbstractSet[int]) -> None:
        """Evict the oldest spans, except the traces ``kept``, and what caches know of them. Raises TooMany."""
        removed = self._eviction.evict(connection, kept)
        if not removed.numbers:
            return
        self._recent.drop(removed.traces)
        left = self._reader.numbers(list(removed.traces)).values()
        self._links.forget(connection, removed.numbers.union(*left))
        for number in removed.numbers:
            self._tail.remove(number)
            self._names.prune(connection, number)

    # --- caches -------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        self._table.reload(self._database, self._reader)
        self._index.reload()
        self._texts.reload()
        self._tail.reload(self._database)
        self._recent = RecentSpans()
        self._names.forget()

    def _fail(self, error: BaseException) -> None:
        """Empty the caches after a failed write."""
        self._failure = None if isinstance(error, TooMany) else str(error)
        self._reader.forget()
        self.requests.forget()
        self.cells.forget()
        self.versions.forget()
        try:
            self._reload()
        except (StoreError, sqlite3.Error):
            self._recent = RecentSpans()

    @property
    def database(self) -> Database:
        """Return the database, for other tables in the same file."""
        return self._database

    def outbox(self, destination: str) -> Outbox:
        """Return the spans that one destination has not been sent yet."""
        return Outbox(self._database, self._reader, destination)

    # --- reading ------------------------------------------------------------------------------------------

    def trace(self, trace_id: str) -> list[Span]:
        """Return the spans of a trace in order of arrival, as they were sent; empty for an unknown trace."""
        return self.together([trace_id])[0]

    def together(self, trace_ids: Sequence[str]) -> list[list[Span]]:
        """Return the same of several traces, for whose sake each block is read once."""
        found = self._reader.traces([low_id(trace_id) for trace_id in trace_ids])
        return [
            [
                span
                for span in found.get(low_id(trace_id), [])
                if not self._strict or trace_key(span.trace_id) == trace_key(trace_id)
            ]
            for trace_id in trace_ids
        ]

    def traces(self, trace_ids: Iterable[str], deadline: Deadline) -> Iterator[list[Span]]:
        """Yield each trace, read one at a time. Raises Stopped at the deadline."""
        for trace_id in trace_ids:
            deadline.check()
            yield self.trace(trace_id)

    def search(self, query: TraceQuery, deadline: Deadline) -> Iterator[list[Span]]:
        """Yield the traces that match, by their newest span, read one at a time."""
        return searches.search(self._reader, query, deadline, strict=self._strict)

    def links(self, query: TraceQuery, deadline: Deadline) -> list[Link]:
        """Return which service calls which: traces with a span in a window, and evicted traces by minute.

        Traces whose ids share their low 64 bits count as one, as some services truncate ids.
        """
        window = query.window_by_millisecond
        found = self._links.count(*window, deadline)
        found.add_counted(self._gone_links.between(*window))
        return found.as_list()

    @property
    def links_wanted(self) -> bool:
        """Whether ``links`` took too long, so that counting ahead is worth more than quiet."""
        return self._links.wanted

    def holdings(self) -> Holdings:
        """Return how much is stored now, and how much was ever stored."""
        return self._reader.holdings()

    def find_ids(self, text: str, deadline: Deadline) -> tuple[str, str | None] | None:
        """Return the trace of a trace id or of its last 8 digits; of a span id, the trace and the span."""
        return searches.find_ids(self._index, self._reader, text, deadline)

    def count_ahead(self, *, newest: bool = True) -> bool:
        """Compute some of what pages will ask for, while there is time; return False if nothing is left to do."""
        return (
            self.cells.hours.add_ahead()
            or any(add_ahead() for add_ahead in self.ahead)
            or self._links.count_ahead(newest=newest)
        )

    def service_names(self) -> list[str]:
        """Return the local services, sorted."""
        return self._names.services()

    def span_names(self, service: str) -> list[str]:
        """Return the names of the spans of a local service, sorted."""
        return self._names.spans(service)

    def remote_service_names(self, service: str) -> list[str]:
        """Return the remote services of the spans of a local service, sorted."""
        return self._names.remote_services(service)

    def tag_values(self, key: str) -> list[str]:
        """Return the values of one of the listed tags, sorted."""
        return self._names.tag_values(key)
