"""Eviction from a full store: the oldest spans of services that hold more than their share (see ``shares``)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from obskit.collector.store.block_table import BlockTable
from obskit.collector.store.blocks import (
    MOST_BYTES,
    MOST_SPANS,
    Damaged,
    Part,
    decode_lines,
    lines_of,
    low_id,
    pack,
    service_id,
    trace_numbers,
)
from obskit.collector.store.database import StoreError
from obskit.collector.store.link_minutes import LinkMinutes
from obskit.collector.store.outbox import is_place_within, move_places
from obskit.collector.store.trace_index import TraceIndex
from obskit.zipkin.model import Span, local_service

_TOGETHER = 1 / 16  # of the maximum age: merged spans expire together


class TooMany(StoreError):
    """A message, together with the stored spans of its traces, exceeds the store's limits."""


@dataclass
class _Excess:
    """By how much services exceed their share, in spans or in bytes."""

    amounts: dict[int, float]
    in_bytes: bool

    def covers(self, services: Iterable[tuple[int, int, int]]) -> bool:
        """Return whether all of this may be evicted: services, each with spans and bytes."""
        return all(self.amounts.get(service, 0) >= amounts[self.in_bytes] for service, *amounts in services)

    def takes(self, span: Span, line: bytes) -> bool:
        """Return whether the span must be evicted, and subtract it from the excess of its service."""
        service = service_id(local_service(span))
        above = self.amounts.get(service, 0)
        if above > 0:
            self.amounts[service] = above - (len(line) if self.in_bytes else 1)
        return above > 0


@dataclass
class Removed:
    """What was deleted: the traces that lost spans, and the numbers of the blocks that changed."""

    traces: set[int] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)


class Eviction:
    """The limits of a store, enforced within the caller's transactions."""

    def __init__(
        self,
        table: BlockTable,
        index: TraceIndex,
        links: LinkMinutes,
        max_spans: int,
        max_bytes: int,
        max_age: float,
    ) -> None:
        self._table, self._index, self._links = table, index, links
        self._max_spans, self._max_bytes, self._max_age = max_spans, max_bytes, max_age

    def evict(self, connection: sqlite3.Connection, kept: AbstractSet[int]) -> Removed:
        """Delete what is too old or over the limits, except the traces ``kept``. Raises TooMany."""
        removed = Removed()
        self._expire(connection, removed)
        number = 0
        while excess := self._excess():
            number = _oldest(connection, excess.amounts, number)
            if not number:
                limits = f"{self._max_spans} spans and {self._max_bytes} bytes"
                what = "the traces of this message alone are over what other services leave of the store's"
                raise TooMany(f"{what} {limits}; raise its limits")
            self._reduce(connection, number, excess, kept, removed)
        return removed

    def _excess(self) -> _Excess | None:
        in_spans, in_bytes = self._table.spans > self._max_spans, self._table.size > self._max_bytes
        if not in_spans and not in_bytes:
            return None
        return _Excess(self._table.shares.excess(in_bytes=not in_spans), in_bytes=not in_spans)

    def _expire(self, connection: sqlite3.Connection, removed: Removed) -> None:
        expired = time.time() - self._max_age
        oldest = "SELECT number, last, traces, arrived FROM blocks ORDER BY number LIMIT 1"
        while expired > 0 and (row := connection.execute(oldest).fetchone()) and row[3] < expired:
            self._delete(connection, row[0], row[1], set(trace_numbers(row[2])), removed)

    def _reduce(
        self, connection: sqlite3.Connection, number: int, excess: _Excess, kept: AbstractSet[int], removed: Removed
    ) -> None:
        """Delete from a block what exceeds the shares, the whole block at once if possible."""
        statement = "SELECT last, traces, data FROM blocks WHERE number = ?"
        ((last, traces, data),) = connection.execute(statement, (number,)).fetchall()
        held = connection.execute("SELECT service, spans, bytes FROM held WHERE number = ?", (number,)).fetchall()
        all_traces = set(trace_numbers(traces))
        lines: list[bytes] = []
        if all_traces & kept or not excess.covers(held):
            try:
                lines = lines_of(data)
                spans = decode_lines(lines)
            except Damaged:
                lines = []
        if not lines:
            self._delete(connection, number, last, all_traces, removed)
            return
        stay = [
            low_id(span.trace_id) in kept or not excess.takes(span, line)
            for span, line in zip(spans, lines, strict=True)
        ]
        if all(stay):
            return
        if not any(stay):
            self._delete(connection, number, last, all_traces, removed)
            return
        self._cut(connection, number, last, spans, lines, stay, removed)

    def _delete(
        self, connection: sqlite3.Connection, number: int, last: int, traces: set[int], removed: Removed
    ) -> None:
        with self._links.outlive(connection, traces):
            self._table.delete(connection, number, last)
            self._index.remove(connection, traces, number, last)
        removed.traces |= traces
        removed.numbers.add(number)

    def _cut(
        self,
        connection: sqlite3.Connection,
        number: int,
        last: int,
        spans: Sequence[Span],
        lines: Sequence[bytes],
        stay: Sequence[bool],
        removed: Removed,
    ) -> None:
        """Keep some spans of a block. Remnants of blocks are merged, as every search looks at every block."""
        changed = {low_id(span.trace_id) for span, stays in zip(spans, stay, strict=True) if not stays}
        left = {low_id(span.trace_id) for span, stays in zip(spans, stay, strict=True) if stays}
        move_places(connection, number, last, stay)
        first, before = self._neighbour(connection, number, last, sum(stay))
        lines = [*before, *(line for line, stays in zip(lines, stay, strict=True) if stays)]
        with self._links.outlive(connection, changed):
            self._index.remove(connection, changed - left, number, last)
            self._index.join(connection, left, first, last)
            self._table.replace(connection, first, last, pack(Part(decode_lines(lines), lines), final=True))
        removed.traces |= changed
        removed.numbers |= {first, number}

    def _neighbour(self, connection: sqlite3.Connection, number: int, last: int, spans: int) -> tuple[int, list[bytes]]:
        """Return number and spans of the block before, if the remnant can be merged into it; else its own number."""
        statement = """
            SELECT number, arrived, data, (SELECT arrived FROM blocks WHERE number = ?1) - arrived FROM blocks
            WHERE number = (SELECT max(number) FROM blocks WHERE number < ?1) AND spans <= ?2 AND length(filter) > 0
            AND length(data) <= ?3
        """
        found = connection.execute(statement, (number, MOST_SPANS - spans, MOST_BYTES // 4)).fetchone()
        if found and found[3] <= self._max_age * _TOGETHER and not is_place_within(connection, found[0], last):
            try:
                before = lines_of(found[2])
                decode_lines(before)
                return found[0], before
            except Damaged:
                pass
        return number, []


def _oldest(connection: sqlite3.Connection, services: Iterable[int], after: int) -> int:
    """Return the number of the next block with spans of some services; 0 if there is none."""
    statement = "SELECT min(number) FROM held WHERE service = ? AND number > ?"
    found = [connection.execute(statement, (service, after)).fetchone()[0] for service in services]
    return min(filter(None, found), default=0)
