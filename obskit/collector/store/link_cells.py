"""Dependency links, precomputed for ranges of blocks: adding up such cells answers for long windows in milliseconds.

A cell holds the links of the traces whose first block lies in a range. When a later span joins one of them, or a block
is deleted, the cell is dropped and computed again by the next query. At the edges of a window, where only some traces
of a cell lie inside, it knows which (see ``link_patterns``). For blocks without a cell, and a window that is shorter
than a trace, the traces themselves are read: the answer is the same.

Spans of old traces are rare, so old cells are merged into large ones.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import msgspec

from obskit.collector.deadline import Deadline, Stopped
from obskit.collector.links import Link, Links
from obskit.collector.store.database import Database
from obskit.collector.store.link_patterns import LinkPatterns
from obskit.collector.store.outlines import Outline
from obskit.collector.store.reading import Reader
from obskit.collector.store.recent import BlockKey
from obskit.collector.store.search import by_moment
from obskit.zipkin.model import Span

_CELL = 4_000  # minimum number of spans in the blocks of a cell
_LARGE = 64_000  # the same of old ones, which are merged
_YOUNG = 32  # cells at the end which are not merged
_MOST_SHORT = 16
_WANTED = 600.0  # seconds for which cells are counted, whatever comes, after a question that took too long
_BEHIND = 2**62  # all blocks
_HEAD = "first, last, oldest, least, newest, links, timeless, spans"
_Read = TypeVar("_Read", Span, Outline)
_read_links = msgspec.json.Decoder(list[Link]).decode


@dataclass(frozen=True)
class _Cell:
    """The links of the traces that began in some blocks, and the times of these traces in microseconds."""

    first: int  # numbers of blocks
    last: int
    oldest: int  # the earliest timestamp of all
    least: int  # the earliest of the traces' newest timestamps
    newest: int
    links: bytes
    timeless: bytes  # the links of traces without any timestamp
    spans: int  # in the blocks
    traces: bytes = b""  # LinkPatterns; empty where only the above was read


def _cell(first: int, last: int, spans: int, traces: LinkPatterns, timeless: Links) -> _Cell:
    links, others = msgspec.json.encode(traces.total()), msgspec.json.encode(timeless.as_list())
    return _Cell(first, last, *traces.times, links, others, spans, traces.packed())


class LinkCells:
    """The cells of a database. Any thread may query; ``forget`` is called within the writer's transactions."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        rows = database.rows("SELECT coalesce(max(last), 0) FROM links")
        self._covered: int = rows[0][0]  # no cell has a number above
        self._short: dict[tuple[BlockKey, ...], _Cell] = {}  # of blocks that are too few for one in the database
        self._turn = threading.Lock()
        self._wanted_until = 0.0  # of the monotonic clock
        self._counting: list[set[int]] = []  # for each cell being computed, which blocks changed meanwhile

    def count(self, first: int, last: int, deadline: Deadline) -> Links:
        """Return the links of the traces with a span between two times; a span without a timestamp counts as 0."""
        try:
            return self._sum(first, last, deadline)
        except Stopped as stopped:
            if deadline.client_left:
                raise
            self._wanted_until = time.monotonic() + _WANTED
            raise Stopped(f"{stopped}, or ask again: links are being counted in the background") from None

    @property
    def wanted(self) -> bool:
        """Whether somebody asked in vain, a while ago at most, and cells are missing."""
        return time.monotonic() < self._wanted_until

    def _sum(self, first: int, last: int, deadline: Deadline) -> Links:
        found = Links()
        cells = [_Cell(*row) for row in self._database.rows(f"SELECT {_HEAD} FROM links ORDER BY first")]
        for cell in cells:
            self._add_cell(found, cell, first, last, deadline)
        for keys in self._without_cell((cell.first, cell.last) for cell in cells):
            deadline.check()
            if keys:
                self._add_cell(found, self._counted(keys), first, last, deadline)
        return found

    def count_ahead(self, *, newest: bool = True) -> bool:
        """Compute one missing cell ahead of any query, or merge old ones; return False if there is nothing to do.

        Without ``newest`` the last one is left out: spans of its traces may still come.
        """
        ranges = self._database.rows("SELECT first, last FROM links ORDER BY first")
        whole = (keys for keys in self._without_cell(ranges) if _spans(keys) >= _CELL)
        keys, following = next(whole, None), next(whole, None)
        if keys and (newest or following or self.wanted):
            self._counted(keys)
            return True
        self._wanted_until = 0.0
        return self._merge_old()

    def forget(self, connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
        """Drop the cells of traces that changed; ``numbers`` are the numbers of the traces' first blocks."""
        numbers = list(numbers)
        for changed in tuple(self._counting):
            changed.update(numbers)
        for keys, short in list(self._short.items()):
            if any(short.first <= number <= short.last for number in numbers):
                self._short.pop(keys, None)
        outdated = [(number, number) for number in numbers if number <= self._covered]
        connection.executemany("DELETE FROM links WHERE first <= ? AND last >= ?", outdated)

    def _add_cell(self, found: Links, cell: _Cell, first: int, last: int, deadline: Deadline) -> None:
        if first == 0:
            found.add_counted(_read_links(cell.timeless))
        if first <= cell.least and cell.newest <= last:
            found.add_counted(_read_links(cell.links))
        elif cell.newest >= first and cell.oldest <= last:
            deadline.check()
            links = self._traces(cell).between(first, last)
            found.add_counted(self._links_between(cell, first, last) if links is None else links)

    def _traces(self, cell: _Cell) -> LinkPatterns:
        """Return the traces of a cell, which may have been dropped since it was read."""
        statement = "SELECT traces FROM links WHERE first = ? AND last = ? AND spans = ?"
        rows = [] if cell.traces else self._database.rows(statement, cell.first, cell.last, cell.spans)
        for (packed,) in rows or [(cell.traces,)]:
            if packed:
                return LinkPatterns.unpacked(packed)
        return self._read(list(self._reader.keys_between(cell.first, cell.last)))[0]

    def _links_between(self, cell: _Cell, first: int, last: int) -> list[Link]:
        """Return the links of a cell's traces with a span between two times, by all their spans."""
        links = Links()
        keys = list(self._reader.keys_between(cell.first, cell.last))
        for _, its in self._traces_that_begin(keys, self._reader.unkept):
            spans = by_moment(its)
            if any(span.timestamp for span in spans) and _is_in(spans, first, last):
                links.add(spans)
        return links.as_list()

    def _without_cell(self, ranges: Iterable[tuple[int, int]]) -> Iterator[list[BlockKey]]:
        """Yield the blocks not covered by the cells' ``ranges``, in groups of the size of a cell."""
        begin = 1
        for first, last in [*ranges, (_BEHIND, _BEHIND)]:
            end = first - 1
            group: list[BlockKey] = []
            for key in self._reader.keys_between(begin, end) if end >= begin else ():
                group.append(key)
                if _spans(group) >= _CELL:
                    yield group
                    group = []
            if group:
                yield group
            begin = last + 1
        yield list(self._reader.keys_to_merge())

    def _counted(self, keys: list[BlockKey]) -> _Cell:
        """Return the cell of some blocks. Threads take turns: one finds what another has counted."""
        with self._turn:
            statement = f"SELECT {_HEAD} FROM links WHERE first = ? AND last = ? AND spans = ?"
            for row in self._database.rows(statement, keys[0][0], keys[-1][1], _spans(keys)):
                return _Cell(*row)
            return self._short.get(tuple(keys)) or self._count(keys)

    def _count(self, keys: list[BlockKey]) -> _Cell:
        """Compute the cell of some blocks, and store it."""
        changed: set[int] = set()
        self._counting.append(changed)
        try:
            cell = _cell(keys[0][0], keys[-1][1], _spans(keys), *self._read(keys))
            self._keep(cell, keys, changed)
        finally:
            self._counting = [other for other in self._counting if other is not changed]
        return cell

    def _read(self, keys: list[BlockKey]) -> tuple[LinkPatterns, Links]:
        """Return the links of the traces that begin in some blocks, and those of traces without a timestamp."""
        traces, timeless = LinkPatterns(), Links()
        begun = self._traces_that_begin(keys, self._reader.outlines)
        unknown = {trace: its for trace, its in begun if not traces.add(its)}
        for trace, spans in self._reader.traces(list(unknown)).items():
            if not traces.add_spans(by_moment(spans), unknown[trace]):
                timeless.add(by_moment(spans))
        return traces, timeless

    def _keep(self, cell: _Cell, keys: list[BlockKey], changed: set[int]) -> None:
        """Store a cell, unless one of its traces or blocks changed while it was computed."""
        with self._database.transaction() as connection:
            unchanged = not any(cell.first <= number <= cell.last for number in changed)
            if unchanged and cell.spans < _CELL:
                if len(self._short) >= _MOST_SHORT:
                    self._short.clear()
                self._short[tuple(keys)] = cell
            elif unchanged and list(self._reader.keys_between(cell.first, cell.last)) == keys:
                _store(connection, cell)
                self._covered = max(self._covered, cell.last)

    def _merge_old(self) -> bool:
        """Merge some adjacent cells; return False if there are none."""
        rows = self._database.rows("SELECT first, last, spans FROM links ORDER BY first DESC LIMIT -1 OFFSET ?", _YOUNG)
        run: list[tuple[int, int, int]] = []
        for after, row in pairwise([(0, 0, 0), *rows]):
            is_adjacent = row[1] + 1 == after[0] and row[2] < _LARGE
            run = [*run, row] if is_adjacent and run else [row] if row[2] < _LARGE else []
            if len(run) > 1 and sum(spans for _, _, spans in run) >= _LARGE:
                self._merge(run[-1][0], run[0][1], len(run))
                return True
        return False

    def _merge(self, first: int, last: int, count: int) -> None:
        """Merge the cells of a range, unless one of them is gone."""
        with self._database.transaction() as connection:
            cells = "FROM links WHERE first BETWEEN ? AND ?"
            rows = connection.execute(
                f"SELECT spans, timeless, traces {cells} ORDER BY first", (first, last)
            ).fetchall()
            if len(rows) == count:
                connection.execute(f"DELETE {cells}", (first, last))
                traces, timeless = LinkPatterns(), Links()
                for _, others, packed in rows:
                    timeless.add_counted(_read_links(others))
                    traces.add_all(LinkPatterns.unpacked(packed))
                _store(connection, _cell(first, last, sum(row[0] for row in rows), traces, timeless))

    def _traces_that_begin(
        self, keys: list[BlockKey], read: Callable[[BlockKey], dict[int, list[_Read]]]
    ) -> Iterable[tuple[int, list[_Read]]]:
        """Return the traces whose first block is one of these, each with what ``read`` reads of all its spans."""
        blocks = {key: read(key) for key in keys}
        numbers = self._reader.numbers(list({trace for block in blocks.values() for trace in block}))
        first = {trace: its[0] for trace, its in numbers.items()}
        begun = {trace for key, block in blocks.items() for trace in block if first.get(trace, 0) >= key[0]}
        found: dict[int, list[_Read]] = {trace: [] for trace in begun}
        for key in self._reader.keys({number for trace in begun for number in numbers[trace]}):
            block = blocks[key] if key in blocks else read(key)
            for trace in block.keys() & begun:
                found[trace] += block[trace]
        return found.items()


def _store(connection: sqlite3.Connection, cell: _Cell) -> None:
    values = (cell.first, cell.last, cell.oldest, cell.least, cell.newest, cell.links, cell.timeless, cell.spans)
    connection.execute("INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, cell.traces))


def _spans(keys: Iterable[BlockKey]) -> int:
    return sum(spans for _, _, spans in keys)


def _is_in(spans: list[Span], first: int, last: int) -> bool:
    return any(first <= (span.timestamp or 0) <= last for span in spans)
