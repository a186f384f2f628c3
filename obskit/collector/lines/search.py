"""Searching lines: newest first, block by block, until there are enough or the time for it is over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from obskit.collector.deadline import Deadline
from obskit.collector.lines.blocks import Counts, unpack, unpack_counts
from obskit.collector.lines.line import Line, Words
from obskit.collector.store.blocks import Damaged, low_id
from obskit.collector.store.database import Database
from obskit.zipkin.ids import trace_key

PATIENCE = 0.4  # seconds before a search answers with what it has
EVER = 2**62  # microseconds
_HEADERS = "SELECT number, first, newest FROM line_blocks WHERE newest >= ? AND first <= ? AND worst >= ?"
_ONE_SECOND, _ONE_MINUTE = 1_000_000, 60_000_000
_FEW_MINUTES, _FEW_LINES = 15, 20_000  # of which a histogram reads each line

_T = TypeVar("_T")
Place = tuple[int, int]  # time and id of a line: the order of all lines


@dataclass(frozen=True)
class LineQuery:
    """Which lines. Times are microseconds, both included; ``before`` and ``after`` are places, not included."""

    words: Words = field(default_factory=Words)
    severity: int = 0
    service: str = ""
    instance: str | None = None
    logger: str = ""
    trace: str = ""
    first: int = 0
    last: int = EVER
    before: Place | None = None
    after: Place | None = None
    limit: int = 200

    def matches(self, line: Line) -> bool:
        """Return True for a line that is asked for."""
        place = (line.time, line.id)
        return (
            self.first <= line.time <= self.last
            and line.severity >= self.severity
            and self.service in ("", line.service)
            and self.instance in (None, line.instance)
            and (self.before is None or place < self.before)
            and (self.after is None or place > self.after)
            and (not self.logger or f"{line.logger}.".startswith(f"{self.logger}."))
            and (not self.trace or trace_key(line.trace) == trace_key(self.trace))
            and self.words.match(line)
        )


@dataclass
class Found:
    """Lines in order of time, the last one last, and where an older search goes on; None when these are all.

    ``searched_from`` is the time down to which lines were looked at, where the search had to stop before the end.
    """

    lines: list[Line]
    more: Place | None = None
    searched_from: int | None = None
    last_id: int = 0


@dataclass(frozen=True)
class _Header:
    number: int
    first: int
    newest: int


class _Gone(Exception):
    """A block was merged with others, or made room, after it was listed."""


def search(database: Database, query: LineQuery, deadline: Deadline, patience: float = PATIENCE) -> Found:
    """Return the newest lines that match. Raises StoreError, and Stopped where the client has left."""
    return _settled(lambda: _search(database, query, deadline, patience))


def newer(database: Database, query: LineQuery) -> Found:
    """Return the oldest lines that match: what follows ``query.after``. Raises StoreError."""
    return _settled(lambda: _newer(database, query))


def arrived(database: Database, query: LineQuery, last_id: int, deadline: Deadline) -> Found:
    """Return the last of the lines that match and came after a line. Raises StoreError or Stopped."""
    return _settled(lambda: _arrived(database, query, last_id, deadline))


def line_of(database: Database, line_id: int) -> Line | None:
    """Return a line by its id. Raises StoreError."""
    return _settled(lambda: _line_of(database, line_id))


def _settled(read: Callable[[], _T]) -> _T:
    """Return what ``read`` returns; call it again if the writer moved lines meanwhile."""
    while True:
        with suppress(_Gone):
            return read()


def _search(database: Database, query: LineQuery, deadline: Deadline, patience: float) -> Found:
    began = time.monotonic()
    found: list[Line] = []
    for position, header in enumerate(_headers(database, query)):
        deadline.check()
        if len(found) > query.limit:
            found = sorted(found, key=_place, reverse=True)[: query.limit + 1]
            if found[query.limit].time > header.newest:
                break
        if position and time.monotonic() - began > patience:
            return _unfinished(found, query, header.newest)
        found += filter(query.matches, _lines(database, header.number, query.words))
    return _cut(found, query)


def _newer(database: Database, query: LineQuery) -> Found:
    found: list[Line] = []
    for header in sorted(_headers(database, query), key=lambda header: header.first):
        if len(found) >= query.limit and sorted(map(_place, found))[query.limit - 1][0] < header.first:
            break
        found += filter(query.matches, _lines(database, header.number, query.words))
    return Found(sorted(found, key=_place)[: query.limit])


def _arrived(database: Database, query: LineQuery, last_id: int, deadline: Deadline) -> Found:
    statement = "SELECT number, last_id FROM line_blocks WHERE last_id > ? ORDER BY last_id DESC"
    found, newest = list[Line](), last_id
    for number, last in database.rows(statement, last_id):
        deadline.check()
        newest = max(newest, last)
        if len(found) > query.limit:
            break
        lines = _lines(database, number, query.words)
        found += (line for line in lines if line.id > last_id and query.matches(line))
    return replace(_cut(found, query), last_id=newest)


def _line_of(database: Database, line_id: int) -> Line | None:
    statement = "SELECT number FROM line_blocks WHERE last_id >= ? AND first_id <= ? ORDER BY last_id"
    for (number,) in database.rows(statement, line_id, line_id):
        for line in _lines(database, number, Words()):
            if line.id == line_id:
                return line
    return None


def around(database: Database, line: Line, deadline: Deadline, limit: int = 50) -> list[Line]:
    """Return the lines of the same process before and after a line, and itself. Raises StoreError or Stopped."""
    query = LineQuery(service=line.service, instance=line.instance, limit=limit)
    before = search(database, replace(query, before=_place(line)), deadline).lines
    return [*before, line, *newer(database, replace(query, after=_place(line))).lines]


def histogram(database: Database, query: LineQuery, buckets: int = 60) -> tuple[int, list[dict[int, int]]]:
    """Return the lines of a service and severity over the time of a query, in at most so many parts.

    Parts are of whole minutes, which are counted ahead, or of seconds in a short time with few lines.
    Returns the microseconds of a part, and for each how many lines of which severity. Raises StoreError.
    """
    counts, unit, length = list(_counts(database, query)), _ONE_MINUTE, query.last - query.first
    if length <= _FEW_MINUTES * _ONE_MINUTE and sum(number for _, _, number in counts) <= _FEW_LINES:
        counts, unit = list(_each(database, query)), _ONE_SECOND
    width = -(-length // (buckets * unit)) * unit
    parts = [Counter[int]() for _ in range(-(-length // width))]
    for moment, severity, number in counts:
        position = (moment - query.first) // width
        if severity >= query.severity and -1 <= position < len(parts):
            parts[max(position, 0)][severity] += number
    return width, [dict(part) for part in parts]


def _counts(database: Database, query: LineQuery) -> Iterator[tuple[int, int, int]]:
    statement = "SELECT counts FROM line_blocks WHERE newest >= ? AND first <= ? AND worst >= ? AND ? IN ('', service)"
    lowest = query.first // _ONE_MINUTE
    for (counts,) in database.rows(statement, query.first, query.last, query.severity, query.service):
        for minute, severity, number in _readable(counts):
            if minute >= lowest:
                yield minute * _ONE_MINUTE, severity, number


def _each(database: Database, query: LineQuery) -> Iterator[tuple[int, int, int]]:
    for header in _headers(database, query):
        with suppress(_Gone):
            lines = filter(query.matches, _lines(database, header.number, Words()))
            yield from ((line.time, line.severity, 1) for line in lines)


def _readable(counts: bytes) -> Counts:
    try:
        return unpack_counts(counts)
    except Damaged:
        return []


def _headers(database: Database, query: LineQuery) -> list[_Header]:
    """Return the blocks that may have a line that matches, that with the newest line first."""
    first = max(query.first, query.after[0] if query.after else 0)
    last = min(query.last, query.before[0] if query.before else EVER)
    statement, values = _HEADERS, list[object]((first, last, query.severity))
    if query.trace:
        statement += f" AND number IN (SELECT number FROM line_traces WHERE trace = {low_id(query.trace)})"
    if query.service:
        statement += " AND service = ?"
        values.append(query.service)
    return [_Header(*row) for row in database.rows(f"{statement} ORDER BY newest DESC", *values)]


def _lines(database: Database, number: int, words: Words) -> list[Line]:
    """Return the lines of a block that may have words; none of one that is damaged. Raises _Gone."""
    rows = database.rows("SELECT data FROM line_blocks WHERE number = ?", number)
    if not rows:
        raise _Gone
    try:
        return unpack(rows[0][0], words)
    except Damaged:
        return []


def _unfinished(found: list[Line], query: LineQuery, newest: int) -> Found:
    """Return what was found in time, but for lines among which there may be others that were not looked at."""
    whole = _cut([line for line in found if line.time > newest], query)
    return whole if whole.more else replace(whole, more=(newest + 1, 0), searched_from=newest)


def _cut(found: list[Line], query: LineQuery) -> Found:
    found.sort(key=_place)
    lines = found[-query.limit :]
    return Found(lines, _place(lines[0]) if len(found) > len(lines) else None)


def _place(line: Line) -> Place:
    return line.time, line.id
