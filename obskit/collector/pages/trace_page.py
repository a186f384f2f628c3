"""The page of one trace: a waterfall, each line of which opens to show its span."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from obskit.collector.deadline import Deadline
from obskit.collector.pages.frame import message, page
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import duration, error_mark, failed, moment
from obskit.collector.pages.website import Site
from obskit.collector.query import java_trim
from obskit.collector.tree import Extent, Row, arrange, extent, service_of
from obskit.zipkin.ids import normalise_trace_id
from obskit.zipkin.model import Endpoint, Span

DEEPEST = 24  # spans below this depth are not indented further
_MOST_ROWS = 2_000
_NARROWEST = 0.3  # percent of the width, so that a short span can be seen
_TICKS = (0, 25, 50, 75, 100)
_PAGE = """<h1>{service}: <span class="dim">{name}</span> {error}</h1>
<dl class="facts">
<div><dt>Start</dt><dd class="mono">{start}</dd></div>
<div><dt>Duration</dt><dd>{duration}</dd></div>
<div><dt>Spans</dt><dd>{count}</dd></div>
<div><dt>Services</dt><dd>{services}</dd></div>
<div><dt>Trace</dt><dd><code>{trace_id}</code></dd></div>
<div><dd><a href="/api/v2/trace/{trace_id}">JSON</a></dd></div>
</dl>
<div class="card">
<div class="row head"><span>Service and span</span><span class="line ticks">{ticks}</span>
<span class="number">Duration</span></div>
{rows}{rest}</div>
"""
_ROW = """<details><summary class="row">\
<span class="what d{depth}">{badge}{name} {error}{orphan}</span>\
<span class="line"><svg aria-hidden="true">{grid}{bar}</svg></span><span class="number">{duration}</span></summary>
<div class="detail">{tags}{annotations}{identity}</div></details>
"""
_BAR = '<rect class="{kind} {colour}" x="{x:.3f}%" y="11" width="{width:.3f}%" height="10" rx="2"/>'
_MOMENT = '<circle class="moment" cx="{x:.3f}%" cy="16" r="3"/>'
_GRID = Html("".join(f'<line class="grid" x1="{x}%" x2="{x}%" y1="0" y2="32"/>' for x in _TICKS[:-1]))
_TABLE = "<table><tbody>{rows}</tbody></table>"
_CELLS = '<tr><th scope="row">{key}</th><td class="mono">{value}</td></tr>'


def show(site: Site, request: Request, _deadline: Deadline) -> Response:
    """Return one trace, or what is wrong with its id."""
    try:
        trace_id = normalise_trace_id(java_trim(request.path_params["trace_id"]))
    except ValueError as error:
        return message("Not a trace id", error, 400, here="/traces")
    spans = site.store.trace(trace_id)
    if not spans:
        return message("Trace not found", f"Trace {trace_id} is not stored here.", 404, here="/traces")
    return page(f"Trace {trace_id}", _waterfall(site, trace_id, spans), here="/traces")


def _waterfall(site: Site, trace_id: str, spans: list[Span]) -> Html:
    """Very large traces are cut."""
    rows = arrange(spans)
    covered = extent(spans)
    root = rows[0].span
    hidden = len(rows) - _MOST_ROWS
    rest = f"{hidden} more spans are in the JSON." if hidden > 0 else ""
    return render(
        _PAGE,
        trace_id=trace_id,
        service=service_of(root),
        name=root.name or "unnamed",
        error=error_mark(any(map(failed, spans))),
        start=moment(covered.start),
        duration=duration(covered.duration),
        count=len(spans),
        services=join(site.badge(*item) for item in sorted(Counter(map(service_of, spans)).items())),
        ticks=join(render("<span>{at}</span>", at=_tick(covered, percent)) for percent in _TICKS),
        rows=join(_row(site, row, covered) for row in rows[:_MOST_ROWS]),
        rest=render('<div class="message">{rest}</div>', rest=rest) if rest else Html(""),
    )


def _tick(covered: Extent, percent: int) -> str:
    return duration(covered.duration * percent // 100) if percent else "0"


def _row(site: Site, row: Row, covered: Extent) -> Html:
    span = row.span
    service = service_of(span)
    return render(
        _ROW,
        depth=min(row.depth, DEEPEST),
        badge=site.badge(service),
        name=span.name or "unnamed",
        error=error_mark(failed(span)),
        orphan=Html('<span class="dim">parent missing</span>' if row.orphan else ""),
        grid=_GRID,
        bar=_bar(site, span, covered),
        duration=duration(span.duration),
        tags=_table(span.tags.items()),
        annotations=_annotations(span, covered),
        identity=_table(_identity(span)),
    )


def _bar(site: Site, span: Span, covered: Extent) -> Html:
    """The bar and the dots of the annotations; nothing for a span whose time is not known."""
    bar = []
    if span.timestamp:
        x = _percent(span.timestamp, covered)
        width = min(max(100 * (span.duration or 0) / (covered.duration or 1), _NARROWEST), 100.0)
        kind = "failed" if failed(span) else "bar"
        bar.append(
            _BAR.format(kind=kind, colour=site.colour(service_of(span)), x=min(x, 100 - _NARROWEST), width=width)
        )
    bar += [_MOMENT.format(x=_percent(annotation.timestamp, covered)) for annotation in span.annotations]
    return Html("".join(bar))  # numbers and our own class names only


def _percent(timestamp: int, covered: Extent) -> float:
    """Where a moment stands between the start and the end of the trace, 0 to 100."""
    return min(max(100 * (timestamp - covered.start) / (covered.duration or 1), 0.0), 100.0)


def _annotations(span: Span, covered: Extent) -> Html:
    """The annotations with the time since the trace began."""
    return _table((f"+{_since(item.timestamp, covered)}", item.value) for item in span.annotations)


def _since(timestamp: int, covered: Extent) -> str:
    return duration(max(timestamp - covered.start, 0)) if timestamp != covered.start else "0"


def _identity(span: Span) -> Iterable[tuple[str, object]]:
    """What the span is besides its tags: kind, start, ids and addresses."""
    yield "kind", (span.kind or "local") + (" (shared id)" if span.shared else "")
    yield "start (UTC)", moment(span.timestamp)
    yield "span id", span.id
    yield "parent id", span.parent_id or "none"
    for label, endpoint in (("local address", span.local_endpoint), ("remote address", span.remote_endpoint)):
        if endpoint:
            yield label, _address(endpoint)


def _address(endpoint: Endpoint) -> str:
    """``service 10.0.0.1 [::1] port 80``, as far as known."""
    parts = [endpoint.service_name, endpoint.ipv4, f"[{endpoint.ipv6}]" if endpoint.ipv6 else None]
    parts.append(f"port {endpoint.port}" if endpoint.port else None)
    return " ".join(part for part in parts if part)


def _table(items: Iterable[tuple[str, object]]) -> Html:
    rows = join(render(_CELLS, key=key, value=value) for key, value in items)
    return render(_TABLE, rows=rows) if rows else Html("")
