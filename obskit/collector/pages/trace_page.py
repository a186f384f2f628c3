"""``/traces/{id}``: one trace as a waterfall. ``waterfall.js`` shows all rows; without it there are 200."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.pages.frame import message, page
from obskit.collector.pages.line_marks import lines_said, marks_on_bar
from obskit.collector.pages.lines_part import lines_part
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.profile_part import of_trace as profile_of_trace
from obskit.collector.pages.show import count, duration, error_mark, moment
from obskit.collector.pages.span_detail import details, panel
from obskit.collector.pages.trace_data import matches
from obskit.collector.pages.trace_lines import TraceLines, lines_of
from obskit.collector.pages.website import Site
from obskit.collector.query import java_trim
from obskit.collector.waterfall.nodes import Node
from obskit.collector.waterfall.view import View, ids_of
from obskit.zipkin.ids import normalise_trace_id

_MOST_ROWS = 200
_DEEPEST = 24  # rows below this depth are not indented further
_NARROWEST = 0.2  # percent of the width, so that a short span can be seen
_TICKS = (0, 25, 50, 75, 100)
_PAGE = """<h1>{badge}<span class="name">{name}</span> {error}</h1>
<dl class="facts">
<div><dt>Start</dt><dd>{start}</dd></div>
<div><dt>Duration</dt><dd>{duration}</dd></div>
<div><dt>Spans</dt><dd>{spans}{lines}</dd></div>
<div><dt>Errors</dt><dd>{errors}</dd></div>
<div><dt>Trace</dt><dd><code>{trace_id}</code></dd></div>
<div><dd><a href="/api/v2/trace/{trace_id}" download="{trace_id}.json">JSON</a></dd></div>
</dl>
{notes}{own}
<form class="tools" action="/traces/{trace_id}">{kept}<input type="search" name="find" value="{find}" data-find \
aria-label="Find in this trace" placeholder="find: name, tag, id, log line" autocomplete="off" spellcheck="false">\
<button>Find</button><output id="found">{found}</output><span id="tools"></span></form>
<form class="tools" action="/compare"><input type="hidden" name="trace" value="{trace_id}">\
<input type="search" class="mono" name="trace" aria-label="Compare with the trace" \
placeholder="compare with: trace id" autocomplete="off" spellcheck="false"><button>Compare</button></form>
<div class="trace" id="trace" data-url="/api/obskit/v1/trace/{trace_id}" data-query="{query}">
<div class="card lines">
<canvas id="minimap" height="48" hidden></canvas>
<div class="row head"><span>Service and span</span><span class="ticks">{ticks}</span>\
<span class="number">Duration</span></div>
<div id="rows" class="rows">
{rows}</div>
{rest}</div>
<aside class="card panel" id="span" aria-label="Chosen span" aria-live="polite">{panel}</aside>
</div>
{more}
"""
_NO_SPANS = """<h1>Trace <code>{trace_id}</code></h1>
<p class="note">No span of this trace is stored here: it was not sampled, its spans have not arrived yet, or they were
deleted to make room for newer ones. The lines and profiles that have its id are below.</p>
"""
_ROW = """<a class="row{marks}" href="?{query}#span"><span class="what d{depth}">\
{badge}<span class="name">{name}</span> \
{error}{orphan}{said}</span><span class="line"><svg aria-hidden="true">{bar}</svg></span>\
<span class="number">{duration}</span></a>
"""
_BAR = '<rect class="{kind} {colour}" x="{x:.3f}%" y="{y}" width="{width:.3f}%" height="{height}"/>'
_SAID = '<span class="dim"> {text}</span>'
_NOTE = '<p class="note">{text} {link}</p>\n'
_LINK = '<a href="?{query}">{text}</a>'
_HIDDEN = '<input type="hidden" name="{name}" value="{value}">'


def show(site: Site, request: Request, _deadline: Deadline) -> Response:
    """Return the page of a trace, or a message if its id is malformed or unknown."""
    try:
        trace_id = normalise_trace_id(java_trim(request.path_params["trace_id"]))
    except ValueError as error:
        return message("Not a trace id", error, 400, here="/traces")
    params = params_of(request)
    shown = site.views.get(trace_id, params)
    if not shown:
        return _without_spans(site, trace_id)
    lines = lines_of(site, trace_id, shown)
    more = join([lines_part(site, trace_id, lines, shown, params), profile_of_trace(site, trace_id, shown)])
    body = _body(site, trace_id, shown, params, lines, more)
    return page(_title(shown), body, here="/traces", modules=("waterfall.js",))


def _without_spans(site: Site, trace_id: str) -> Response:
    """Return the page of a trace of which no span is stored; 404 if no line or profile is either."""
    lines = lines_part(site, trace_id, lines_of(site, trace_id, None), None, {})
    more = join([lines, profile_of_trace(site, trace_id, None)])
    if not more:
        return message("Trace not found", f"Trace {trace_id} is not stored here.", 404, here="/traces")
    return page(f"Trace {trace_id}", join([render(_NO_SPANS, trace_id=trace_id), more]), here="/traces")


def _title(shown: View) -> str:
    return f"{shown.rows[0].service}: {shown.rows[0].span.name or 'unnamed'}"


def _body(site: Site, trace_id: str, shown: View, params: Mapping[str, str], lines: TraceLines, more: Html) -> Html:
    root = shown.rows[0]
    find = java_trim(params.get("find", "")).lower()
    found = matches(shown, find, lines)
    rows = [shown.rows[number] for number in found] if find else shown.rows
    begin = int(params["offset"]) if params.get("offset", "").isdecimal() else 0
    kept = {name: value for name, value in params.items() if name in {"skew", "focus"}}
    chosen = {params["span"]} if "span" in params else {root.span.id}
    return render(
        _PAGE,
        trace_id=trace_id,
        badge=site.badge(root.service),
        name=root.span.name or "unnamed",
        error=error_mark(shown.errors > 0),
        start=moment(shown.start),
        duration=duration(shown.duration),
        spans=f"{shown.spans:,}",
        lines=f" in {count(len(shown.rows), 'line')}" if len(shown.rows) != shown.spans else "",
        errors=f"{shown.errors:,}",
        notes=_notes(shown, params),
        own=_own(site, shown),
        kept=join(render(_HIDDEN, name=name, value=value) for name, value in kept.items()),
        find=params.get("find", ""),
        found=count(len(found), "line") if find else "",
        query=urlencode(kept),
        ticks=join(render("<span>{at}</span>", at=_tick(shown, percent)) for percent in _TICKS),
        rows=join(_row(site, node, shown, params, lines) for node in rows[begin : begin + _MOST_ROWS]),
        rest=_rest(len(rows), begin, params),
        panel=panel(site, details(shown, chosen, lines)),
        more=more,
    )


def _notes(shown: View, params: Mapping[str, str]) -> Html:
    return join(render(_NOTE, text=text, link=link) for text, link in _sentences(shown, params))


def _sentences(shown: View, params: Mapping[str, str]) -> Iterator[tuple[str, Html]]:
    """Return sentences about what the rows do not show, each with a link that changes it."""
    if params.get("skew") == "raw":
        yield "Times are as each machine's clock had them.", _link({**params, "skew": ""}, "make clocks agree")
    elif shown.moved:
        what = f"Clocks differ: {count(shown.moved, 'span')} moved, by {duration(shown.furthest)} at most"
        yield f"{what}; each says so.", _link({**params, "skew": "raw"}, "as sent")
    if params.get("focus"):
        yield "Only one span and what it led to is shown.", _link({**params, "focus": ""}, "the whole trace")
    if shown.hidden:
        missing = sum(shown.hidden.values())
        text = f"{count(missing, 'line')} not shown: a browser gets some {len(shown.rows):,} at once. Errors and what "
        yield text + "the trace waited for are all here; focus on a span (f) to see everything below it.", Html("")


def _own(site: Site, shown: View) -> Html:
    """Return where the time was spent: a bar, and the share of each service."""
    total = sum(shown.own.values())
    if len(shown.own) < 2 or not total:
        return Html("")
    shares = [(service, took, 100 * took / total) for service, took in shown.own.items() if took]
    bars, x = [], 0.0
    for service, _, share in shares:
        bars.append(_BAR.format(kind="bar", colour=site.colour(service), x=x, y=0, width=share, height=8))
        x += share
    entry = '<li>{badge} {took} <span class="dim">{share} %</span></li>'
    entries = join(render(entry, badge=site.badge(s), took=duration(t), share=f"{p:.0f}") for s, t, p in shares[:20])
    more = render("<li>{more}</li>", more=f"{len(shares) - 20} more") if len(shares) > 20 else Html("")
    return render(
        '<div class="own"><svg class="stack" aria-hidden="true">{bars}</svg><ul aria-label="Self time by service">'
        '<li class="dim">self time</li>{entries}{more}</ul></div>\n',
        bars=Html("".join(bars)),
        entries=entries,
        more=more,
    )


def _rest(rows: int, begin: int, params: Mapping[str, str]) -> Html:
    """Return links to the rows that are not on the page; the script shows all of them."""
    if rows <= _MOST_ROWS and not begin:
        return Html("")
    end = min(begin + _MOST_ROWS, rows)
    before = _link({**params, "offset": str(max(begin - _MOST_ROWS, 0))}, "before") if begin else Html("")
    after = _link({**params, "offset": str(end)}, "next") if end < rows else Html("")
    text = '<p class="note rest">Lines {first} to {last} of {all}. {before} {after}</p>'
    return render(text, first=f"{begin + 1:,}", last=f"{end:,}", all=f"{rows:,}", before=before, after=after)


def _link(params: Mapping[str, str], text: str) -> Html:
    return render(_LINK, query=urlencode({name: value for name, value in params.items() if value}), text=text)


def _tick(shown: View, percent: int) -> str:
    return duration(shown.duration * percent // 100) if percent else "0"


def _row(site: Site, node: Node, shown: View, params: Mapping[str, str], lines: TraceLines) -> Html:
    marks = lines.marks(node, shown.start)
    name = node.span.name or "unnamed"
    ids = ids_of(node)
    return render(
        _ROW,
        marks=" chosen" if params.get("span") in ids else "",
        query=urlencode({**params, "span": ids[0]}),
        depth=min(node.depth, _DEEPEST),
        badge=site.badge(node.service),
        name=f"{name} x{node.repeats:,}" if node.repeats else name,
        error=error_mark(node.failed),
        orphan=Html('<span class="dim">parent missing</span>') if node.orphan else Html(""),
        said=render(_SAID, text=lines_said(marks)) if marks else "",
        bar=join([Html("".join(_bars(site, node, shown))), *marks_on_bar(marks, shown.duration)]),
        duration=duration(node.duration),
    )


def _bars(site: Site, node: Node, shown: View) -> Iterable[str]:
    """Return the span's bar and, inside it, the server's. Only numbers and fixed class names are inserted."""
    for part, y, height in ((node, 7, 10), (node.half, 9, 6)):
        if part and part.start:
            x = 100 * (part.start - shown.start) / (shown.duration or 1)
            width = max(100 * part.duration / (shown.duration or 1), _NARROWEST)
            x = min(max(x, 0.0), 100 - _NARROWEST)
            kind = "failed" if part.failed else "bar"
            yield _BAR.format(
                kind=kind, colour=site.colour(part.service), x=x, y=y, width=min(width, 100 - x), height=height
            )
