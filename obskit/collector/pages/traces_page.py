"""``/traces``: search for requests: a form, the scatter plot, and a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from urllib.parse import urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.pages import scatter
from obskit.collector.pages.first_steps import no_requests
from obskit.collector.pages.frame import page
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.request_query import SORTS, RequestQuery, own_names, parse_requests
from obskit.collector.pages.show import count, duration, error_mark, moment
from obskit.collector.pages.website import Site
from obskit.collector.periods import LASTS, written
from obskit.collector.query import QueryError
from obskit.collector.store.packed import Row
from obskit.collector.store.requests import Found
from obskit.collector.tree import service_of
from obskit.zipkin.model import Span

_LIMITS = ("20", "50", "100", "200")
_FORM = """<h1>Traces</h1>
<form id="search" action="/traces" method="get">
<label>Service<select name="service"><option value="">all</option>{services}</select></label>
<label>Span<input name="name" value="{name}" list="names" class="narrow" autocomplete="off"></label>
<label>Calls<input name="remote" value="{remote}" list="remotes" class="narrow" placeholder="service"></label>
<label>Tags and annotations
<input class="wide" name="tags" value="{tags}" placeholder="error and http.method=GET"></label>
<label>At least<input class="short" name="min" value="{min}" placeholder="100ms"></label>
<label>At most<input class="short" name="max" value="{max}" placeholder="1.5s"></label>
<label>From (UTC)<input class="moment-input" name="from" value="{begin}" placeholder="2026-11-26 14:02"></label>
<label>To<input class="moment-input" name="to" value="{end}"></label>
<label>or last<select name="last">{lasts}</select></label>
<label>Sort<select name="sort">{sorts}</select></label>
<label>List<select name="limit">{limits}</select></label>
<label class="check"><input type="checkbox" name="errors" value="1"{errors}> errors only</label>
{scale}<button class="primary">Find</button>
<datalist id="names">{names}</datalist><datalist id="remotes">{remotes}</datalist>
</form>
"""
_OPTION = '<option value="{value}"{selected}>{label}</option>'
_TABLE = """<p class="note"><span id="summary">{summary}</span> <a id="new" hidden href="{again}"></a></p>
<form id="compare" action="/compare"><button>Compare two</button> <span class="dim">that are ticked below</span></form>
<div class="card scroll"><table class="traces">
<thead><tr><th>Request</th><th>Ended</th><th class="number">Duration</th><td class="length"></td>\
<th class="number">Spans</th><th>Services</th></tr></thead>
<tbody>
{rows}</tbody></table></div>
"""
_ROW = """<tr><td><input type="checkbox" name="trace" value="{trace_id}" form="compare" \
aria-label="compare"> <a href="/traces/{trace_id}">{badge}{name}</a> {error}{root}</td><td>{end}</td>\
<td class="number">{duration}</td><td class="length"><svg aria-hidden="true">\
<rect class="bar {colour}" width="{width}%" height="8" y="5" rx="2"/></svg></td><td class="number">{spans}</td>\
<td class="services">{services}</td></tr>
"""
_UPLOAD = """<div class="note" id="upload" hidden>Look at a trace from a file, Zipkin's JSON: \
<input type="file" accept=".json,application/json" aria-label="JSON file of a trace"> <output></output></div>
"""


@dataclass(frozen=True)
class _Listed:
    """A row of the list: a request and its trace."""

    end: int
    took: int
    failed: bool
    service: str
    name: str
    spans: Sequence[Span]


def show(site: Site, http: HttpRequest, deadline: Deadline) -> Response:
    """Return the requests that match the form, or what is wrong with it."""
    params = own_names(params_of(http))
    try:
        query = parse_requests(params)
        result = _result(site, http, query, params, deadline)
    except QueryError as error:
        result = render('<div class="card message problem">{problem}</div>', problem=error)
        body = join([_form(site, params), result])
        return page("Traces", body, here="/traces", status=400)
    return page("Traces", join([_form(site, params), result, Html(_UPLOAD)]), here="/traces", modules=("traces.js",))


def to_traces(_request: HttpRequest) -> Response:
    """Redirect from Zipkin's address of this page."""
    return RedirectResponse("/traces", 302)


def _result(site: Site, http: HttpRequest, query: RequestQuery, params: Mapping[str, str], deadline: Deadline) -> Html:
    found = site.store.requests.find(query.wanted, deadline)
    what = " (tags and remote services narrow the list, not the plot)" if query.by_trace else ""
    picture = scatter.figure(found, site.stored(query.period), params, what)
    rows = _by_trace(site, query, deadline) if query.by_trace else _by_request(site, query, found)
    if not rows:
        return join([picture, _nothing(site, http, query)])
    summary = f"{count(len(rows), 'trace')}, {SORTS[query.sort]} first"
    if not query.by_trace:
        summary += f", of {count(len(found), 'request')}"
    elif len(rows) == query.limit:
        summary = f"The newest {count(len(rows), 'trace')} that match, {SORTS[query.sort]} first; there may be more"
    longest = max(row.took for row in rows) or 1
    lines = join(_line(site, row, longest) for row in rows)
    return join([picture, render(_TABLE, summary=f"{summary}.", rows=lines, again=f"?{urlencode(params)}")])


