"""``/graph``: which service calls which. Wider lines are more calls, redder ones more errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.incidents import fails
from obskit.collector.links import Link
from obskit.collector.pages.first_steps import no_requests
from obskit.collector.pages.frame import page
from obskit.collector.pages.graph_layout import Places, layout
from obskit.collector.pages.health import MINUTE, Health, health
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.period_links import of_period, period_links
from obskit.collector.pages.show import count, duration
from obskit.collector.pages.website import Site
from obskit.collector.periods import parse_period
from obskit.collector.query import TraceQuery

_WIDE, _HIGH = 176, 40  # of a node
_ACROSS, _DOWN = 330, 62  # between two layers
_LONGEST = 20  # characters of a name
_MOST_DRAWN = 300  # links; a table has all
_HEAD = """<h1>Who calls whom</h1>
{links}{focus}
"""
_NONE = Html(
    """<div class="card message">No calls between services in this time; <a href="?last=all">of all times</a></div>"""
)
_GRAPH = """<div class="card scroll"><svg class="graph" width="{width}" height="{height}" \
viewBox="-8 -8 {width} {height}" role="group" \
aria-label="Dependency graph; the table below says the same">{edges}{nodes}{labels}</svg></div>
<div class="card scroll"><table><thead><tr><th>Caller</th><th>Called</th><th class="number">Calls</th>\
<th class="number">Errors</th></tr></thead><tbody>
{rows}</tbody></table></div>
"""
_EDGE = """<a href="/traces?{query}"><title>{title}</title>\
<path class="edge{kind}" d="{path}" stroke-width="{width}"/></a>
"""
_LABEL = '<text class="calls-label" x="{x}" y="{y}">{calls}</text>\n'
_NODE = """<a href="{href}" class="node {colour}{kind}"><title>{title}</title>\
<rect class="box" x="{x}" y="{y}" width="{wide}" height="{high}" rx="6"/><rect class="bar {colour}" x="{x}" y="{y}" \
width="5" height="{high}" rx="2"/><text x="{tx}" y="{ty}">{name}</text>\
<text class="small" x="{tx}" y="{sy}">{small}</text></a>
"""
_ROW = """<tr><td>{parent}</td><td>{child}</td><td class="number"><a href="/traces?{query}">{calls}</a></td>\
<td class="number">{errors}</td></tr>
"""


def show(site: Site, http: HttpRequest, deadline: Deadline) -> Response:
    """Return the graph of a window of time, or the part of it around one service."""
    params = params_of(http)
    period = site.stored(parse_period(params))
    window = TraceQuery(period.end // 1_000, max(period.length // 1_000, 1))
    links = sorted(site.store.links(window, deadline), key=lambda link: -link.call_count)
    service = params.get("service", "").lower()
    if service:
        links = [link for link in links if service in {link.parent, link.child}]
    found = health(site, period, deadline)
    times = of_period(period)
    drawn = links[:_MOST_DRAWN]
    places = layout([(link.parent, link.child) for link in drawn])
    head = render(
        _HEAD,
        links=period_links(period, params, found.first * MINUTE),
        focus=_focus(site, service, times) if service else _note(links),
    )
    if not links:
        return page("Graph", join([head, _NONE if site.store.service_names() else no_requests(http)]), here="/graph")
    body = render(
        _GRAPH,
        width=max((rank for rank, _ in places.values()), default=0) * _ACROSS + _WIDE + 16,
        height=round(max((place for _, place in places.values()), default=0) * _DOWN + _HIGH + 24),
        edges=join(_edge(link, places, times, drawn[0].call_count) for link in drawn),
        labels=join(_label(link, places) for link in drawn),
        nodes=join(_node(site, name, places, found, times) for name in places),
        rows=join(_row(site, link, times) for link in links),
    )
    return page("Graph", join([head, body]), here="/graph")


def _focus(site: Site, service: str, times: Mapping[str, str]) -> Html:
    note = '<p class="note">Only around {badge}<a href="?{query}">all</a></p>'
    return render(note, badge=site.badge(service), query=urlencode(times))


def _note(links: Sequence[Link]) -> Html:
    more = len(links) - _MOST_DRAWN
    text = f"The {_MOST_DRAWN} links with the most calls are drawn, {more} more are in the table." if more > 0 else ""
    return render('<p class="note">{text}</p>', text=text) if text else Html("")


def _edge(link: Link, places: Places, times: Mapping[str, str], most: int) -> Html:
    (rank, place), (its_rank, its_place) = places[link.parent], places[link.child]
    x, y = rank * _ACROSS + _WIDE, place * _DOWN + _HIGH / 2
    to_x, to_y = its_rank * _ACROSS, its_place * _DOWN + _HIGH / 2
    bend = (_ACROSS - _WIDE) / 2 if its_rank > rank else 90
    share = _share(link)
    path = f"M{x} {y:.0f}C{x + bend} {y:.0f} {to_x - bend} {to_y:.0f} {to_x} {to_y:.0f}"
    if link.parent == link.child:
        path = f"M{x} {y:.0f}c50 -8 50 {_HIGH} -20 {_HIGH / 2:.0f}"
    return render(
        _EDGE,
        query=urlencode({"service": link.parent, "remote": link.child, **times}),
        title=f"{link.parent} calls {link.child}: {count(link.call_count, 'call')}, {_errors(link)}",
        kind=" failing" if share > 0.05 else " some-failed" if share else "",
        path=path,
        width=f"{1 + 7 * math.log1p(link.call_count) / math.log1p(most):.1f}",
    )


def _label(link: Link, places: Places) -> Html:
    """Return what stands on a line, in its middle and over all lines."""
    (rank, place), (its_rank, its_place) = places[link.parent], places[link.child]
    share = _share(link)
    return render(
        _LABEL,
        x=(rank + its_rank) * _ACROSS // 2 + _WIDE // 2,
        y=f"{(place + its_place) / 2 * _DOWN + _HIGH / 2 + 4:.0f}",
        calls=count(link.call_count, "call") + (f" · {100 * share:.0f} % failed" if share else ""),
    )


def _share(link: Link) -> float:
    return link.error_count / link.call_count if link.call_count else 0


def _node(site: Site, name: str, places: Places, found: Health, times: Mapping[str, str]) -> Html:
    rank, place = places[name]
    x, y = rank * _ACROSS, place * _DOWN
    total = found.total(name)
    small = (
        f"{count(total.calls, 'request')} · p95 {duration(total.percentile(0.95))}" if total.calls else "sends no spans"
    )
    return render(
        _NODE,
        href=f"/services/{quote(name, safe='')}?{urlencode(times)}",
        colour=site.colour(name),
        kind=" failing" if fails(total) else "" if total.calls else " foreign",
        title=f"{name}: {small}",
        x=x,
        y=f"{y:.0f}",
        wide=_WIDE,
        high=_HIGH,
        tx=x + 14,
        ty=f"{y + 17:.0f}",
        sy=f"{y + 32:.0f}",
        name=name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…",
        small=small,
    )


def _row(site: Site, link: Link, times: Mapping[str, str]) -> Html:
    return render(
        _ROW,
        parent=site.badge(link.parent),
        child=site.badge(link.child),
        query=urlencode({"service": link.parent, "remote": link.child, **times}),
        calls=f"{link.call_count:,}",
        errors=_errors_link(link, times) if link.error_count else "no error",
    )


def _errors_link(link: Link, times: Mapping[str, str]) -> Html:
    query = urlencode({"service": link.parent, "remote": link.child, "errors": "1", **times})
    return render('<a href="/traces?{query}">{text}</a>', query=query, text=_errors(link))


def _errors(link: Link) -> str:
    if not link.error_count:
        return "no error"
    return f"{count(link.error_count, 'error')} ({100 * link.error_count / (link.call_count or 1):.1f} %)"
