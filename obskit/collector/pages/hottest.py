"""The hottest lines of a service for its page, from its profiles of a time."""

from __future__ import annotations

from urllib.parse import urlencode

from obskit.collector.pages.flame_picture import Shown, tables
from obskit.collector.pages.markup import Html, render
from obskit.collector.pages.show import count
from obskit.collector.pages.website import Site
from obskit.collector.periods import Period
from obskit.collector.profiles.flame import tables_of

_ROWS = 8
_PART = """<h2>Hottest lines</h2>
<p class="note">{said} <a href="/profiles?{query}">flame graph</a></p>
<div class="tables card">{tables}</div>
"""


def profiled(site: Site, service: str) -> dict[str, str]:
    """Return the parameters of the profile of a service: of its time on processors, else of its time; empty if none."""
    kinds = [kind for kind, _ in site.profiles.kinds().get(service, []) if kind in {"cpu", "wall"}]
    return {"service": service, "type": min(kinds)} if kinds else {}


def hottest(site: Site, service: str, period: Period) -> Html:
    """Return the lines and functions that took the most time; nothing if no profile of the time is stored."""
    params = profiled(site, service)
    if not params:
        return Html("")
    units = dict(site.profiles.kinds()[service])
    query = {**params, "from": str(period.first // 1_000), "to": str(period.end // 1_000)}
    found = site.profiles.sums.within(service, params["type"], period.first, period.end, plain=True)
    shown = Shown(tables_of(found.sums), units[params["type"]], query)
    if not shown.total:
        return Html("")
    said = f"{shown.amount(shown.total)} ({params['type']}) in {count(found.used, 'profile')}"
    said += f", the newest of {found.found:,}." if found.used < found.found else "."
    return render(_PART, said=said, query=urlencode(query), tables=tables(shown, of_function=False, rows=_ROWS))
