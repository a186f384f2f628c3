"""Reads blocks: the spans of traces, the blocks of a time window, newest first, and how much is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from obskit.collector.store.blocks import Damaged, low_ids, trace_numbers, unpack, unpack_trace, unpack_with
from obskit.collector.store.database import Database, StoreError
from obskit.collector.store.outlines import Outline, unpack_outlines
from obskit.collector.store.recent import BlockKey, RecentBlocks, SpansByTrace
from obskit.collector.store.text_index import TextIndex
from obskit.collector.store.trace_index import TraceIndex
from obskit.zipkin.model import Span

_FEW = 4  # traces that are looked for in a block without decoding all of it
_PAGE = 32  # blocks read before the writer gets the lock again
_MOST_HEADERS = 512  # read at once
_HEADER = "number, last, spans, newest, longest, filter"
_COVERS = "number = (SELECT max(number) FROM blocks WHERE number <= ?) AND last >= ?"
_LATEST = 2**63 - 1
_Read = TypeVar("_Read", Span, Outline)


@dataclass(frozen=True)
class Header:
    """What is known of a block before its spans are read."""

    key: BlockKey
    newest: int
    longest: int
    filter: bytes


@dataclass(frozen=True)
class Holdings:
    """Stored spans and about how many bytes they take; ``since`` is when the oldest arrived (epoch seconds), or 0."""

    spans: int
    size: int
    ever: int  # spans stored since the file was created
    since: int

    @property
    def gone(self) -> int:
        """Return how many spans were evicted."""
        return max(self.ever - self.spans, 0)


class Reader:
    """Reads from a database in separate short statements, so that the writer never waits for a search."""

    def __init__(self, database: Database, index: TraceIndex, texts: TextIndex) -> None:
        self._database = database
        self._index = index
        self._texts = texts
        self._recent = RecentBlocks()

    def forget(self) -> None:
        """Empty the cache: blocks may have been read in a transaction that was rolled back."""
        self._recent = RecentBlocks()

    def numbers(self, traces: Sequence[int]) -> dict[int, list[int]]:
        """Return the numbers of the blocks with spans of each trace; traces that are not stored are missing."""
        return self._index.numbers(traces)

    def traces(self, traces: Sequence[int]) -> dict[int, list[Span]]:
        """Return the spans of each trace, by the low 64 bits of its id, in order of arrival."""
        numbers = self.numbers(traces)
        spans: dict[int, list[Span]] = {trace: [] for trace in traces if trace in numbers}
        for key in self.keys({number for found in numbers.values() for number in found}):
            block = self._recent.get(key)
            if block is None:
                wanted = [trace for trace, its in numbers.items() if any(key[0] <= number <= key[1] for number in its)]
                block = self._only(key, wanted) if len(wanted) <= _FEW else self.block(key)
            for trace in block.keys() & spans.keys():
                spans[trace] += block[trace]
        return spans

    def _only(self, key: BlockKey, traces: Collection[int]) -> SpansByTrace:
        """Return the spans of some traces in a block."""
        rows = self._database.rows(f"SELECT data, traces FROM blocks WHERE {_COVERS}", *key[:2])
        try:
            return {trace: unpack_trace(data, its, trace) for data, its in rows for trace in traces}
        except Damaged as error:
            raise StoreError(f"block {key[0]} in {self._database.name} is damaged: {error}") from None

    def keys(self, numbers: Iterable[int]) -> Iterator[BlockKey]:
        """Yield the blocks that now hold these numbers, in order of arrival."""
        last = 0
        for number in sorted(numbers):
            if number <= last:
                continue
            statement = "SELECT number, last, spans FROM blocks WHERE number <= ? ORDER BY number DESC LIMIT 1"
            for key in self._database.rows(statement, number):
                last = key[1]
                if last >= number:
                    yield key[0], last, key[2]

    def keys_between(self, first: int, last: int) -> Iterator[BlockKey]:
        """Yield the final blocks in a range of numbers, in order of arrival."""
        while page := list(self._keys("number BETWEEN ? AND ? AND length(filter) > 0", first, last, limit=_PAGE)):
            yield from page
            first = page[-1][1] + 1

    def keys_to_merge(self) -> Iterator[BlockKey]:
        """Yield the small blocks at the end, which will be merged."""
        return self._keys("length(filter) = 0")

    def keys_after(self, number: int) -> Iterator[BlockKey]:
        """Yield the block that holds a number, and the next one."""
        begin = "coalesce((SELECT max(number) FROM blocks WHERE number <= ?), 0)"
        return self._keys(f"number >= {begin}", number, limit=2)

    def ordinal(self, number: int) -> int:
        """Return how many spans were stored before this block's."""
        ((ordinal,),) = self._database.rows("SELECT ordinal FROM arrivals WHERE number = ?", number)
        return int(ordinal)

    def end(self) -> tuple[int, int]:
        """Return the number of the last block, and how many spans were stored up to its end."""
        statement = """
            SELECT totals.last, coalesce(ordinal + blocks.spans, 0) FROM totals
            LEFT JOIN (SELECT max(number) AS number FROM blocks) AS newest
            LEFT JOIN blocks USING (number) LEFT JOIN arrivals USING (number)
        """
        ((number, ordinal),) = self._database.rows(statement)
        return number, ordinal

    def in_order(self, key: BlockKey) -> list[Span]:
        """Return the spans of a block in order of arrival."""
        rows = self._database.rows("SELECT data FROM blocks WHERE number = ?", key[0])
        try:
            return unpack(rows[0][0]) if rows else []
        except Damaged as error:
            raise StoreError(f"block {key[0]} in {self._database.name} is damaged: {error}") from None

    def _keys(self, condition: str, *parameters: int, limit: int = -1) -> Iterator[BlockKey]:
        statement = f"SELECT number, last, spans FROM blocks WHERE {condition} ORDER BY number LIMIT {limit}"
        yield from ((row[0], row[1], row[2]) for row in self._database.rows(statement, *parameters))

    def holdings(self) -> Holdings:
        """Return how much is stored, since when, and how much was evicted."""
        ((spans, size),) = self._database.rows("SELECT spans, size FROM totals")
        ((since,),) = self._database.rows("SELECT coalesce((SELECT arrived FROM blocks ORDER BY number LIMIT 1), 0)")
        return Holdings(spans, size, self.end()[1], since)

    def block(self, key: BlockKey) -> SpansByTrace:
        """Return the spans of one block by trace: all of the merged one if it was merged, none if it was deleted."""
        found = self._recent.get(key)
        if found is not None:
            return found
        rows = self._database.rows(f"SELECT number, last, spans, data FROM blocks WHERE {_COVERS}", *key[:2])
        if not rows:
            return {}
        *new_key, data = rows[0]
        found = self._by_trace(key, unpack, data)
        self._recent.put((new_key[0], new_key[1], new_key[2]), found, len(data))
        return found

    def unkept(self, key: BlockKey) -> SpansByTrace:
        """Return ``block`` for one who will not read it again."""
        found = self._recent.get(key)
        data = self.data(key) if found is None else None
        return self._by_trace(key, unpack, data) if data else found or {}

    def outlines(self, key: BlockKey) -> dict[int, list[Outline]]:
        """Return the outlines of the spans of one block by trace."""
        data = self.data(key)
        return self._by_trace(key, unpack_outlines, data) if data else {}

    def with_text(self, key: BlockKey, text: bytes) -> SpansByTrace:
        """Return the spans of one block whose JSON holds a text, by trace; all of a block that is in the cache."""
        found = self._recent.get(key)
        data = self.data(key) if found is None else None
        return self._by_trace(key, unpack_with, data, text) if data else found or {}

    def _by_trace(self, key: BlockKey, read: Callable[..., list[_Read]], *arguments: bytes) -> dict[int, list[_Read]]:
        found: defaultdict[int, list[_Read]] = defaultdict(list)
        try:
            spans = read(*arguments)
            lows = low_ids([span.trace_id for span in spans])
        except (Damaged, ValueError) as error:
            raise StoreError(f"block {key[0]} in {self._database.name} is damaged: {error}") from None
        for low, span in zip(lows, spans, strict=True):
            found[low].append(span)
        return dict(found)

    def data(self, key: BlockKey) -> bytes | None:
        """Return the compressed spans of a block: of the merged one if it was merged, None if it was deleted."""
        rows = self._database.rows(f"SELECT data FROM blocks WHERE {_COVERS}", *key[:2])
        return rows[0][0] if rows else None

    def traces_of(self, key: BlockKey) -> set[int]:
        """Return the traces with spans in a block, by the low 64 bits of their ids; none if it was deleted."""
        rows = self._database.rows(f"SELECT traces FROM blocks WHERE {_COVERS}", *key[:2])
        return set(trace_numbers(rows[0][0])) if rows else set()

    def traces_between(self, first: int, last: int) -> set[int] | None:
        """Return the traces of the blocks with a span between two times, by the low 64 bits of their ids.

        None where these are many blocks, as when a clock is wrong by years.
        """
        statement = "SELECT traces FROM blocks WHERE newest >= ? AND first <= ? LIMIT ?"
        rows = self._database.rows(statement, first, last, _MOST_HEADERS)
        return {trace for (traces,) in rows for trace in trace_numbers(traces)} if len(rows) < _MOST_HEADERS else None

    def requests(self, keys: Sequence[BlockKey]) -> dict[int, bytes]:
        """Return the requests of blocks in columns, by the block's number; those that are not written are missing."""
        marks = ",".join("?" * len(keys))
        statement = f"SELECT number, data FROM requests WHERE number IN ({marks})"
        return dict(self._database.rows(statement, *[key[0] for key in keys]))

    def keys_of_time(self, first: int, last: int) -> list[BlockKey]:
        """Return the blocks with a span that began between two times, by their newest one."""
        statement = "SELECT number, last, spans FROM blocks WHERE newest >= ? AND first <= ? ORDER BY newest DESC"
        return [(row[0], row[1], row[2]) for row in self._database.rows(statement, first, last)]

    def newest(self) -> int:
        """Return when the newest span began (microseconds); 0 if none is stored."""
        ((newest,),) = self._database.rows("SELECT max(newest) FROM blocks")
        return newest or 0

    def headers(
        self, first: int, last: int, after: Header | None = None, shortest: int = 0, token: int | None = None
    ) -> Iterator[Header]:
        """Yield the blocks with a span between two times, by their newest span; those without timestamps last.

        ``after`` a block; where it helps, only those with a span as long as ``shortest``, or those that may hold
        ``token``.
        """
        last = min(last, _LATEST)
        begin = (after.newest, after.key[0]) if after else (_LATEST, _LATEST)
        found = self._holding(token, first, last, begin) if token is not None else None
        if found is not None:
            yield from found
            return
        yield from self._pages(max(first, 1), last, shortest, begin)
        yield from self._pages(0, last, shortest, min(begin, (0, _LATEST)))

    def _pages(self, first: int, last: int, shortest: int, after: tuple[int, int]) -> Iterator[Header]:
        statement = f"""
            SELECT {_HEADER} FROM blocks
            WHERE newest >= ? AND first <= ? AND longest >= ? AND (newest, number) < (?, ?)
            ORDER BY newest DESC, number DESC LIMIT ?
        """
        while rows := self._database.rows(statement, first, last, shortest, *after, _PAGE):
            yield from map(_header, rows)
            after = (rows[-1][3], rows[-1][0])

    def _holding(self, token: int, first: int, last: int, after: tuple[int, int]) -> list[Header] | None:
        """Return the blocks that may hold a token; None where they are so many that it is better to look at all."""
        covered = self._texts.covered  # the numbers behind it are in no group
        behind = f"SELECT {_HEADER}, first FROM blocks WHERE number > ? LIMIT ?"
        rows = self._database.rows(behind, covered, _MOST_HEADERS)
        numbers = self._texts.numbers(token, first, last, covered)
        if len(rows) == _MOST_HEADERS or len(numbers) >= _MOST_HEADERS:
            return None
        for key in self.keys({*numbers, covered}):
            rows += self._database.rows(f"SELECT {_HEADER}, first FROM blocks WHERE number = ?", key[0])
        inside = [_header(row[:-1]) for row in rows if (row[3] >= first or not row[3]) and row[-1] <= last]
        later = {(header.newest, header.key[0]): header for header in inside}
        return [later[place] for place in sorted(later, reverse=True) if place < after]


def _header(row: tuple[Any, ...]) -> Header:
    number, last, spans, newest, longest, bits = row
    return Header((number, last, spans), newest, longest, bits)
