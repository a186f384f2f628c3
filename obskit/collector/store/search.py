"""Searches over blocks: the matching traces, ordered by their newest span.

A trace is found through a block with a span that meets one condition; then its spans are read from all blocks, and
``TraceQuery.matches`` decides. Spans of one trace arrive in different messages, so that block may lie outside the
window that the trace itself lies in, up to the limit below.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from obskit.collector.deadline import Deadline
from obskit.collector.query import TraceQuery, has
from obskit.collector.store.filters import may_hold, token
from obskit.collector.store.reading import Header, Reader
from obskit.collector.store.trace_index import TraceIndex
from obskit.zipkin.ids import trace_key
from obskit.zipkin.model import Span, local_service, remote_service

_AROUND = 900_000_000  # microseconds before and after the window in which spans of its traces are searched
_LATE = 5_000_000  # microseconds by which the newest span of a trace may be newer than the span it was found by
_TAIL = 8  # last digits of a trace id, which console log lines show
_SPAN_ID = 16
_ANY_TIME = 2**63 - 1
_SAMPLE = 64  # blocks that are sampled to find the rarest condition
_is_plain = re.compile(r"[\w .:-]*", re.ASCII).fullmatch  # JSON has only one way to write it
_FEW = 6  # of these: then the index is asked for the others


@dataclass(frozen=True)
class _Condition:
    """Something that one span of a matching trace must have, and what a block with such a span has."""

    holds: Callable[[Span], bool]
    token: int | None = None
    shortest: int = 0
    text: bytes = b""  # of the JSON of such a span

    def may_hold(self, header: Header) -> bool:
        """Return whether a block can contain such a span."""
        return header.longest >= self.shortest and (self.token is None or may_hold(header.filter, self.token))


def search(reader: Reader, query: TraceQuery, deadline: Deadline, *, strict: bool) -> Iterator[list[Span]]:
    """Yield the traces that match. As in Zipkin, ``query.limit`` counts those whose ids share their low 64 bits once.

    Unless ``strict``, such traces are merged into one.
    """
    for group in islice(_groups(reader, query, deadline), query.limit):
        for spans in reader.traces([group]).values():
            ordered = by_moment(spans)
            yield from filter(query.matches, _by_id(ordered) if strict else [ordered])


def _groups(reader: Reader, query: TraceQuery, deadline: Deadline) -> Iterator[int]:
    """Yield the low 64 bits of the ids of matching traces, newest first."""
    first, last = query.window
    seen: set[int] = set()
    waiting: list[tuple[int, int]] = []  # a heap of matches, held back until nothing newer can follow
    late = _LATE if _conditions(query) else 0  # any trace is found by its newest span
    headers, condition = _rarest(reader.headers(*_around(query)), query)
    left = query.limit
    enough: _Enough | None = None
    for header in _narrowed(reader, headers, condition, query):
        deadline.check()
        newest = min(header.newest, last) + late
        while waiting and -waiting[0][0] >= newest:
            yield heapq.heappop(waiting)[1]
            left -= 1
        if enough is None and late and 0 < left <= len(waiting):
            enough = _Enough(reader, -heapq.nsmallest(left, waiting)[-1][0], last)
        if condition.may_hold(header) and (enough is None or enough.may_add(header)):
            block = reader.with_text(header.key, condition.text) if condition.text else reader.block(header.key)
            found = [trace for trace, spans in block.items() if trace not in seen and any(map(condition.holds, spans))]
            seen.update(found)
            for trace, spans in reader.traces(found).items():
                if query.matches(by_moment(spans)):
                    heapq.heappush(waiting, (-(_newest(spans, first, last) or 0), trace))
    while waiting:
        yield heapq.heappop(waiting)[1]


class _Enough:
    """The matches suffice: of what is older than ``moment``, only the traces that are also in newer blocks count."""

    def __init__(self, reader: Reader, moment: int, last: int) -> None:
        self._reader = reader
        self._moment = moment
        self._newer = reader.traces_between(moment, last)

    def may_add(self, header: Header) -> bool:
        """Return whether a block may have a trace that is newer than the matches."""
        if header.newest >= self._moment or self._newer is None:
            return True
        return not self._newer.isdisjoint(self._reader.traces_of(header.key))


def _around(query: TraceQuery) -> tuple[int, int]:
    """Return the window for blocks."""
    first, last = query.window
    around = _AROUND if _conditions(query) else 0
    return max(first - around, 1), last + around


def _narrowed(reader: Reader, headers: Iterable[Header], condition: _Condition, query: TraceQuery) -> Iterator[Header]:
    """Yield the newest blocks; of the others, if few of these can meet the condition, only those that can.

    Small blocks have no filter yet, so they say nothing about the others.
    """
    found = 0
    for seen, header in enumerate(headers, 1):
        yield header
        found += bool(header.filter) and condition.may_hold(header)
        if seen == _SAMPLE and found <= _FEW:
            yield from reader.headers(*_around(query), header, condition.shortest, condition.token)
            return


def _rarest(headers: Iterator[Header], query: TraceQuery) -> tuple[Iterable[Header], _Condition]:
    """Return the condition that the fewest of the newest blocks can meet."""
    conditions = _conditions(query)
    if not conditions:
        first, last = query.window
        return headers, _Condition(lambda span: first <= (span.timestamp or 0) <= last)
    if len(conditions) == 1:
        return headers, conditions[0]
    sample = list(islice(headers, _SAMPLE))
    return chain(sample, headers), min(conditions, key=lambda one: sum(map(one.may_hold, sample)))


def _conditions(query: TraceQuery) -> list[_Condition]:
    """Return the query's conditions on single spans, of its service or of any."""
    service = (query.service,) if query.service else ()
    found: list[_Condition] = []

    def add(number: int, holds: Callable[[Span], bool], text: bytes = b"") -> None:
        is_local = (lambda span: local_service(span) == query.service and holds(span)) if service else holds
        found.append(_Condition(is_local, number, text=text))

    if query.span_name is not None:
        add(token("name", *service, query.span_name), lambda span: span.name == query.span_name)
    if query.remote_service is not None:
        add(token("remote", *service, query.remote_service), lambda span: remote_service(span) == query.remote_service)
    for key, value in query.annotations.items():
        number = token("tag", key, value) if value else token("word", key)
        text = f'"{key}":"{value}"'.encode() if value and _is_plain(key + value) else b""
        add(number, lambda span, key=key, value=value: has(span, key, value), text)  # type: ignore[misc]
    if service:
        add(token("service", *service), lambda _: True)
    if query.min_duration is not None:
        found.append(_longer(query.min_duration, query))
    return found