def _by_request(site: Site, query: RequestQuery, found: Found) -> list[_Listed]:
    """Return the requests to list: of each trace its root if that was found, else the first in the chosen order."""
    by, largest = query.sort.lstrip("-"), query.sort.startswith("-")
    chosen: dict[str, Row] = {}
    for one in found.extremes({"end": "ends"}.get(by, by), query.limit * 10, largest=largest):
        known = chosen.get(one.trace_id)
        if (known is None and len(chosen) < query.limit) or (known and one.root and not known.root):
            chosen[one.trace_id] = one
    ordered = sorted(chosen.values(), key=attrgetter(by), reverse=largest)
    traces = site.store.together([one.trace_id for one in ordered])
    return [
        _Listed(one.end, one.took, bool(one.failed), one.service, one.name, spans)
        for one, spans in zip(ordered, traces, strict=True)
        if spans
    ]


def _by_trace(site: Site, query: RequestQuery, deadline: Deadline) -> list[_Listed]:
    rows = []
    for spans in site.store.search(query.trace_query, deadline):
        root = _root(spans)
        took = root.duration or 0
        failed = any("error" in span.tags for span in spans)
        rows.append(_Listed((root.timestamp or 0) + took, took, failed, service_of(root), root.name or "", spans))
    column = query.sort.lstrip("-")
    rows.sort(key=lambda row: int(getattr(row, column)), reverse=query.sort.startswith("-"))
    return rows


def _root(spans: Sequence[Span]) -> Span:
    """Return the root of the trace, or its first span."""
    return next((span for span in spans if span.parent_id is None), None) or min(
        spans, key=lambda span: span.timestamp or 2**63
    )


def _line(site: Site, row: _Listed, longest: int) -> Html:
    root = _root(row.spans)
    services = Counter(map(service_of, row.spans)).most_common()
    is_root = (service_of(root), root.name or "") == (row.service, row.name)
    of = render(' <span class="dim">in {service}: {name}</span>', service=service_of(root), name=root.name or "unnamed")
    more = render('<span class="dim">{n} more</span>', n=len(services) - 6) if len(services) > 6 else Html("")
    inner = (
        Html("")
        if row.failed or not any("error" in span.tags for span in row.spans)
        else Html('<span class="dim">error inside</span>')
    )
    return render(
        _ROW,
        trace_id=row.spans[0].trace_id,
        badge=site.badge(row.service),
        name=row.name or "unnamed",
        error=error_mark(row.failed) or inner,
        root=Html("") if is_root else of,
        end=moment(row.end),
        duration=duration(row.took),
        colour=site.colour(row.service),
        width=f"{max(100 * row.took / longest, 0.5):.1f}",
        spans=f"{len(row.spans):,}",
        services=join([*(site.badge(*item) for item in services[:6]), more]),
    )


def _nothing(site: Site, http: HttpRequest, query: RequestQuery) -> Html:
    """Return a message for an empty list: how to send spans, or a link to the newest ones."""
    newest = site.store.requests.newest() if query.period.first else 0
    if not newest:
        if not site.store.service_names():
            return no_requests(http)
        text, link = "No requests match.", Html(' <a href="/traces">without conditions</a>')
    else:
        text = f"No requests match in this time. {count(site.store.holdings().spans, 'span')} are stored, the newest:"
        link = render(' <a href="?last=1h&amp;to={to}">{at}</a>', to=newest // 1_000 + 60_000, at=moment(newest))
    return render('<div class="card message">{text}{link}</div>', text=text, link=link)


def _form(site: Site, params: Mapping[str, str]) -> Html:
    service = params.get("service", "").lower()
    names = site.store.span_names(service) if service else []
    remotes = site.store.remote_service_names(service) if service else []
    last = "" if "from" in params else params.get("last", "1h")
    return render(
        _FORM,
        services=_options({name: name for name in site.store.service_names()}, service),
        name=params.get("name", ""),
        remote=params.get("remote", ""),
        tags=params.get("tags", ""),
        min=params.get("min", ""),
        max=params.get("max", ""),
        lasts=_options({**({"": ""} if not last else {}), **{text: text for text in LASTS}}, last),
        begin=_moment_text(params.get("from", "")),
        end=_moment_text(params.get("to", "")),
        sorts=_options(SORTS, params.get("sort", "-end")),
        limits=_options({limit: limit for limit in _LIMITS}, params.get("limit", "50")),
        scale=Html('<input type="hidden" name="scale" value="log">') if params.get("scale") == "log" else "",
        errors=Html(" checked" if params.get("errors") == "1" else ""),
        names=_options({name: name for name in names}, ""),
        remotes=_options({name: name for name in remotes}, ""),
    )


def _moment_text(text: str) -> str:
    """Return epoch milliseconds as a date; any other text unchanged."""
    return written(int(text)) if text.isascii() and text.isdecimal() and len(text) < 20 else text


def _options(labels: Mapping[str, str], chosen: str) -> Html:
    """Return the options of a list. A chosen value that is not among them is added, so that the form keeps it."""
    shown = {**labels, chosen: labels.get(chosen, chosen)} if chosen else labels
    return join(
        render(_OPTION, value=value, label=label, selected=Html(" selected" if value == chosen else ""))
        for value, label in shown.items()
    )
