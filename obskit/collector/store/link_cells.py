"""Dependency links, precomputed for ranges of blocks: adding up such cells answers for long windows in milliseconds.

A cell holds the links of the traces whose first block lies in a range. When a later span joins one of them, or a block
is deleted, the cell is dropped and computed again by the next query. At the edges of a window, where only some traces
of a cell lie inside, and for blocks without a cell, the traces themselves are read: the answer is the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from obskit.collector.deadline import Deadline
from obskit.collector.links import Link, Links
from obskit.collector.store.database import Database
from obskit.collector.store.reading import Reader
from obskit.collector.store.recent import BlockKey
from obskit.collector.store.search import by_moment
from obskit.zipkin.model import Span

_CELL = 4_000  # minimum number of spans in the blocks of a cell
_MOST_SHORT = 16
_BEHIND = 2**62  # all blocks
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


class LinkCells:
    """The cells of a database. Any thread may query; ``forget`` is called within the writer's transactions."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        rows = database.rows("SELECT coalesce(max(last), 0) FROM links")
        self._covered: int = rows[0][0]  # no cell has a number above
        self._asked = False  # whether anybody wants links
        self._short: dict[tuple[BlockKey, ...], _Cell] = {}  # of blocks that are too few for one in the database
        self._counting: list[set[int]] = []  # for each cell being computed, which blocks changed meanwhile

    def count(self, first: int, last: int, deadline: Deadline) -> Links:
        """Return the links of the traces with a span between two times; a span without a timestamp counts as 0."""
        self._asked = True
        found = Links()
        cells = [_Cell(*row) for row in self._database.rows("SELECT * FROM links ORDER BY first")]
        for cell in cells:
            self._add_cell(found, cell, first, last, deadline)
        for keys in self._without_cell((cell.first, cell.last) for cell in cells):
            deadline.check()
            short = self._short.get(tuple(keys))
            if short and first <= short.least and short.newest <= last:
                self._add_cell(found, short, first, last, deadline)
            else:
                self._add_blocks(found, keys, first, last)
        return found

    def count_ahead(self, *, newest: bool = True) -> bool:
        """Compute one missing cell ahead of any query; return False if none is missing.

        Without ``newest`` the last one is left out: spans of its traces may still come. Then, amid a load, they are
        computed only for those who have asked before.
        """
        if not newest and not self._asked:
            return False
        ranges = self._database.rows("SELECT first, last FROM links ORDER BY first")
        groups = [keys for keys in self._without_cell(ranges) if sum(spans for _, _, spans in keys) >= _CELL]
        for keys in groups[: 1 if newest or len(groups) > 1 else 0]:
            self._add_blocks(Links(), keys, 0, 0)
            return True
        return False

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
            keys = list(self._reader.keys_between(cell.first, cell.last))
            for spans in self._traces_that_begin(keys):
                if any(span.timestamp for span in spans) and _is_in(spans, first, last):
                    found.add(spans)

    def _without_cell(self, ranges: Iterable[tuple[int, int]]) -> Iterator[list[BlockKey]]:
        """Yield the blocks not covered by the cells' ``ranges``, in groups of the size of a cell."""
        begin = 1
        for first, last in [*ranges, (_BEHIND, _BEHIND)]:
            end = first - 1
            group: list[BlockKey] = []
            for key in self._reader.keys_between(begin, end) if end >= begin else ():
                group.append(key)
                if sum(spans for _, _, spans in group) >= _CELL:
                    yield group
                    group = []
            if group:
                yield group
            begin = last + 1
        yield list(self._reader.keys_to_merge())

    def _add_blocks(self, found: Links, keys: list[BlockKey], first: int, last: int) -> None:
        """Count the links of traces one by one, and store their sum as a cell."""
        changed: set[int] = set()
        self._counting.append(changed)
        try:
            inside, outside, timeless = Links(), Links(), Links()
            moments: list[tuple[int, int]] = []
            for spans in self._traces_that_begin(keys):
                times = [span.timestamp or 0 for span in spans]
                if any(times):
                    moments.append((min(times), max(times)))
                    (inside if _is_in(spans, first, last) else outside).add(spans)
                else:
                    timeless.add(spans)
            found.add_counted(inside.as_list())
            found.add_counted(timeless.as_list() if first == 0 else ())
            if keys:
                outside.add_counted(inside.as_list())
                oldest = min([moment for moment, _ in moments], default=0)
                newest = [moment for _, moment in moments] or [0]
                encoded = [msgspec.json.encode(links.as_list()) for links in (outside, timeless)]
                self._keep(_Cell(keys[0][0], keys[-1][1], oldest, min(newest), max(newest), *encoded), keys, changed)
        finally:
            self._counting = [other for other in self._counting if other is not changed]

    def _keep(self, cell: _Cell, keys: list[BlockKey], changed: set[int]) -> None:
        """Store a cell, unless one of its traces or blocks changed while it was computed."""
        with self._database.transaction() as connection:
            unchanged = not any(cell.first <= number <= cell.last for number in changed)
            if unchanged and sum(spans for _, _, spans in keys) < _CELL:
                if len(self._short) >= _MOST_SHORT:
                    self._short.clear()
                self._short[tuple(keys)] = cell
            elif unchanged and list(self._reader.keys_between(cell.first, cell.last)) == keys:
                values = (cell.first, cell.last, cell.oldest, cell.least, cell.newest, cell.links, cell.timeless)
                connection.execute("INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?, ?, ?, ?)", values)
                self._covered = max(self._covered, cell.last)

    def _traces_that_begin(self, keys: list[BlockKey]) -> Iterator[list[Span]]:
        """Yield the traces whose first block is one of these, with all their spans."""
        for key in keys:
            traces = list(self._reader.block(key))
            first = {trace: numbers[0] for trace, numbers in self._reader.numbers(traces).items()}
            begun = [trace for trace in traces if first.get(trace, 0) >= key[0]]
            yield from map(by_moment, self._reader.traces(begun).values())


def _is_in(spans: list[Span], first: int, last: int) -> bool:
    return any(first <= (span.timestamp or 0) <= last for span in spans)
