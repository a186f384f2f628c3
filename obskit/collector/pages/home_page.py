"""``/``: the state of every service. Failing ones come first, then the most called."""

from __future__ import annotations

from collections import Counter
from urllib.parse import quote, urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.incidents import fails
from obskit.collector.pages import scatter
from obskit.collector.pages.charts import sparkline
from obskit.collector.pages.first_steps import no_requests
from obskit.collector.pages.frame import page
from obskit.collector.pages.health import MINUTE, Health, health
from obskit.collector.pages.incidents_page import strip
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.period_links import of_period, period_links
from obskit.collector.pages.running_part import running_part
from obskit.collector.pages.show import count, duration, moment
from obskit.collector.pages.website import Site
from obskit.collector.periods import Period, parse_period
from obskit.collector.store.health_numbers import Numbers
from obskit.collector.store.requests import Wanted

_SECOND = 1_000_000
_TABLE = """<div class="card scroll"><table class="health">
<thead><tr><th>Service</th><th class="number">Requests</th><th class="number">a minute</th>\
<th class="number">Errors</th><th class="number">p50</th><th class="number">p95</th><th class="number">p99</th>\
<th class="over">Over time</th></tr></thead>
<tbody>
{rows}</tbody></table></div>
<p class="note">p50, p95, p99: 50, 95 and 99 of 100 requests took at most this long.</p>
"""
_ROW = """<tr{red}><td><a href="/services/{path}?{query}">{badge}</a>{mark}</td><td class="number">{calls}</td>\
<td class="number">{rate}</td><td class="number">{errors}</td><td class="number">{p50}</td>\
<td class="number">{p95}</td><td class="number">{p99}</td><td class="over">{spark}</td></tr>
"""
_QUIET = Html('<div class="card message">No requests in this time; <a href="?last=all">of all times</a></div>')


def show(site: Site, http: HttpRequest, deadline: Deadline) -> Response:
    """Return the page: services, incidents, the plot of requests, and how much is stored."""
    params = params_of(http)
    period = site.stored(parse_period(params))
    found = health(site, period, deadline)
    wanted = site.store.requests.find(Wanted(period.first, period.end), deadline)
    shown = Period(found.first * MINUTE, period.end, period.last)
    body = [
        render("<h1>Services</h1>\n{links}", links=period_links(period, params, shown.first)),
        _services(site, found, period) if found.services else _nothing(site, http),
        strip(site, shown, deadline),
        Html("<h2>Every request</h2>\n"),
        scatter.figure(wanted, period, params, query=of_period(period)),
        running_part(site),
        _stored(site),
        _told(site),
    ]
    return page("Services", join(body), here="/", modules=("dots.js",))


def _services(site: Site, found: Health, period: Period) -> Html:
    totals = {service: found.total(service) for service in found.services}
    ordered = sorted(totals, key=lambda service: (not fails(totals[service]), -totals[service].calls, service))
    return render(_TABLE, rows=join(_row(site, service, totals[service], found, period) for service in ordered))


def _nothing(site: Site, http: HttpRequest) -> Html:
    return _QUIET if site.store.service_names() else no_requests(http)


def _row(site: Site, service: str, total: Numbers, found: Health, period: Period) -> Html:
    minutes = max(found.last - found.first + 1, 1)
    failing = fails(total)
    query = urlencode({**of_period(period), "service": service, "errors": "1"})
    link = render('<a href="/traces?{query}">{text}</a>', query=query, text=errors_of(total))
    return render(
        _ROW,
        red=Html(' class="red"') if failing else "",
        path=quote(service, safe=""),
        query=urlencode(of_period(period)),
        badge=site.badge(service),
        mark=Html('<span class="error">failing</span>') if failing else "",
        calls=f"{total.calls:,}",
        rate=f"{total.calls / minutes:,.1f}",
        errors=link if total.errors else "0",
        **{f"p{part}": duration(total.percentile(part / 100)) for part in (50, 95, 99)},
        spark=sparkline(found.steps(service)),
    )


def errors_of(numbers: Numbers) -> str:
    """Return ``12 (3.4 %)``."""
    return f"{numbers.errors:,} ({100 * numbers.errors / (numbers.calls or 1):.1f} %)"


def _stored(site: Site) -> Html:
    """Return how much is stored, since when, and how much was evicted, lest the lists seem complete."""
    held = site.store.holdings()
    text = f"{count(held.spans, 'span')} stored, {_size(held.size)}"
    gone = f"; {count(held.gone, 'older span')} made room" if held.gone else "; none had to make room"
    since = render(" since {at}", at=moment(held.since * _SECOND)) if held.since else Html("")
    note = '<p class="note">{text}{since}{gone}. Numbers of services stay when spans go.{lost}</p>\n'
    return render(note, text=text, since=since, gone=gone, lost=_lost(site))


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def _lost(site: Site) -> str:
    """Return what came since the start of this process and was not stored; the same numbers are in ``/metrics``."""
    counts = [metrics.snapshot() for metrics in site.transports]
    refused, lost = (sum(its[name] for its in counts) for name in ("messages_dropped", "spans_dropped"))
    parts = [count(number, what) for number, what in ((refused, "message"), (lost, "span")) if number]
    return f" Refused since the start: {' and '.join(parts)}; senders halve what is too large." if parts else ""


def _told(site: Site) -> Html:
    """Return what each service says that it lost; the numbers are those of its ``obskit.stats()``."""
    entries = [
        render(" {badge} {text};", badge=site.badge(service), text=_of_reasons(its))
        for service, its in sorted(site.told.losses.by_service().items())
    ]
    note = '<p class="note" id="told">Lost before it was stored here, as the services\' processes say:{entries} '
    note += "what was refused here is among it.</p>\n"
    return render(note, entries=join(entries)) if entries else Html("")


def _of_reasons(lost: Counter[tuple[str, str]]) -> str:
    """Return ``1,200 spans (1,190 queue full, 10 http 413)``."""
    parts = []
    for items in sorted({items for items, _ in lost}, reverse=True):
        its = {reason: number for (what, reason), number in lost.most_common() if what == items}
        reasons = ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in its.items())
        parts.append(f"{count(sum(its.values()), items.removesuffix('s'))} ({reasons})")
    return " and ".join(parts)
