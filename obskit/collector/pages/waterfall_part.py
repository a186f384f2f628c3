"""The waterfall of a trace without script: 200 rows, links to the others, and the selected span's details."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from obskit.collector.pages.line_marks import lines_said, marks_on_bar
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import duration, error_mark
from obskit.collector.pages.span_detail import details, panel
from obskit.collector.pages.trace_lines import TraceLines
from obskit.collector.pages.website import Site
from obskit.collector.waterfall.nodes import Node
from obskit.collector.waterfall.view import View, ids_of

_MOST_ROWS = 200
_DEEPEST = 24  # rows below this depth are not indented further
_NARROWEST = 0.2  # percent of the width, so that a short span can be seen
_TICKS = (0, 25, 50, 75, 100)
_WATERFALL = """<div class="trace" id="trace" data-url="/api/obskit/v1/trace/{trace_id}" data-query="{query}">
<div class="card lines">
<canvas id="minimap" height="48" hidden></canvas>
<div class="row head"><span>Service and span</span><span class="ticks">{ticks}</span>\
<span class="number">Duration</span></div>
<div id="rows" class="rows">
{rows}</div>
{rest}</div>
<aside class="card panel" id="span" aria-label="Chosen span" aria-live="polite">{panel}</aside>
</div>"""
_ROW = """<a class="row{marks}" href="?{query}#span"><span class="what d{depth}">\
{badge}<span class="name">{name}</span> \
{error}{orphan}{said}</span><span class="line"><svg aria-hidden="true">{bar}</svg></span>\
<span class="number">{duration}</span></a>
"""
BAR = '<rect class="{kind} {colour}" x="{x:.3f}%" y="{y}" width="{width:.3f}%" height="{height}"/>'
_SAID = '<span class="dim"> {text}</span>'
_LINK = '<a href="?{query}">{text}</a>'


def waterfall(
    site: Site, trace_id: str, shown: View, params: Mapping[str, str], lines: TraceLines, rows: list[Node]
) -> Html:
    """Return the first rows, or those from ``offset`` on, with the details of the selected span."""
    begin = int(params["offset"]) if params.get("offset", "").isdecimal() else 0
    chosen = {params["span"]} if "span" in params else {shown.rows[0].span.id}
    return render(
        _WATERFALL,
        trace_id=trace_id,
        query=urlencode({name: value for name, value in params.items() if name in {"skew", "focus"}}),
        ticks=join(render("<span>{at}</span>", at=_tick(shown, percent)) for percent in _TICKS),
        rows=join(_row(site, node, shown, params, lines) for node in rows[begin : begin + _MOST_ROWS]),
        rest=_rest(len(rows), begin, params),
        panel=panel(site, details(shown, chosen, lines)),
    )


def _rest(rows: int, begin: int, params: Mapping[str, str]) -> Html:
    """Return links to the rows that are not on the page; the script shows all of them."""
    if rows <= _MOST_ROWS and not begin:
        return Html("")
    end = min(begin + _MOST_ROWS, rows)
    before = link({**params, "offset": str(max(begin - _MOST_ROWS, 0))}, "before") if begin else Html("")
    after = link({**params, "offset": str(end)}, "next") if end < rows else Html("")
    text = '<p class="note rest">Rows {first} to {last} of {all}. {before} {after}</p>'
    return render(text, first=f"{begin + 1:,}", last=f"{end:,}", all=f"{rows:,}", before=before, after=after)


def link(params: Mapping[str, str], text: str) -> Html:
    """Return a link to the same page with these parameters."""
    return render(_LINK, query=urlencode({name: value for name, value in params.items() if value}), text=text)


def _tick(shown: View, percent: int) -> str:
    return duration(shown.duration * percent // 100) if percent else "0"


def _row(site: Site, node: Node, shown: View, params: Mapping[str, str], lines: TraceLines) -> Html:
    marks = lines.marks(node, shown.start)
    name = node.span.name or "unnamed"
    ids = ids_of(node)
    return render(
        _ROW,
        marks=" chosen" if params.get("span") in ids else "",
        query=urlencode({**params, "span": ids[0]}),
        depth=min(node.depth, _DEEPEST),
        badge=site.badge(node.service),
        name=f"{name} x{node.repeats:,}" if node.repeats else name,
        error=error_mark(node.failed),
        orphan=Html('<span class="dim">parent missing</span>') if node.orphan else Html(""),
        said=render(_SAID, text=lines_said(marks)) if marks else "",
        bar=join([Html("".join(_bars(site, node, shown))), *marks_on_bar(marks, shown.duration)]),
        duration=duration(node.duration),
    )


def _bars(site: Site, node: Node, shown: View) -> Iterable[str]:
    """Return the span's bar and, inside it, the server's. Only numbers and fixed class names are inserted."""
    for part, y, height in ((node, 7, 10), (node.half, 9, 6)):
        if part and part.start:
            x = 100 * (part.start - shown.start) / (shown.duration or 1)
            width = max(100 * part.duration / (shown.duration or 1), _NARROWEST)
            x = min(max(x, 0.0), 100 - _NARROWEST)
            kind = "failed" if part.failed else "bar"
            yield BAR.format(
                kind=kind, colour=site.colour(part.service), x=x, y=y, width=min(width, 100 - x), height=height
            )
