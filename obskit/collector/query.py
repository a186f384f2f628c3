"""What GET /api/v2/traces asks for, and whether a trace answers it.

Source: ``zipkin2.storage.QueryRequest`` (openzipkin/zipkin 3.6.1), whose answers are the test vectors.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from obskit.zipkin.ids import normalise_trace_id
from obskit.zipkin.model import Span, local_service, remote_service

_DAY_MS = 86_400_000
_ENTRIES = ("SERVER", "CONSUMER")
_MOST_CONDITIONS = 100
_LARGEST = 2**63 - 1
_LARGEST_LIMIT = 2**31 - 1  # an `int` in Zipkin, where the others are a `long`
_JAVA_BLANKS = "".join(map(chr, range(0x21)))  # what Java's String.trim removes
_digits = re.compile(r"\+?0*(\d{1,19})").fullmatch  # as Java's Long.parseLong: decimal digits of any script


class _Placed(Protocol):
    """What says whether a span is an entry."""

    @property
    def timestamp(self) -> int | None: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def parent_id(self) -> str | None: ...


_Spans = TypeVar("_Spans", bound=_Placed)


class QueryError(ValueError):
    """A parameter which cannot be used; the message names it, its value and the remedy."""


@dataclass(frozen=True)
class TraceQuery:
    """A search. Durations are microseconds; ``end_ts`` and ``lookback`` are milliseconds.

    ``annotations`` maps a tag key to its value, or a tag key or annotation value to "".
    """

    end_ts: int
    lookback: int = _DAY_MS
    limit: int = 10
    service: str | None = None
    remote_service: str | None = None
    span_name: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    min_duration: int | None = None
    max_duration: int | None = None

    @property
    def window(self) -> tuple[int, int]:
        """First and last trace timestamp, in microseconds, both included."""
        return _microseconds(self.end_ts - self.lookback), _microseconds(self.end_ts)

    @property
    def window_by_millisecond(self) -> tuple[int, int]:
        """The same to the end of its last millisecond: what dependencies are counted over."""
        first, last = self.window
        return first, min(last + 999, _LARGEST)

    def matches(self, spans: list[Span]) -> bool:
        """Return whether the trace lies in the window and each condition holds for some span of the service."""
        first, last = self.window
        timestamp = _trace_timestamp(spans)
        if not timestamp or not first <= timestamp <= last:
            return False
        local = [span for span in spans if self.service in {None, local_service(span)}]
        return bool(local) and self._names_match(local) and self._duration_matches(local) and self._tags_match(local)

    def _names_match(self, spans: list[Span]) -> bool:
        return (self.span_name is None or any(span.name == self.span_name for span in spans)) and (
            self.remote_service is None or any(remote_service(span) == self.remote_service for span in spans)
        )

    def _duration_matches(self, spans: list[Span]) -> bool:
        if self.min_duration is None:
            return True
        longest = self.max_duration or _LARGEST
        return any(self.min_duration <= (span.duration or 0) <= longest for span in spans)

    def _tags_match(self, spans: list[Span]) -> bool:
        return all(any(has(span, key, value) for span in spans) for key, value in self.annotations.items())


def first_values(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters of a request; of one that comes several times the first counts, as in Zipkin."""
    return dict(reversed(list(pairs)))


def java_trim(text: str) -> str:
    """Return the text without the characters up to U+0020 around it: a no-break space stays."""
    return text.strip(_JAVA_BLANKS)


def parse_trace_id(text: str) -> str:
    """Return a trace id as it is stored. Raises QueryError."""
    try:
        return normalise_trace_id(text)
    except ValueError as error:
        raise QueryError(str(error)) from None


def parse_query(params: Mapping[str, str]) -> TraceQuery:
    """Return a search from the parameters of the HTTP API. Raises QueryError."""
    query = TraceQuery(
        end_ts=_positive(params, "endTs") or int(time.time() * 1000),
        lookback=_positive(params, "lookback") or _DAY_MS,
        limit=_limit(params),
        service=params.get("serviceName", "").lower() or None,
        remote_service=params.get("remoteServiceName", "").lower() or None,
        span_name=_span_name(params.get("spanName", "").lower()),
        annotations=parse_annotation_query(params.get("annotationQuery", "")),
        min_duration=_positive(params, "minDuration"),
        max_duration=_positive(params, "maxDuration"),
    )
    if query.max_duration is not None and (query.min_duration is None or query.max_duration < query.min_duration):
        raise QueryError("maxDuration needs a minDuration which is not larger")
    return query


def parse_window(params: Mapping[str, str]) -> TraceQuery:
    """Return every trace of a time, from ``endTs``, which must be there, and ``lookback``. Raises QueryError."""
    end_ts = _positive(params, "endTs")
    if end_ts is None:
        raise QueryError("endTs is missing; give the end of the time as epoch milliseconds")
    return TraceQuery(end_ts, _positive(params, "lookback") or _DAY_MS)


def parse_annotation_query(text: str) -> dict[str, str]:
    """Return ``error and http.method=GET`` as ``{"error": "", "http.method": "GET"}``; the last value of a key wins."""
    conditions: dict[str, str] = {}
    for part in text.split(" and ", _MOST_CONDITIONS - 1) if text else []:
        key, equals, value = (java_trim(piece) for piece in part.partition("="))
        if equals or key not in conditions:
            conditions[key] = value
    return conditions


def _span_name(name: str) -> str | None:
    return None if name in {"", "all"} else name


def _limit(params: Mapping[str, str]) -> int:
    return _number("limit", params["limit"], _LARGEST_LIMIT) if "limit" in params else 10


def _positive(params: Mapping[str, str], name: str) -> int | None:
    """Return the number, or None when it is absent or empty."""
    text = params.get(name, "")
    return _number(name, text, _LARGEST) if text else None


def _number(name: str, text: str, largest: int) -> int:
    found = _digits(text)
    if not found or not 0 < int(found[1]) <= largest:
        raise QueryError(f"{name} is {text[:40]!r}; give a whole number from 1 to {largest}")
    return int(found[1])


def _microseconds(milliseconds: int) -> int:
    """Within what a timestamp, and a database, can hold."""
    return min(max(milliseconds * 1000, 0), _LARGEST)


def _trace_timestamp(spans: list[Span]) -> int | None:
    """Return the first timestamp of a span without a parent, else the earliest."""
    timed = [span for span in spans if span.timestamp]
    roots = [span.timestamp for span in timed if span.parent_id is None]
    return roots[0] if roots else min((span.timestamp or 0 for span in timed), default=None)


def has(span: Span, key: str, value: str) -> bool:
    """Return True for a span with this tag, or, without a value, with the key or an annotation of that name."""
    if value:
        return span.tags.get(key) == value
    return key in span.tags or any(annotation.value == key for annotation in span.annotations)


def entries_among(spans: Iterable[_Spans]) -> list[_Spans]:
    """Return those by which a request enters a service: a server's or consumer's span, or the root of a trace."""
    return [span for span in spans if span.timestamp and (span.kind in _ENTRIES or span.parent_id is None)]
