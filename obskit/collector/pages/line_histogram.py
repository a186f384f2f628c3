"""A histogram of log lines over time, by severity. Each bar links to its lines."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from obskit.collector.lines.search import LineQuery, histogram
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import count, moment
from obskit.collector.pages.website import Site

_HEIGHT = 60
_MOST_BARS = 60
_PICTURE = """<figure class="card histogram">
<svg viewBox="0 0 {width} 60" preserveAspectRatio="none" role="group" aria-label="{label}">{bars}</svg>
<figcaption>{first}<span>{said}</span>{last}</figcaption></figure>
"""
_BAR = '<a href="?{query}"><title>{title}</title><rect class="ground" x="{x}" y="0" width="1" height="60"/>{parts}</a>'
_PART = '<rect class="{level}" x="{x}" y="{y:.2f}" width="0.9" height="{height:.2f}"/>'
_LEVELS = (("quiet", 0), ("warned", 400), ("bad", 500))


def picture(site: Site, query: LineQuery, params: Mapping[str, str]) -> Html:
    """Return the histogram over the window of ``query``, as far as lines are stored; nothing if there are none."""
    oldest, newest = site.lines.extent()
    first, last = max(query.first, oldest), min(query.last, newest) + 1
    if not oldest or last <= first:
        return Html("")
    asked = LineQuery(service=query.service, severity=query.severity, first=first, last=last)
    width, parts = histogram(site.lines.database, asked, _MOST_BARS)
    highest = max((sum(part.values()) for part in parts), default=0)
    if not highest:
        return Html("")
    bars = [_bar(number, part, highest, first + number * width, width, params) for number, part in enumerate(parts)]
    total = sum(sum(part.values()) for part in parts)
    narrowed = " of all words, loggers and traces" if query.words.wanted or query.logger or query.trace else ""
    said = f"{count(total, 'line')}{narrowed}, up to {highest:,} a bar"
    return render(
        _PICTURE, width=len(parts), label=said, bars=join(bars), said=said, first=moment(first), last=moment(last)
    )


def _bar(number: int, part: Mapping[int, int], highest: int, begin: int, width: int, params: Mapping[str, str]) -> Html:
    total = sum(part.values())
    kept = {name: value for name, value in params.items() if name not in {"last", "before"}}
    query = urlencode({**kept, "from": begin // 1000, "to": (begin + width) // 1000 - 1})
    bad = sum(lines for severity, lines in part.items() if severity >= 500)
    title = f"{count(total, 'line')}, {count(bad, 'error')}"
    return render(_BAR, query=query, title=title, x=number, parts=Html("".join(_stack(number, part, highest))))


def _stack(x: int, part: Mapping[int, int], highest: int) -> list[str]:
    """Return the parts of a bar, errors at the bottom. Only numbers and fixed class names are inserted."""
    made, y = [], float(_HEIGHT)
    for position, (level, lowest) in reversed(list(enumerate(_LEVELS))):
        above = _LEVELS[position + 1][1] if position + 1 < len(_LEVELS) else 10_000
        lines = sum(number for severity, number in part.items() if lowest <= severity < above)
        height = _HEIGHT * lines / highest
        if lines:
            height = max(height, 1.0)
            y -= height
            made.append(_PART.format(level=level, x=x, y=max(y, 0), height=height))
    return made
