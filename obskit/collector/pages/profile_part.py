"""The profile of one request, for the page of its trace; if it was never sampled, the profile of its route."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

from obskit.collector.pages.flame_picture import Shown, picture, tables
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.website import Site
from obskit.collector.profiles.flame import Choice, added, fold, without_outer_calls
from obskit.collector.profiles.store import MOST_MERGED
from obskit.collector.waterfall.view import View

_HALF_AN_HOUR = 1_800_000_000  # microseconds
_EVER = 2**62
_MOST_SERVICES = 3
_PART = """<section aria-labelledby="profile-of-trace"><h2 id="profile-of-trace">Profile</h2>
{parts}</section>
"""
_OUTER = " {} outer calls of libraries, which all samples share, are left out."
_ONE = """<p class="note">{badge}{said} <a href="/profiles?{query}">alone, and more of it</a></p>
{picture}<div class="tables card">{tables}</div>
"""


def of_trace(site: Site, trace_id: str, shown: View | None) -> Html:
    """Return the flame graphs of a trace, one for each service; nothing if there are none."""
    parts = list(_of_request(site, trace_id)) or list(_of_route(site, shown) if shown else ())
    return render(_PART, parts=join(parts)) if parts else Html("")


def _of_request(site: Site, trace_id: str) -> Iterator[Html]:
    kinds = dict(sorted(site.profiles.of_trace(trace_id)))  # wall time rather than CPU time, as it includes waiting
    for service, kind in list(kinds.items())[:_MOST_SERVICES]:
        said = "in the samples of this request, {kind}: {amount}."
        yield from _one(site, service, kind, Choice(trace=trace_id), (0, _EVER), said)


def _of_route(site: Site, shown: View) -> Iterator[Html]:
    """Yield the profile of the trace's first route, in the hour around the trace."""
    root = shown.rows[0]
    route = root.span.tags.get("http.route", "")
    kinds = [kind for kind, _ in site.profiles.kinds().get(root.service, []) if kind in {"cpu", "wall"}]
    if route and kinds:
        said = f"No sample saw this request. All requests of {route} in the hour around it, {{kind}}: {{amount}}."
        time = shown.start - _HALF_AN_HOUR, shown.start + _HALF_AN_HOUR
        yield from _one(site, root.service, max(kinds), Choice(route=route), time, said)


def _one(site: Site, service: str, kind: str, choice: Choice, time: tuple[int, int], said: str) -> Iterator[Html]:
    sums = (
        added(site.profiles.read(site.profiles.numbers(service, kind, *time, choice.trace)[:MOST_MERGED]))
        if choice.trace
        else site.profiles.sums.within(service, kind, *time).sums
    )
    flame, outer = without_outer_calls(fold(sums, choice))
    unit = next((unit for name, unit in site.profiles.kinds().get(service, []) if name == kind), "")
    asked = {"service": service, "type": kind, "route": choice.route, "trace": choice.trace}
    if not choice.trace:
        asked |= {"from": str(time[0]), "to": str(time[1])}
    params = {name: value for name, value in asked.items() if value}
    shown = Shown(flame, unit, params)
    if shown.total:
        said += _OUTER.format(outer) if outer else ""
        text = said.replace("{kind}", kind).replace("{amount}", shown.amount(shown.total))
        yield render(
            _ONE,
            badge=site.badge(service),
            said=text,
            query=urlencode(params),
            picture=picture(shown),
            tables=tables(shown, of_function=False),
        )
