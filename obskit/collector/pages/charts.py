"""Charts as SVG made by the server: every bar links, with its value as title. Only numbers are inserted, no texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode

from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import duration
from obskit.collector.store.health_numbers import Numbers, duration_of

_NICE = (1, 2, 5, 10)
_HIGH = 100  # units of a chart's height
_PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
Link = tuple[Mapping[str, str], str]  # the query of the list behind a step, and the step's title

_NOTHING = Html("")
_CHART = """<figure class="card chart"><figcaption>{title} <span class="dim">{legend}</span></figcaption>
<div class="plot"><span class="top-label">{top}</span>\
<svg viewBox="0 0 {width} 100" preserveAspectRatio="none">{marks}</svg>{over}</div>{axis}</figure>
"""
_STEP = '<a href="{href}"><title>{title}</title><rect class="step" x="{x}" y="0" width="1" height="100"/>{bars}</a>'
_BAR = '<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"/>'


def nice(number: float) -> float:
    """Return the next larger of 1, 2, 5, 10, 20, ..."""
    power = 1.0
    while power * 10 < number:
        power *= 10
    return next(power * step for step in _NICE if power * step >= number)


def sparkline(steps: Sequence[Numbers]) -> Html:
    """Return a chart as high as a line of text: requests over time, errors in red."""
    most = max((numbers.calls for numbers in steps), default=0) or 1
    bars = []
    for x, numbers in enumerate(steps):
        calls, errors = 20 * numbers.calls / most, 20 * numbers.errors / most
        if calls:
            bars.append(_BAR.format(kind="calls", x=x, y=20 - max(calls, 1), width=0.8, height=max(calls, 1)))
        if errors:
            bars.append(_BAR.format(kind="failed", x=x, y=20 - max(errors, 1.5), width=0.8, height=max(errors, 1.5)))
    svg = '<svg class="spark" viewBox="0 0 {steps} 20" preserveAspectRatio="none" aria-hidden="true">{bars}</svg>'
    return render(svg, steps=len(steps), bars=Html("".join(bars)))


def bars(
    title: str,
    values: Sequence[float],
    tops: str,
    links: Sequence[Link],
    kind: str,
    axis: Html = _NOTHING,
    over: Html = _NOTHING,
) -> Html:
    """Return a bar for each value; ``tops`` labels the top of the scale."""
    top = nice(max(values, default=0) or 1)
    steps = []
    for x, (value, (query, text)) in enumerate(zip(values, links, strict=True)):
        height = max(_HIGH * value / top, 1.5) if value else 0
        bar = _BAR.format(kind=kind, x=x + 0.08, y=_HIGH - height, width=0.84, height=height) if value else ""
        steps.append(_step(x, query, text, bar))
    return render(
        _CHART,
        title=title,
        legend="",
        top=tops.format(top),
        width=len(values),
        marks=join(steps),
        axis=axis,
        over=over,
    )


def percentiles(title: str, steps: Sequence[Numbers], links: Sequence[Link], over: Html = _NOTHING) -> Html:
    """Return the durations of requests over time, a line for each percentile."""
    series = {name: [numbers.percentile(part) for numbers in steps] for name, part in _PERCENTILES}
    top = nice(max((value or 0 for values in series.values() for value in values), default=0) or 1)
    lines = [_line(name, values, top) for name, values in series.items()]
    hits = [_step(x, query, text, "") for x, (query, text) in enumerate(links)]
    legend = "p50, p95 and p99, from faint to strong"
    marks = join([*hits, *map(Html, lines)])
    return render(
        _CHART,
        title=title,
        legend=legend,
        top=duration(round(top)),
        width=len(steps),
        marks=marks,
        axis=_NOTHING,
        over=over,
    )


def distribution(total: Numbers, query: Mapping[str, str]) -> Html:
    """Return a histogram of durations on a logarithmic scale."""
    if not total.buckets:
        return Html("")
    first, last = min(total.buckets), max(total.buckets) + 1
    counts = [total.buckets.get(bucket, 0) for bucket in range(first, last)]
    links: list[Link] = []
    for bucket, requests in zip(range(first, last), counts, strict=True):
        begin, end = duration_of(bucket), duration_of(bucket + 1)
        text = f"{duration(begin)} to {duration(end)}: {requests:,}"
        links.append(({**query, "min": f"{begin}us", "max": f"{end}us"}, text))
    ends = '<div class="ticks x"><span>{begin}</span><span>each bar: 9 % longer</span><span>{end}</span></div>'
    axis = render(ends, begin=duration(duration_of(first)), end=duration(duration_of(last)))
    return bars("How long requests took", counts, "{:,.0f} requests", links, "calls", axis)


def _step(x: int, query: Mapping[str, str], text: str, bar: str) -> Html:
    href = f"/traces?{urlencode(query)}"
    return render(_STEP, href=href, title=text, x=x, bars=Html(bar))


def _line(name: str, values: Iterable[int | None], top: float) -> str:
    """Return a path with gaps where nothing was measured."""
    path, is_down = "", False
    for x, value in enumerate(values):
        if value is not None:
            y = _HIGH - _HIGH * value / top
            path += f"{'L' if is_down else 'M'}{x + 0.1} {y:.1f}L{x + 0.9} {y:.1f}"
        is_down = value is not None
    return f'<path class="{name}" d="{path}"/>' if path else ""
