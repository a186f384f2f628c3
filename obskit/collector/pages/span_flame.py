"""``/traces/{id}?view=flame``: the spans of a trace as a flame graph, and the time of each operation as a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from urllib.parse import urlencode

from obskit.collector.pages.flame_svg import Box, flame
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import count, duration, error_mark
from obskit.collector.pages.website import Site
from obskit.collector.waterfall.calls import Call, add_up, by_operation
from obskit.collector.waterfall.nodes import Node
from obskit.collector.waterfall.view import View

_MOST_ROWS = 50
_PAGE = """<p class="note">A box is as wide as the self time of its spans and of all that they led to: {total} in all, \
where the trace took {duration}. What ran at the same time adds up. A box leads to its longest span.</p>
{flame}<div class="card scroll"><table class="spent"><caption>Operations, by self time</caption>\
<thead><tr><th>Service and span</th><th class="number">spans</th><th class="number">self time</th>\
<th class="number">share</th><th class="number">longest</th></tr></thead><tbody>
{rows}</tbody></table></div>{more}
"""
_ROW = """<tr><td>{badge}<a href="?{query}">{name}</a> {error}</td><td class="number">{count}</td>\
<td class="number">{own}</td><td class="number">{share}</td><td class="number">{longest}</td></tr>
"""
_NO_TIME = '<div class="card message">No span of this trace says how long it took, so none can be drawn.</div>'


def span_flame(site: Site, shown: View, params: Mapping[str, str], found: Collection[Node]) -> Html:
    """Return the graph and the table; boxes that have spans of the rows ``found`` are marked."""
    top = add_up(node for node in shown.rows if node.depth == 0)
    if not top.total:
        return Html(_NO_TIME)
    kept = {name: value for name, value in params.items() if name != "view"}
    operations = by_operation(top)
    more = count(len(operations) - _MOST_ROWS, "more operation")
    return render(
        _PAGE,
        total=duration(top.total),
        duration=duration(shown.duration),
        flame=flame("Spans", top, partial(_parts, top), partial(_box, site, top, kept, _halves(found))),
        rows=join(_row(site, call, top, kept) for call in operations[:_MOST_ROWS]),
        more=render('<p class="note">{more}</p>', more=more) if len(operations) > _MOST_ROWS else Html(""),
    )


def _halves(nodes: Collection[Node]) -> set[Node]:
    return {half for node in nodes for half in (node, node.half) if half}


def _parts(top: Call, call: Call) -> Iterator[tuple[float, Call]]:
    return ((100.0 * child.total / top.total, child) for child in call.children.values())


def _box(site: Site, top: Call, kept: Mapping[str, str], found: set[Node], call: Call, is_top: bool) -> Box:
    if is_top:
        return Box("whole trace", f"whole trace: {duration(top.total)}", f"?{urlencode(kept)}", "whole")
    failed = call.failed
    name = f"{call.service}: {call.name}" + (f" x{len(call.spans):,}" if len(call.spans) > 1 else "")
    parts = [
        count(len(call.spans), "span"),
        f"{duration(call.total)} with all below",
        f"{duration(call.own)} self time",
    ]
    parts += [f"{100 * call.total / top.total:.1f} %", *([f"{failed:,} failed"] if failed else [])]
    marked = any(node in found for node in call.spans)
    return Box(
        text=f"✕ {name}" if failed else name,
        title=f"{name}: {', '.join(parts)}",
        url=f"?{_query(call, kept)}",
        kind=("found" if marked else f"of {site.colour(call.service)}") + (" broken" if failed else ""),
    )


def _row(site: Site, call: Call, top: Call, kept: Mapping[str, str]) -> Html:
    return render(
        _ROW,
        badge=site.badge(call.service),
        query=_query(call, kept),
        name=call.name,
        error=error_mark(call.failed > 0),
        count=f"{len(call.spans):,}",
        own=duration(call.own),
        share=f"{100 * call.own / top.total:.1f} %",
        longest=duration(call.longest.duration),
    )


def _query(call: Call, kept: Mapping[str, str]) -> str:
    """Return the parameters of the waterfall with the longest span chosen."""
    return urlencode({**kept, "span": call.longest.span.id})
