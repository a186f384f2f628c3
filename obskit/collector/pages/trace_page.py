"""``/traces/{id}``: one trace as a waterfall. ``waterfall.js`` shows all rows; without it there are 200."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.pages.frame import message, page
from obskit.collector.pages.lines_part import lines_part
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.profile_part import of_trace as profile_of_trace
from obskit.collector.pages.running_part import running_note
from obskit.collector.pages.show import count, duration, error_mark, moment
from obskit.collector.pages.span_flame import span_flame
from obskit.collector.pages.trace_data import matches
from obskit.collector.pages.trace_lines import TraceLines, lines_of
from obskit.collector.pages.waterfall_part import BAR, link, waterfall
from obskit.collector.pages.website import Site
from obskit.collector.query import java_trim
from obskit.collector.waterfall.view import View
from obskit.zipkin.ids import normalise_trace_id

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
<div class="controls"><nav class="views" aria-label="View">{views}</nav>
<form class="tools" action="/traces/{trace_id}">{kept}<input type="search" name="find" value="{find}" data-find \
aria-label="Find in this trace" placeholder="find: name, tag, id, log line" autocomplete="off" spellcheck="false">\
<button>Find</button><output id="found">{found}</output><span id="tools"></span></form>
<form class="tools" action="/compare"><input type="hidden" name="trace" value="{trace_id}">\
<input type="search" class="mono" name="trace" aria-label="Compare with the trace" \
placeholder="compare with: trace id" autocomplete="off" spellcheck="false"><button>Compare</button></form></div>
{view}
{more}
"""
_VIEW = '<a href="?{query}"{current}>{name}</a>'
_VIEWS = {"": "Waterfall", "flame": "Flame graph"}
_CURRENT = Html(' aria-current="true"')
_NO_SPANS = """<h1>Trace <code>{trace_id}</code></h1>
<p class="note">No span of this trace is stored here: it was not sampled, its spans have not arrived yet, or they were
deleted to make room for newer ones. The lines and profiles that have its id are below.</p>
"""
_NOTE = '<p class="note">{text} {link}</p>\n'
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
    return page(_title(shown), body, here="/traces", modules=_modules(params))


def _without_spans(site: Site, trace_id: str) -> Response:
    """Return the page of a trace of which no span is stored; 404 if no line or profile is either."""
    lines = lines_part(site, trace_id, lines_of(site, trace_id, None), None, {})
    more = join([lines, profile_of_trace(site, trace_id, None)])
    running = running_note(site, trace_id)
    if not more and not running:
        return message("Trace not found", f"Trace {trace_id} is not stored here.", 404, here="/traces")
    return page(f"Trace {trace_id}", join([render(_NO_SPANS, trace_id=trace_id), running, more]), here="/traces")


def _title(shown: View) -> str:
    return f"{shown.rows[0].service}: {shown.rows[0].span.name or 'unnamed'}"


def _body(site: Site, trace_id: str, shown: View, params: Mapping[str, str], lines: TraceLines, more: Html) -> Html:
    root = shown.rows[0]
    find = java_trim(params.get("find", "")).lower()
    found = matches(shown, find, lines)
    rows = [shown.rows[number] for number in found]
    kept = _kept(params, "skew", "focus", "view")
    if _is_flame(params):
        said = f"{count(len(found), 'row')} of the waterfall"
        view = span_flame(site, shown, _kept(params, "skew", "focus", "find"), rows)
    else:
        said = count(len(found), "row")
        view = waterfall(site, trace_id, shown, params, lines, rows if find else shown.rows)
    return render(
        _PAGE,
        trace_id=trace_id,
        badge=site.badge(root.service),
        name=root.span.name or "unnamed",
        error=error_mark(shown.errors > 0),
        start=moment(shown.start),
        duration=duration(shown.duration),
        spans=f"{shown.spans:,}",
        lines=f" in {count(len(shown.rows), 'row')}" if len(shown.rows) != shown.spans else "",
        errors=f"{shown.errors:,}",
        notes=join([running_note(site, trace_id), _notes(shown, params)]),
        own=_own(site, shown),
        kept=join(render(_HIDDEN, name=name, value=value) for name, value in kept.items()),
        find=params.get("find", ""),
        found=said if find else "",
        views=_views(params),
        view=view,
        more=more,
    )


def _is_flame(params: Mapping[str, str]) -> bool:
    return params.get("view") == "flame"


def _modules(params: Mapping[str, str]) -> tuple[str, ...]:
    return ("flame.js",) if _is_flame(params) else ("waterfall.js", "flame.js")


def _kept(params: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in params.items() if name in names}


def _views(params: Mapping[str, str]) -> Html:
    """Return the links to both views, which keep what else is shown."""
    here = params.get("view", "") if _is_flame(params) else ""
    return join(
        render(
            _VIEW,
            query=urlencode({name: value for name, value in {**params, "view": view}.items() if value}),
            current=_CURRENT if view == here else "",
            name=name,
        )
        for view, name in _VIEWS.items()
    )


def _notes(shown: View, params: Mapping[str, str]) -> Html:
    return join(render(_NOTE, text=text, link=link) for text, link in _sentences(shown, params))


def _sentences(shown: View, params: Mapping[str, str]) -> Iterator[tuple[str, Html]]:
    """Return sentences about what the rows do not show, each with a link that changes it."""
    if params.get("skew") == "raw":
        yield "Times are as each machine's clock had them.", link({**params, "skew": ""}, "make clocks agree")
    elif shown.moved:
        what = f"Clocks differ: {count(shown.moved, 'span')} moved, by {duration(shown.furthest)} at most"
        yield f"{what}; each says so.", link({**params, "skew": "raw"}, "as sent")
    if params.get("focus"):
        yield "Only one span and what it led to is shown.", link({**params, "focus": ""}, "the whole trace")
    if shown.hidden and not _is_flame(params):
        missing = sum(shown.hidden.values())
        text = f"{count(missing, 'row')} not shown: a browser gets some {len(shown.rows):,} at once. Errors and what "
        yield text + "the trace waited for are all here; focus on a span (f) to see everything below it.", Html("")


def _own(site: Site, shown: View) -> Html:
    """Return where the time was spent: a bar, and the share of each service."""
    total = sum(shown.own.values())
    if len(shown.own) < 2 or not total:
        return Html("")
    shares = [(service, took, 100 * took / total) for service, took in shown.own.items() if took]
    bars, x = [], 0.0
    for service, _, share in shares:
        bars.append(BAR.format(kind="bar", colour=site.colour(service), x=x, y=0, width=share, height=8))
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