def _longer(shortest: int, query: TraceQuery) -> _Condition:
    def holds(span: Span) -> bool:
        return (span.duration or 0) >= shortest and query.service in {None, local_service(span)}

    return _Condition(holds, shortest=shortest)


def _newest(spans: list[Span], first: int, last: int) -> int | None:
    """Return the latest timestamp between two times; a span without one counts as 0."""
    return max((moment for span in spans if first <= (moment := span.timestamp or 0) <= last), default=None)


def by_moment(spans: list[Span]) -> list[Span]:
    """Return the spans as Zipkin groups them, by timestamp: of several roots, the order decides which one counts."""
    if len({span.timestamp or 0 for span in spans}) == len(spans):
        return spans
    moments: dict[int, list[Span]] = {}
    for span in spans:
        moments.setdefault(span.timestamp or 0, []).append(span)
    return list(chain.from_iterable(moments.values()))


def _by_id(spans: list[Span]) -> Iterable[list[Span]]:
    """Return the spans by their whole trace id."""
    traces: dict[str, list[Span]] = {}
    for span in spans:
        traces.setdefault(trace_key(span.trace_id), []).append(span)
    return traces.values()


def find_ids(index: TraceIndex, reader: Reader, text: str, deadline: Deadline) -> tuple[str, str | None] | None:
    """Return the newest trace whose id ends with 8 given digits, or the trace and span of a full span id."""
    if len(text) == _TAIL:
        for low in index.ending_with(int(text, 16)):
            for span in reader.traces([low]).get(low, []):
                return span.trace_id, None
    return _find_span(reader, text.rjust(_SPAN_ID, "0"), deadline) if len(text) <= _SPAN_ID else None


def _find_span(reader: Reader, span_id: str, deadline: Deadline) -> tuple[str, str | None] | None:
    for header in reader.headers(1, _ANY_TIME):
        deadline.check()
        for spans in reader.block(header.key).values():
            for span in spans:
                if span.id == span_id:
                    return span.trace_id, span_id
    return None
