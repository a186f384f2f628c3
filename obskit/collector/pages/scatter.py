"""Every request as a dot: when it ended from left to right, how long it took from bottom to top, failed ones crosses.

Beyond some number dots hide each other, and a browser takes long to draw them: then it gets how many there are where.
Above the top of the scale a request stands on the upper edge, so that none is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from obskit.collector.deadline import Deadline
from obskit.collector.pages.markup import Html, render
from obskit.collector.pages.periods import Period, parse_duration
from obskit.collector.pages.request_query import own_names, parse_requests
from obskit.collector.pages.show import count, duration, moment
from obskit.collector.pages.website import Site
from obskit.collector.query import first_values
from obskit.collector.store.requests import Request

MOST_DOTS = 50_000
_WIDE, _HIGH = 240, 60  # cells of the density
_DRAWN_WIDE, _DRAWN_HIGH = 120, 30  # cells of the picture for readers without script
_CELL = 10  # its size there
_NICE = (1, 2, 5)
_FIGURE = """<figure class="card scatter" id="scatter" data-url="/api/obskit/v1/requests" \
data-top="{top}" data-query="{query}">
<figcaption><span>{caption}</span><span class="tools" id="scatter-tools"></span></figcaption>
<div class="plot"><span class="top-label">{top_text}</span><svg viewBox="0 0 {width} {height}" \
preserveAspectRatio="none" role="img" aria-label="{caption}">{marks}</svg></div>
<div class="ticks x">{begin}<span>ended at</span>{end}</div>
</figure>
"""


def answer(site: Site, request: HttpRequest, deadline: Deadline) -> Response:
    """Return the dots of a search, or how many there are where. Times are microseconds since ``first``."""
    params = own_names(first_values(request.query_params.multi_items()))
    query = parse_requests(params)
    found = site.store.requests.find(query.wanted, deadline)
    period = _covered(query.period, found)
    top = parse_duration("top", params["top"]) if "top" in params else top_of(found)
    shown = {"first": period.first, "last": period.end, "top": top, "total": len(found)}
    return Response(msgspec.json.encode({**shown, **_marks(found, period, top)}), media_type="application/json")


def _marks(found: Sequence[Request], period: Period, top: int) -> dict[str, object]:
    if len(found) <= MOST_DOTS:
        return {
            "end": [one.end - period.first for one in found],
            "took": [one.took for one in found],
            "failed": [number for number, one in enumerate(found) if one.failed],
        }
    cells = _density(found, period, top, _WIDE, _HIGH)
    grid = [[x, y, *numbers] for (x, y), numbers in cells.items()]
    return {"wide": _WIDE, "high": _HIGH, "grid": grid}


def figure(found: Sequence[Request], period: Period, what: str = "", query: Mapping[str, str] | None = None) -> Html:
    """Return the picture, which a script makes live; ``what`` is said of the requests.

    ``query`` is what the page of traces calls these requests, on any other page.
    """
    period, top = _covered(period, found), top_of(found)
    failed = sum(one.failed for one in found)
    caption = f"{count(len(found), 'request')}{what}, {count(failed, 'error')}"
    return render(
        _FIGURE,
        top=top,
        query=urlencode(query or {}),
        top_text=duration(top),
        caption=caption,
        width=_DRAWN_WIDE * _CELL,
        height=_DRAWN_HIGH * _CELL,
        marks=Html(_drawn(found, period, top)),
        begin=moment(period.first),
        end=moment(period.end),
    )


def top_of(found: Sequence[Request]) -> int:
    """Return a round duration that all but one in a hundred are below."""
    if not found:
        return 1_000_000
    high = sorted(one.took for one in found)[int(len(found) * 0.99)] * 1.1
    top = 1
    while top * _NICE[-1] < high:
        top *= 10
    return next((top * nice for nice in _NICE if top * nice >= high), top * 10)


def _covered(period: Period, found: Sequence[Request]) -> Period:
    """Return the time that is shown: of all that is stored, only from the first request on."""
    if period.first or not found:
        return period
    return Period(min(one.end for one in found), max(one.end for one in found) + 1, period.last)


def _density(
    found: Sequence[Request], period: Period, top: int, wide: int, high: int
) -> dict[tuple[int, int], list[int]]:
    """Return how many requests, and failed ones, are in each cell that has some."""
    cells: dict[tuple[int, int], list[int]] = {}
    across, up = wide / period.length, high / top
    for one in found:
        x = min(int((one.end - period.first) * across), wide - 1)
        numbers = cells.setdefault((x, min(int(one.took * up), high - 1)), [0, 0])
        numbers[0] += 1
        numbers[1] += one.failed
    return cells


def _drawn(found: Sequence[Request], period: Period, top: int) -> str:
    """Return a path for cells with few, some and many requests, and one for crosses; numbers only."""
    paths = {"few": "", "some": "", "many": "", "cross": ""}
    for (x, y), (requests, failed) in _density(found, period, top, _DRAWN_WIDE, _DRAWN_HIGH).items():
        left, above = x * _CELL, (_DRAWN_HIGH - 1 - y) * _CELL
        paths["few" if requests < 3 else "some" if requests < 20 else "many"] += f"M{left + 2} {above + 2}h6v6h-6z"
        if failed:
            paths["cross"] += f"M{left + 1} {above + 1}l8 8m0 -8l-8 8"
    return "".join(f'<path class="{kind}" d="{path}"/>' for kind, path in paths.items() if path)
