"""The row of links that selects a page's window of time, and the line below it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import moment
from obskit.collector.periods import LASTS, Period

_LINK = '<a href="?{query}"{current}>{text}</a>'
_ROW = '<nav class="periods" aria-label="Time">{links}<span class="dim">{begin} to {end}</span></nav>\n'


def period_links(period: Period, params: Mapping[str, str], first: int) -> Html:
    """Return the links; ``first`` is the begin of the window, in epoch microseconds."""
    kept = {name: value for name, value in params.items() if name not in {"last", "from", "to"}}
    links = join(
        render(
            _LINK,
            query=urlencode({**kept, "last": last}),
            current=Html(' aria-current="true"') if last == period.last else "",
            text=last,
        )
        for last in LASTS
    )
    return render(_ROW, links=links, begin=moment(first), end=moment(period.end))


def of_period(period: Period) -> dict[str, str]:
    """Return the parameters of a page with the same window."""
    if period.last:
        return {"last": period.last}
    return {"from": str(period.first // 1_000), "to": str(period.end // 1_000)}
