"""The scatter plot: every request is a dot at its end (x) and duration (y), a cross if it failed.

Too many dots hide each other and are slow to draw: beyond a number the browser gets a density, the count in each cell.
Requests above the top of the scale are drawn on the upper edge, so that none is missing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import compress
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.pages.duration_scale import Scale, scale_of
from obskit.collector.pages.markup import Html, render
from obskit.collector.pages.request_query import RequestQuery, own_names, parse_requests
from obskit.collector.pages.show import count, duration, moment
from obskit.collector.pages.website import Site
from obskit.collector.periods import Period, parse_duration
from obskit.collector.store.health_numbers import duration_of
from obskit.collector.store.packed import BUCKETS, TICK
from obskit.collector.store.requests import Found, Part

MOST_DOTS = 50_000
_WIDE, _HIGH = 240, 60  # cells of the density
_DRAWN_WIDE, _DRAWN_HIGH = 120, 30  # cells of the picture for browsers without scripts
_CELL = 10  # its size there
_FIGURE = """<figure class="card scatter" id="scatter" data-url="/api/obskit/v1/requests" \
data-query="{query}">
<figcaption><span>{caption}</span>{other}<span class="tools" id="scatter-tools"></span></figcaption>
<div class="plot"><span class="top-label">{top_text}</span><svg viewBox="0 0 {width} {height}" \
preserveAspectRatio="none" role="img" aria-label="{caption}">{marks}</svg></div>
<div class="ticks x">{begin}<span>ended at</span>{end}</div>
</figure>
"""


def answer(site: Site, request: HttpRequest, deadline: Deadline) -> Response:
    """Return the dots of a search, or their density. Times are microseconds since ``first``."""
    params = own_names(params_of(request))
    query = parse_requests(params)
    found = site.store.requests.find(query.wanted, deadline)
    period = _covered(site.stored(query.period), found)
    top = parse_duration("top", params["top"]) if "top" in params else None
    scale = scale_of(found, params.get("scale", ""), top)
    shown = {
        "first": period.first,
        "last": period.end,
        "longest": query.period.length,
        "bottom": scale.bottom,
        "top": scale.top,
        "log": scale.is_log,
        "total": len(found),
        "running": _running(site, query),
    }
    return Response(msgspec.json.encode({**shown, **_marks(site, found, period, scale)}), media_type="application/json")


def _running(site: Site, query: RequestQuery) -> list[tuple[int, str]]:
    """Return how long requests have been running and their traces, where the window ends now and asks for no others."""
    of_others = query.name or query.shortest or query.longest is not None or query.failed
    if of_others or not query.period.last:
        return []
    now = time.time_ns() // 1_000
    return [(max(now - one.began, 0), one.trace_id) for one in site.told.running.oldest(query.service or "")]


def _marks(site: Site, found: Found, period: Period, scale: Scale) -> dict[str, object]:
    if len(found) <= MOST_DOTS:
        first, failed = period.first, found.column("failed")
        return {
            "end": [end - first for end in found.column("ends")],
            "took": list(found.column("took")),
            "failed": [place for place, its in enumerate(failed) if its],
            **_services(site, found),
        }
    cells = _density(found, period, scale, _WIDE, _HIGH)
    grid = [[x, y, *numbers] for (x, y), numbers in cells.items()]
    return {"wide": _WIDE, "high": _HIGH, "grid": grid}


def _services(site: Site, found: Found) -> dict[str, list[int] | list[str]]:
    """Return the services, and for each request the number of its own."""
    numbers: dict[str, int] = {}
    of_each: list[int] = []
    for part in found.parts:
        places = part.column("services")
        known = {place: numbers.setdefault(part.packed.texts[place], len(numbers)) for place in sorted(set(places))}
        of_each += [known[place] for place in places]
    return {"service": of_each, "services": list(numbers), "colours": [site.colour(name) for name in numbers]}


def figure(
    found: Found, period: Period, params: Mapping[str, str], what: str = "", query: Mapping[str, str] | None = None
) -> Html:
    """Return the plot, which a script makes interactive; ``what`` describes the requests, ``params`` are the page's.

    On pages other than ``/traces``, ``query`` has the parameters that select these requests there.
    """
    period, scale = _covered(period, found), scale_of(found, params.get("scale", ""))
    failed = found.errors
    caption = f"{count(len(found), 'request')}{what}, {count(failed, 'error')}"
    return render(
        _FIGURE,
        query=urlencode({**query, **({"scale": "log"} if scale.is_log else {})} if query else {}),
        top_text=duration(scale.top),
        other=_other(params, scale),
        caption=caption,
        width=_DRAWN_WIDE * _CELL,
        height=_DRAWN_HIGH * _CELL,
        marks=Html(_drawn(found, period, scale)),
        begin=moment(period.first),
        end=moment(period.end),
    )


def _other(params: Mapping[str, str], scale: Scale) -> Html:
    """Return a link to the other scale."""
    name, text = ("", "linear scale") if scale.is_log else ("log", "log scale")
    query = urlencode({key: value for key, value in {**params, "scale": name}.items() if value})
    return render('<a class="other-scale" href="?{query}#scatter">{text}</a>', query=query, text=text)


def _covered(period: Period, found: Found) -> Period:
    """Return the window that is shown; for everything stored, it begins with the first request."""
    if period.first or not len(found):
        return period
    first, last = found.extent
    return Period(first, last + 1, period.last)


def _density(found: Found, period: Period, scale: Scale, wide: int, high: int) -> dict[tuple[int, int], list[int]]:
    """Return the numbers of requests and of errors in each cell that is not empty.

    Many requests are counted in steps of 10 s and 9 %, each at its middle.
    """
    requests, errors = [0] * (wide * high), [0] * (wide * high)
    first, across = period.first, wide / period.length
    rows = [scale.row(duration_of(bucket + 0.5), high) for bucket in range(BUCKETS)]
    is_rough, singly = len(found) > MOST_DOTS, []
    for part in found.parts:
        ticks = part.ticks if is_rough else None
        if ticks is None:
            singly.append(part)
            continue
        for tick, (buckets, calls, failed) in ticks:
            x = min(max(int((tick * TICK + TICK // 2 - first) * across), 0), wide - 1) * high
            for bucket, number, its_failed in zip(buckets, calls, failed, strict=True):
                place = x + rows[bucket]
                requests[place] += number
                errors[place] += its_failed
    for numbers, counted in zip((requests, errors), _counted(singly, first, across), strict=True):
        for key, number in counted.items():
            x, bucket = divmod(key, BUCKETS)
            numbers[min(max(x, 0), wide - 1) * high + rows[bucket]] += number
    return {divmod(place, high): [number, errors[place]] for place, number in enumerate(requests) if number}


def _counted(parts: Iterable[Part], first: int, across: float) -> tuple[Counter[int], Counter[int]]:
    """Return how many requests, and how many failed ones, are in each bucket of each column of the plot."""
    every, errors = Counter[int](), Counter[int]()
    for part in parts:
        columns = zip(part.column("ends"), part.column("buckets"), strict=True)
        keys = [int((end - first) * across) * BUCKETS + bucket for end, bucket in columns]
        every.update(keys)
        errors.update(compress(keys, part.column("failed")) if part.packed.errors else ())
    return every, errors


def _drawn(found: Found, period: Period, scale: Scale) -> str:
    """Return paths for cells with few, some and many requests, and one for crosses. Only numbers are inserted."""
    paths = {"few": "", "some": "", "many": "", "cross": ""}
    for (x, y), (requests, failed) in _density(found, period, scale, _DRAWN_WIDE, _DRAWN_HIGH).items():
        left, above = x * _CELL, (_DRAWN_HIGH - 1 - y) * _CELL
        paths["few" if requests < 3 else "some" if requests < 20 else "many"] += f"M{left + 2} {above + 2}h6v6h-6z"
        if failed:
            paths["cross"] += f"M{left + 1} {above + 1}l8 8m0 -8l-8 8"
    return "".join(f'<path class="{kind}" d="{path}"/>' for kind, path in paths.items() if path)
