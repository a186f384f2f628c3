"""Making room in a full store: what came first goes, of services that hold more than their share (see ``shares``)."""

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
    decode_lines,
    lines_of,
    local_service,
    low_id,
    pack,
    service_id,
    trace_numbers,
)
from obskit.collector.store.database import StoreError
from obskit.collector.store.link_minutes import LinkMinutes
from obskit.collector.store.outbox import is_place_within, move_places
from obskit.zipkin.model import Span

_TOGETHER = 1 / 16  # of the largest age: what is merged expires together


class TooMany(StoreError):
    """A message, with what is stored of its traces, is larger than the store may get."""


@dataclass
class _Excess:
    """By how much services are above their share, in spans or in bytes."""

    amounts: dict[int, float]
    in_bytes: bool

    def covers(self, services: Iterable[tuple[int, int, int]]) -> bool:
        """True when all of this can go: services, each with spans and bytes."""
        return all(self.amounts.get(service, 0) >= amounts[self.in_bytes] for service, *amounts in services)

    def takes(self, span: Span, line: bytes) -> bool:
        """True when the span must go, which makes the excess of its service smaller."""
        service = service_id(local_service(span))
        above = self.amounts.get(service, 0)
        if above > 0:
            self.amounts[service] = above - (len(line) if self.in_bytes else 1)
        return above > 0


@dataclass
class Removed:
    """What was deleted: the traces that are not whole any more, and the numbers of the blocks that changed."""

    traces: set[int] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)


class Room:
    """The limits of a store, kept within transactions of the caller's."""

    def __init__(self, table: BlockTable, links: LinkMinutes, max_spans: int, max_bytes: int, max_age: float) -> None:
        self._table, self._links = table, links
        self._max_spans, self._max_bytes, self._max_age = max_spans, max_bytes, max_age

    def make(self, connection: sqlite3.Connection, kept: AbstractSet[int]) -> Removed:
        """Deletes what is too old, and what is too much but for the traces ``kept``. Raises TooMany."""
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
        """Deletes from a block what is above the shares, a whole block at once where it can."""
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
            _leave(connection, traces, number, last)
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
        """Keeps some spans of a block. What is left of many blocks is joined: searches look at every block."""
        changed = {low_id(span.trace_id) for span, stays in zip(spans, stay, strict=True) if not stays}
        left = {low_id(span.trace_id) for span, stays in zip(spans, stay, strict=True) if stays}
        move_places(connection, number, last, stay)
        first, before = self._neighbour(connection, number, last, sum(stay))
        lines = [*before, *(line for line, stays in zip(lines, stay, strict=True) if stays)]
        with self._links.outlive(connection, changed):
            _leave(connection, changed - left, number, last)
            self._table.replace(connection, first, last, pack(decode_lines(lines), lines, final=True))
        removed.traces |= changed
        removed.numbers |= {first, number}

    def _neighbour(self, connection: sqlite3.Connection, number: int, last: int, spans: int) -> tuple[int, list[bytes]]:
        """The number and spans of the block before, where what is left of this one can join it; else its own."""
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
    """The number of the first block after another one that has spans of some services; 0 when there is none."""
    statement = "SELECT min(number) FROM held WHERE service = ? AND number > ?"
    found = [connection.execute(statement, (service, after)).fetchone()[0] for service in services]
    return min(filter(None, found), default=0)


def _leave(connection: sqlite3.Connection, traces: Iterable[int], number: int, last: int) -> None:
    """A block has no spans of these traces any more."""
    ends = [(trace, number, last) for trace in traces]
    connection.executemany("DELETE FROM parts WHERE trace = ? AND number BETWEEN ? AND ?", ends)
