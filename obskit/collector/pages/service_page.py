"""``/services/{name}``: one service over time, by operation, with its callers and callees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.links import Link
from obskit.collector.pages import scatter
from obskit.collector.pages.charts import bars, distribution, percentiles
from obskit.collector.pages.frame import page
from obskit.collector.pages.health import MINUTE, Health, health
from obskit.collector.pages.home_page import errors_of
from obskit.collector.pages.hottest import hottest, profiled
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.period_links import of_period, period_links
from obskit.collector.pages.running_part import running_part
from obskit.collector.pages.show import count, duration, moment
from obskit.collector.pages.version_marks import listed, marks
from obskit.collector.pages.website import Site
from obskit.collector.periods import Period, parse_period
from obskit.collector.query import TraceQuery
from obskit.collector.store.requests import Found, Wanted

_MOST_OPERATIONS = 100
_LATEST = 10
_HEAD = """<h1>{badge}</h1>
{links}
<dl class="facts"><div><dt>Requests</dt><dd>{calls}</dd></div><div><dt>Errors</dt><dd>{errors}</dd></div>
<div><dt>p50</dt><dd>{p50}</dd></div><div><dt>p95</dt><dd>{p95}</dd></div><div><dt>p99</dt><dd>{p99}</dd></div>
<div><dd><a href="/traces?{query}">Traces</a></dd></div><div><dd><a href="/logs?{logs}">Lines</a></dd></div>
<div><dd><a href="/graph?{query}">Graph</a></dd></div></dl>
"""
_OPERATIONS = """<h2>Operations, by the time they took in sum</h2>
<div class="card scroll"><table class="health operations">\
<thead><tr><th>Operation</th><th class="number">Requests</th><th class="number">Errors</th>\
<th class="number">p50</th><th class="number">p95</th><th class="number">p99</th><th class="number">In sum</th>\
<th class="over">Share of the time</th></tr></thead><tbody>
{rows}</tbody></table></div>
"""
_OPERATION = """<tr><td><a href="/traces?{query}">{name}</a></td><td class="number">{calls}</td>\
<td class="number">{errors}</td><td class="number">{p50}</td><td class="number">{p95}</td>\
<td class="number">{p99}</td><td class="number">{together}</td>\
<td class="over"><svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">\
<rect class="calls" y="6" width="{share}" height="8"/></svg></td></tr>
"""
_NEIGHBOURS = """<div class="halves"><section><h2>Called by</h2><div class="card">{callers}</div></section>
<section><h2>Calls</h2><div class="card">{called}</div></section></div>
"""
_NEIGHBOUR = """<tr><td><a href="/services/{path}?{query}">{badge}</a></td><td class="number">{calls}</td>\
<td class="number">{errors}</td></tr>"""
_NONE = '<div class="message">none in this time</div>'
_ERRORS = """<h2>Latest errors</h2><div class="card scroll"><table><tbody>
{rows}</tbody></table></div>
"""
_ERROR = """<tr><td>{at}</td><td><a href="/traces/{id}">{name}</a></td><td class="number">{took}</td></tr>
"""


def show(site: Site, http: HttpRequest, deadline: Deadline) -> Response:
    """Return the page of a service for a window of time."""
    service = str(http.path_params["service"]).lower()
    params = params_of(http)
    asked_period = parse_period(params)
    period = site.stored(asked_period)
    found = health(site, period, deadline, service)
    requests = site.store.requests.find(Wanted(period.first, period.end, service), deadline)
    window = TraceQuery(period.end // 1_000, max(period.length // 1_000, 1))
    links = site.store.links(window, deadline)
    asked = {"service": service, **of_period(period)}
    runs = site.store.versions.of(service)
    body = [
        _head(site, service, found, period, params),
        listed(runs, profiled(site, service)),
        _charts(service, found, marks(runs, found)),
        distribution(found.total(service), asked),
        _operations(found, asked),
        hottest(site, service, asked_period),
        _neighbours(site, service, links, of_period(period)),
        Html("<h2>Every request</h2>\n"),
        scatter.figure(requests, period, params, query=asked),
        running_part(site, service),
        _errors(requests),
    ]
    return page(service, join(body), here="/", modules=("dots.js",))


def _head(site: Site, service: str, found: Health, period: Period, params: Mapping[str, str]) -> Html:
    total = found.total(service)
    return render(
        _HEAD,
        badge=site.badge(service),
        links=period_links(period, params, found.first * MINUTE),
        calls=f"{total.calls:,}",
        errors=errors_of(total),
        **{f"p{part}": duration(total.percentile(part / 100)) for part in (50, 95, 99)},
        query=urlencode({"service": service, **of_period(period)}),
        logs=urlencode({"service": service}),
    )


def _charts(service: str, found: Health, over: Html) -> Html:
    steps = found.steps(service)
    minutes = found.step
    every: list[tuple[Mapping[str, str], str]] = []
    failed: list[tuple[Mapping[str, str], str]] = []
    for number, numbers in enumerate(steps):
        begin, end = found.period(number)
        query = {"service": service, "from": str(begin), "to": str(end)}
        text = f"{count(numbers.calls, 'request')}, {count(numbers.errors, 'error')}, p95 "
        every.append((query, text + duration(numbers.percentile(0.95))))
        failed.append(({**query, "errors": "1"}, every[-1][1]))
    each = f" in {count(minutes, 'minute')}"
    shares = [100 * numbers.errors / (numbers.calls or 1) for numbers in steps]
    return render(
        '<div class="charts">{rate}{errors}{took}</div>\n',
        rate=bars(f"Requests{each}", [numbers.calls for numbers in steps], "{:,.0f}", every, "calls", over=over),
        errors=bars("Errors, %", shares, "{:,.0f} %", failed, "failed", over=over),
        took=percentiles("Duration", steps, every, over),
    )


def _operations(found: Health, asked: Mapping[str, str]) -> Html:
    ordered = sorted(found.operations.items(), key=lambda item: -item[1].took)
    most = ordered[0][1].took if ordered else 0
    rows = join(
        render(
            _OPERATION,
            query=urlencode({**asked, "name": name}),
            name=name or "unnamed",
            calls=f"{numbers.calls:,}",
            errors=errors_of(numbers) if numbers.errors else "0",
            **{f"p{part}": duration(numbers.percentile(part / 100)) for part in (50, 95, 99)},
            together=duration(numbers.took),
            share=f"{100 * numbers.took / (most or 1):.1f}",
        )
        for name, numbers in ordered[:_MOST_OPERATIONS]
    )
    rest = len(ordered) - _MOST_OPERATIONS
    note = render('<p class="note">{rest} more took less.</p>', rest=rest) if rest > 0 else Html("")
    return join([render(_OPERATIONS, rows=rows), note]) if ordered else Html(_NONE)


def _neighbours(site: Site, service: str, links: Sequence[Link], times: Mapping[str, str]) -> Html:
    def table(some: list[tuple[str, Link]]) -> Html:
        rows = join(
            render(
                _NEIGHBOUR,
                path=quote(name, safe=""),
                query=urlencode(times),
                badge=site.badge(name),
                calls=count(link.call_count, "call"),
                errors=count(link.error_count, "error") if link.error_count else "",
            )
            for name, link in sorted(some, key=lambda item: -item[1].call_count)
        )
        return render("<table><tbody>{rows}</tbody></table>", rows=rows) if rows else Html(_NONE)

    callers = table([(link.parent, link) for link in links if link.child == service])
    return render(_NEIGHBOURS, callers=callers, called=table([(k.child, k) for k in links if k.parent == service]))


def _errors(requests: Found) -> Html:
    failed = requests.failed().extremes("ends", _LATEST, largest=True)
    if not failed:
        return Html("")
    rows = join(
        render(
            _ERROR,
            at=moment(one.end),
            id=one.trace_id,
            name=one.name or "unnamed",
            took=duration(one.took),
        )
        for one in failed
    )
    return render(_ERRORS, rows=rows)
