"""A trace as rows in reading order: parents before children, each with its depth.

Traces arrive incomplete and sometimes malformed, so every span gets a row whatever its parent id says.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from obskit.zipkin.model import Span, local_service

_Key = tuple[str, str, str]  # a span's id, its service and its kind; "" stands for any


@dataclass(frozen=True)
class Row:
    """A span, how deep it stands, and whether the parent it names is not in the trace."""

    span: Span
    depth: int
    orphan: bool


@dataclass(frozen=True)
class Extent:
    """First and last moment of a trace in epoch microseconds; both 0 when no span has a timestamp."""

    start: int
    end: int

    @property
    def duration(self) -> int:
        """Microseconds."""
        return self.end - self.start


def arrange(spans: list[Span]) -> list[Row]:
    """Return one row for each span: roots first, then orphans, each followed by its descendants by start time."""
    parents = _parents(spans)
    children: dict[int | None, list[int]] = defaultdict(list)
    for number in sorted(range(len(spans)), key=lambda number: spans[number].timestamp or 0):
        children[parents[number]].append(number)
    roots = sorted(children[None], key=lambda number: spans[number].parent_id is not None)
    rows: list[Row] = []
    seen: set[int] = set()
    for number in [*roots, *range(len(spans))]:  # the second part reaches parents that form a circle
        _descend(number, spans, children, rows, seen)
    return rows


def extent(spans: list[Span]) -> Extent:
    """Return the time that the spans cover; spans without a timestamp cover none."""
    timed = [(span.timestamp, span.duration or 0) for span in spans if span.timestamp]
    start = min((timestamp for timestamp, _ in timed), default=0)
    return Extent(start, max((timestamp + duration for timestamp, duration in timed), default=0))


def service_of(span: Span) -> str:
    """Return the service that reported a span, as pages show it: ``unknown`` where none is named."""
    return local_service(span) or "unknown"


def _descend(
    start: int, spans: list[Span], children: dict[int | None, list[int]], rows: list[Row], seen: set[int]
) -> None:
    """Append a span and its descendants, depth first; a loop, not recursion, because traces can be deep."""
    stack = [(start, 0)]
    while stack:
        number, depth = stack.pop()
        if number in seen:
            continue
        seen.add(number)
        rows.append(Row(spans[number], depth, orphan=depth == 0 and spans[number].parent_id is not None))
        stack += [(child, depth + 1) for child in reversed(children.get(number, ()))]


def _parents(spans: list[Span]) -> list[int | None]:
    """For each span the number of its parent's row, or None."""
    found = _by_key(spans)
    return [_parent(number, span, found) for number, span in enumerate(spans)]


def _by_key(spans: list[Span]) -> dict[_Key, list[int]]:
    """Return the first two spans of each key: a span that looks for another one may be the first itself."""
    found: dict[_Key, list[int]] = defaultdict(list)
    for number, span in enumerate(spans):
        service, kind = service_of(span), span.kind or ""
        for key in {(span.id, "", ""), (span.id, "", kind), (span.id, service, ""), (span.id, service, kind)}:
            if len(found[key]) < 2:
                found[key].append(number)
    return found


def _parent(number: int, span: Span, found: dict[_Key, list[int]]) -> int | None:
    """Return the client half for the server half of a shared id; else the parent's half in the same service."""
    wanted: list[_Key] = []
    if span.kind == "SERVER" or (span.shared and span.kind != "CLIENT"):
        wanted.append((span.id, "", "CLIENT"))
    if span.parent_id:
        service = service_of(span)
        wanted += [(span.parent_id, service, "SERVER"), (span.parent_id, service, ""), (span.parent_id, "", "")]
    others = (other for key in wanted for other in found.get(key, ()) if other != number)
    return next(others, None)
