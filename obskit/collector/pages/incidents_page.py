"""``/incidents``: a lane for each service or pod, and a row for each incident."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from obskit.collector import incidents
from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.incidents import Incident
from obskit.collector.lines.line import SEVERITIES
from obskit.collector.lines.search import LineQuery, search
from obskit.collector.pages.frame import page
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.period_links import of_period
from obskit.collector.pages.show import duration, moment
from obskit.collector.pages.website import Site
from obskit.collector.periods import LASTS, Period, parse_period
from obskit.collector.query import QueryError, TraceQuery

_HERE = "/incidents"
_HOUR = 3_600_000_000  # microseconds
_MINUTE = 60_000_000
_MOST_LANES, _MOST_LISTED = 50, 500
_WIDE = 1_000
_FORM = """<form action="/incidents" method="get"><label>Within<select name="last">{lasts}</select></label>
<button class="primary">Show</button></form>
"""
_LANES = '<div class="card lanes"><table><tbody>\n{rows}{axis}</tbody></table></div>\n'
_LANE = """<tr><th scope="row">{subject}</th><td><svg viewBox="0 0 1000 16" preserveAspectRatio="none" role="img" \
aria-label="{count} of {subject}">{marks}</svg></td></tr>
"""
_AXIS = '<tr class="axis"><td></td><td><div class="ticks x">{first}{last}</div></td></tr>\n'
_MARK = '<rect class="{kind}" x="{x}" y="2" width="{width}" height="12"><title>{title}</title></rect>'
_TABLE = """<div class="card"><table class="stacked"><thead><tr><th>Began</th><th>Lasted</th><th>Service or pod</th>\
<th>What</th><th>Worst</th><th>Shown by</th></tr></thead><tbody>
{rows}</tbody></table></div>
"""
_ROW = """<tr><td>{first}</td><td>{lasted}</td><td>{subject}</td><td>{kind}</td><td>{worst}</td>\
<td><a href="{link}">{leads_to}</a></td></tr>
"""
_RULES = """<p class="note">A minute is bad when at least {errors} requests and over {share} of them failed, or when \
the 95th percentile of at least {calls} requests is over {times} times the median of the hour before. A service that \
others call is silent after {silent} minutes without a request. Lines of severity CRITICAL and what \
<a href="/kubernetes">Kubernetes</a> tells count too.</p>
"""


def show(site: Site, request: Request, deadline: Deadline) -> Response:
    """Return the page of the incidents of a window."""
    params = params_of(request)
    try:
        period = parse_period(params, "1d")
    except QueryError as error:
        problem = render('<div class="card message">{error}</div>', error=error)
        return page("Incidents", join([_form(""), problem]), here=_HERE, status=400)
    found = sorted(
        _all(site, period, deadline, _called(site, period, deadline)), key=lambda one: one.first, reverse=True
    )
    if found:
        begin = min(site.stored(period).first, found[-1].first)
        body = join([_lanes(found, replace(period, first=begin)), _table(found[:_MOST_LISTED])])
    else:
        body = Html(
            '<div class="card message">No incidents in this time: nothing failed, slowed down or fell silent.</div>'
        )
    return page("Incidents", join([_form(period.last), body, _rules()]), here=_HERE)


def strip(site: Site, period: Period, deadline: Deadline) -> Html:
    """Return the lanes of a window for another page. They link to this page, as links for each are slow to compute."""
    services = site.store.service_names()
    called = {name for service in services for name in site.store.remote_service_names(service)}
    found = list(_all(site, period, deadline, called))
    lanes = _lanes(found, period) if found else Html('<div class="card message short">None in this time.</div>\n')
    heading = render('<h2><a href="/incidents?{query}">Incidents</a></h2>\n', query=urlencode(of_period(period)))
    return join([heading, lanes])


def _called(site: Site, period: Period, deadline: Deadline) -> set[str]:
    window = TraceQuery(end_ts=period.end // 1_000, lookback=max(period.length // 1_000, 1))
    return {link.child for link in site.store.links(window, deadline)}


def _all(site: Site, period: Period, deadline: Deadline, called: set[str]) -> Iterator[Incident]:
    """Yield the incidents that end within a window. The hour before is read too, to know what is usual."""
    now = time.time_ns() // 1_000
    minutes = site.store.cells.by_minute(max(period.first - _HOUR, 0), period.end)
    until = min(period.end, now) // _MINUTE
    found = [
        one
        for service, its in minutes.items()
        for one in incidents.of_service(service, its, until, called=service in called)
    ]
    critical = LineQuery(severity=SEVERITIES["CRITICAL"], first=period.first, last=period.end)
    found += incidents.of_lines(search(site.lines.database, critical, deadline).lines)
    found += incidents.of_changes(site.kubernetes.changes(period.first / 1_000_000), now)
    return (_within(one, period) for one in found if one.last >= period.first and one.first <= period.end)


def _within(one: Incident, period: Period) -> Incident:
    return replace(one, first=max(one.first, period.first), last=min(one.last, period.end))


def _form(last: str) -> Html:
    option = '<option value="{value}"{selected}>{value}</option>'
    selected = Html(" selected")
    options = (
        render(option, value=value, selected=selected if value == (last or "1d") else "")
        for value in LASTS
        if value != "all"
    )
    return render("<h1>Incidents</h1>\n" + _FORM, lasts=join(options))


def _lanes(found: list[Incident], period: Period) -> Html:
    lanes: dict[str, list[Incident]] = {}
    for one in found:
        lanes.setdefault(one.subject, []).append(one)
    rows = (
        render(_LANE, subject=subject, count=f"{len(its)} incidents", marks=join(_mark(one, period) for one in its))
        for subject, its in sorted(lanes.items())[:_MOST_LANES]
    )
    axis = render(_AXIS, first=moment(period.first), last=moment(period.end))
    return render(_LANES, rows=join(rows), axis=axis)


def _mark(one: Incident, period: Period) -> Html:
    begin = (one.first - period.first) * _WIDE // period.length
    width = max((one.last - one.first) * _WIDE // period.length, 4)
    return render(_MARK, kind=one.kind.split()[0], x=begin, width=width, title=f"{one.kind}: {one.worst}")


def _table(found: list[Incident]) -> Html:
    rows = (
        render(
            _ROW,
            first=moment(one.first),
            lasted=duration(one.last - one.first),
            subject=one.subject,
            kind=one.kind,
            worst=one.worst,
            link=_link(one),
            leads_to={"critical lines": "lines", "kubernetes": "namespace"}.get(one.kind, "first requests"),
        )
        for one in found
    )
    return render(_TABLE, rows=join(rows))


def _link(one: Incident) -> str:
    """Return the address of the page that explains an incident: its first bad requests, log lines or pod."""
    if one.kind == "kubernetes":
        return f"/kubernetes?{urlencode({'namespace': one.subject.partition('/')[0]})}"
    first, last = one.first // 1_000, -(-one.last // 1_000)
    if one.kind == "critical lines":
        given = {"service": one.subject, "severity": "critical", "from": first, "to": last}
        return f"/logs?{urlencode(given)}"
    sort = {"errors": "end", "slow": "-took"}.get(one.kind, "-end")
    first = first if one.kind != "silent" else first - _HOUR // 1_000
    errors = {"errors": "1"} if one.kind == "errors" else {}
    return f"/traces?{urlencode({'service': one.subject, 'from': first, 'to': last, 'sort': sort, **errors})}"


def _rules() -> Html:
    return render(
        _RULES,
        share=f"{incidents.ERROR_SHARE:.0%}",
        times=f"{incidents.TIMES_USUAL:g}",
        errors=incidents.FEWEST_ERRORS,
        calls=incidents.FEWEST_CALLS,
        silent=incidents.SILENT_MINUTES,
    )
