"""The page of recent traces: a form and one line for each trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice

from starlette.requests import Request
from starlette.responses import Response

from obskit.collector.deadline import Deadline
from obskit.collector.pages.frame import page
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import duration, error_mark, failed, moment
from obskit.collector.pages.website import Site
from obskit.collector.query import QueryError, first_values, parse_query
from obskit.collector.tree import arrange, extent, service_of
from obskit.zipkin.model import Span

_LOOKBACKS = {
    "900000": "15 minutes",
    "3600000": "1 hour",
    "86400000": "1 day",
    "604800000": "1 week",
    "31536000000": "1 year",
}
_MOST_TRACES = 200
_LIMITS = ("10", "50", "200")
_FORM = """<form action="/traces" method="get">
<label>Service<select name="serviceName"><option value="">all services</option>{services}</select></label>
<label>Tags and annotations
<input class="wide" name="annotationQuery" value="{tags}" placeholder="error and http.method=GET"></label>
<label>Longer than (µs)<input class="narrow" name="minDuration" value="{longer}" inputmode="numeric"></label>
<label>Within<select name="lookback">{lookbacks}</select></label>
<label>At most<select name="limit">{limits}</select></label>
<button class="primary">Find traces</button>
</form>
"""
_OPTION = '<option value="{value}"{selected}>{label}</option>'
_TABLE = """<div class="card"><table class="traces">
<thead><tr><th>Root</th><th>Start (UTC)</th><th class="number">Duration</th><th class="number">Spans</th>
<th>Services</th></tr></thead>
<tbody>
{rows}</tbody></table></div>
"""
_ROW = """<tr><td><a href="/traces/{trace_id}">{service}: {name}</a> {error}</td><td class="mono">{start}</td>\
<td class="number">{duration}</td><td class="number">{count}</td><td>{services}</td></tr>
"""


def show(site: Site, request: Request, deadline: Deadline) -> Response:
    """Return the traces that match the form, or what is wrong with it."""
    params = {name: value for name, value in first_values(request.query_params.multi_items()).items() if value}
    try:
        query = parse_query({"limit": "50", **params})
        traces, problem = list(islice(site.store.search(query, deadline), _MOST_TRACES)), ""
    except QueryError as error:
        traces, problem = [], str(error)
    body = join([_form(site, params), _result(site, traces, problem)])
    return page("Traces", body, here="/traces", status=400 if problem else 200)


def _form(site: Site, params: Mapping[str, str]) -> Html:
    services = {name: name for name in site.store.service_names()}
    return render(
        _FORM,
        services=_options(services, params.get("serviceName", "").lower()),
        tags=params.get("annotationQuery", ""),
        longer=params.get("minDuration", ""),
        lookbacks=_options(_LOOKBACKS, params.get("lookback", "86400000")),
        limits=_options({limit: limit for limit in _LIMITS}, params.get("limit", "50")),
    )


def _result(site: Site, traces: list[list[Span]], problem: str) -> Html:
    if problem:
        return render('<div class="card message problem">{problem}</div>', problem=problem)
    if not traces:
        return Html('<div class="card message">No traces match. Send spans to POST /api/v2/spans.</div>')
    return render(_TABLE, rows=join(_row(site, spans) for spans in traces))


def _row(site: Site, spans: list[Span]) -> Html:
    root = arrange(spans)[0].span
    covered = extent(spans)
    services = Counter(service_of(span) for span in spans)
    return render(
        _ROW,
        trace_id=root.trace_id,
        service=service_of(root),
        name=root.name or "unnamed",
        error=error_mark(any(map(failed, spans))),
        start=moment(covered.start),
        duration=duration(covered.duration),
        count=len(spans),
        services=join(site.badge(service, count) for service, count in sorted(services.items())),
    )


def _options(labels: Mapping[str, str], chosen: str) -> Html:
    """Options of a list; a chosen value that is not among them is added, so that the form keeps what was asked."""
    shown = {**labels, chosen: labels.get(chosen, chosen)} if chosen else labels
    return join(
        render(_OPTION, value=value, label=label, selected=Html(" selected" if value == chosen else ""))
        for value, label in shown.items()
    )
