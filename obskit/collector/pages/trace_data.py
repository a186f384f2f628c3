"""The JSON that the script of a trace's page requests: all rows in columns, one span's details, matches of a search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from obskit.collector.deadline import Deadline
from obskit.collector.lines.api import encode_found
from obskit.collector.lines.search import Found
from obskit.collector.pages.lines_part import MOST_SHOWN
from obskit.collector.pages.span_detail import details
from obskit.collector.pages.trace_lines import TraceLines, lines_of, row_of
from obskit.collector.pages.website import Site
from obskit.collector.query import java_trim, parse_trace_id
from obskit.collector.waterfall.nodes import Node
from obskit.collector.waterfall.view import View
from obskit.zipkin.model import Span

ERROR, ORPHAN, MOVED, REPEATS = 1, 2, 4, 8  # flags of a row


def rows(site: Site, request: Request, _deadline: Deadline) -> Response:
    """Return the rows in columns. Times are microseconds since the first one began."""
    return _answer(site, request, lambda shown, lines: _columns(site, shown, lines))


def find(site: Site, request: Request, _deadline: Deadline) -> Response:
    """Return the numbers of the rows whose names, ids, tags or annotations contain the text ``q``."""
    text = java_trim(request.query_params.get("q", "")).lower()
    return _answer(site, request, lambda shown, lines: {"spans": shown.spans, "rows": matches(shown, text, lines)})


def span(site: Site, request: Request, _deadline: Deadline) -> Response:
    """Return the details of the spans with one of the ids ``id``."""
    wanted = set(request.query_params.getlist("id"))
    return _answer(site, request, lambda shown, lines: [_as_lists(part) for part in details(shown, wanted, lines)])


def lines(site: Site, request: Request, _deadline: Deadline) -> Response:
    """Return the log lines of the trace, or of the span ``span`` and all that it led to, oldest first."""
    trace_id = parse_trace_id(java_trim(request.path_params["trace_id"]))
    shown = site.views.get(trace_id, request.query_params)
    found = lines_of(site, trace_id, shown)
    top = row_of(shown, request.query_params.get("span", "")) if shown else None
    chosen = found.below(top) if top else found.lines
    return Response(encode_found(Found(chosen[:MOST_SHOWN])), media_type="application/json")


def _as_lists(part: Any) -> dict[str, object]:
    return {"title": part.title, "service": part.service, "tables": [[name, rows] for name, rows in part.tables]}


def _answer(site: Site, request: Request, make: Callable[[View, TraceLines], object]) -> Response:
    trace_id = parse_trace_id(java_trim(request.path_params["trace_id"]))
    shown = site.views.get(trace_id, request.query_params)
    found = make(shown, lines_of(site, trace_id, shown)) if shown else {"error": f"{trace_id} is not stored here"}
    return Response(msgspec.json.encode(found), 200 if shown else 404, media_type="application/json")


def matches(shown: View, text: str, lines: TraceLines) -> list[int]:
    """Return the numbers of the rows whose spans or log lines contain the text, in any case."""
    if not text:
        return []
    return [number for number, node in enumerate(shown.rows) if not node.repeats and any(_holds(node, text, lines))]


def _holds(node: Node, text: str, lines: TraceLines) -> Iterator[bool]:
    yield any(text in line.message.lower() for _, line in lines.of_row(node))
    for half in filter(None, (node, node.half)):
        yield any(text in value.lower() for value in _texts(half.span))


def _texts(span: Span) -> Iterator[str]:
    yield span.name or ""
    yield span.id
    for endpoint in (span.local_endpoint, span.remote_endpoint):
        yield (endpoint and endpoint.service_name) or ""
    for key, value in span.tags.items():
        yield f"{key}={value}"
    for annotation in span.annotations:
        yield annotation.value


def _columns(site: Site, shown: View, found: TraceLines) -> dict[str, object]:
    services, names = _Numbering(), _Numbering()
    start = shown.start
    lines = shown.rows
    return {
        "spans": shown.spans,
        "duration": shown.duration,
        "depth": [node.depth for node in lines],
        "start": [max(node.start - start, 0) if node.start else -1 for node in lines],
        "took": [node.duration for node in lines],
        "service": [services.number(node.service) for node in lines],
        "name": [names.number(node.span.name or "unnamed") for node in lines],
        "id": [node.span.id for node in lines],
        "flags": [_flags(node) for node in lines],
        "half": {
            number: [node.half.start - start, node.half.duration, services.number(node.half.service), node.half.span.id]
            for number, node in enumerate(lines)
            if node.half
        },
        "repeats": {number: _repeats(node) for number, node in enumerate(lines) if node.repeats},
        "critical": {
            number: [[begin - start, end - start] for begin, end in node.critical]
            for number, node in enumerate(lines)
            if node.critical
        },
        "dots": {number: dots for number, node in enumerate(lines) if (dots := _dots(node, start))},
        "lines": {number: marks for number, node in enumerate(lines) if (marks := found.marks(node, start))},
        "hidden": {number: shown.hidden[node] for number, node in enumerate(lines) if node in shown.hidden},
        "services": services.texts,
        "colours": [site.colour(name) for name in services.texts],
        "names": names.texts,
    }


class _Numbering:
    """Numbers repeated texts, so that each is sent once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def texts(self) -> list[str]:
        return list(self._numbers)


def _flags(node: Node) -> int:
    moved = bool(node.shift or (node.half and node.half.shift))
    return ERROR * node.failed | ORPHAN * node.orphan | MOVED * moved | REPEATS * bool(node.repeats)


def _repeats(node: Node) -> list[int]:
    """Return number, total, shortest and longest duration, and errors of repeated spans."""
    took = [child.duration for child in node.children]
    return [node.repeats, sum(took), min(took), max(took), sum(child.failed for child in node.children)]


def _dots(node: Node, start: int) -> list[int]:
    spans: Iterable[Node] = filter(None, (node, node.half)) if not node.repeats else ()
    return [item.timestamp + part.shift - start for part in spans for item in part.span.annotations][:20]
