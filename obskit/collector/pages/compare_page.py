"""``/compare/{a}/{b}``: what one request did that another did not, and what took longer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from obskit.collector.deadline import Deadline
from obskit.collector.pages.frame import message, page
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import count, duration, error_mark, moment
from obskit.collector.pages.website import Site
from obskit.collector.query import first_values, java_trim
from obskit.collector.waterfall.comparison import Pair, compare
from obskit.collector.waterfall.nodes import Node
from obskit.collector.waterfall.view import View
from obskit.zipkin.ids import normalise_trace_id

_MOST_ROWS = 500
_DEEPEST = 24
_HERE = "/traces"
_LEAST = 0.01  # of the longer trace: a smaller difference is not coloured
_SORTS = {"": "as they ran", "difference": "by difference"}
_PAGE = """<h1>{badge}{name} <span class="dim">compared</span></h1>
<div class="card scroll"><table class="compared"><thead><tr><td></td><th>Trace</th><th>Start</th>\
<th class="number">Duration</th><th class="number">Spans</th><th class="number">Errors</th></tr></thead><tbody>
{traces}</tbody></table></div>
<p class="note">{said} Spans go together by service, name, kind and position. <a href="{swap}">exchange the two</a></p>
<nav class="periods" aria-label="Order">{sorts}</nav>
<div class="card"><table class="pairs"><thead><tr><th>Span</th><td class="both"></td><th class="number">before</th>\
<th class="number">now</th><th class="number">difference</th></tr></thead><tbody>
{rows}</tbody></table></div>
{rest}
"""
_TRACE = """<tr><th scope="row">{which}</th><td><a href="/traces/{id}"><code>{short}</code></a> {badge}{name}</td>\
<td>{start}</td><td class="number">{took}</td><td class="number">{spans}</td><td class="number">{errors}</td></tr>
"""
_ROW = """<tr class="{kind}"><td><span class="what d{depth}">{badge}<span class="name">{name}</span>{error}</span></td>\
<td class="both"><svg aria-hidden="true">{bars}</svg></td><td class="number">{before}</td><td class="number">{now}</td>\
<td class="number"><span class="key {colour}">{said}</span></td></tr>
"""
_BAR = '<rect class="{kind}" x="{x:.3f}%" y="{y}" width="{width:.3f}%" height="6"/>'
_SORT = '<a href="?{query}"{current}>{text}</a>'
_CURRENT = Html(' aria-current="true"')
_NO_TRACE = "Trace {} is not stored here; exchange it for another."


@dataclass(frozen=True)
class _Both:
    before: View
    now: View
    ids: tuple[str, str]

    @property
    def longest(self) -> int:
        return max(self.before.duration, self.now.duration, 1)


def choose(_site: Site, request: Request, _deadline: Deadline) -> Response:
    """Redirect from the form in which two traces are chosen (``trace=`` twice) to their page."""
    ids = [quote(text) for value in request.query_params.getlist("trace") if (text := java_trim(value))]
    if len(ids) != 2:
        said = f"{count(len(ids), 'trace')} chosen; choose two in the list of traces."
        return message("Compare two traces", said, 400, here=_HERE)
    return RedirectResponse(f"/compare/{ids[0]}/{ids[1]}", 302)


def show(site: Site, request: Request, _deadline: Deadline) -> Response:
    """Return the page of two traces, or what is wrong with one of their ids."""
    views = []
    for name in ("before", "now"):
        try:
            trace_id = normalise_trace_id(java_trim(request.path_params[name]))
        except ValueError as error:
            return message("Not a trace id", error, 400, here=_HERE)
        shown = site.views.get(trace_id, {})
        if not shown:
            return message("Trace not found", _NO_TRACE.format(trace_id), 404, here=_HERE)
        views.append((shown, trace_id))
    (before, old_id), (now, new_id) = views
    both = _Both(before, now, (old_id, new_id))
    body = _body(site, both, first_values(request.query_params.multi_items()))
    return page(f"{now.rows[0].service}: two traces", body, here=_HERE)


def _body(site: Site, both: _Both, params: Mapping[str, str]) -> Html:
    pairs = compare(*([node for node in view.rows if node.parent is None] for view in (both.before, both.now)))
    ordered = sorted(pairs, key=lambda pair: -abs(pair.slower)) if params.get("sort") else pairs
    root = both.now.rows[0]
    rest = len(pairs) - _MOST_ROWS
    return render(
        _PAGE,
        badge=site.badge(root.service),
        name=root.span.name or "unnamed",
        traces=join([_trace(site, "before", both.before, both.ids[0]), _trace(site, "now", both.now, both.ids[1])]),
        said=_said(both, pairs),
        swap=f"/compare/{both.ids[1]}/{both.ids[0]}",
        sorts=join(
            render(
                _SORT,
                query=urlencode({"sort": sort} if sort else {}),
                current=_CURRENT if sort == params.get("sort", "") else "",
                text=text,
            )
            for sort, text in _SORTS.items()
        ),
        rows=join(_row(site, pair, both, is_tree=ordered is pairs) for pair in ordered[:_MOST_ROWS]),
        rest=render('<p class="note">{rest} more.</p>', rest=count(rest, "row")) if rest > 0 else "",
    )


def _trace(site: Site, which: str, shown: View, trace_id: str) -> Html:
    return render(
        _TRACE,
        which=which,
        id=trace_id,
        short=trace_id[-8:],
        badge=site.badge(shown.rows[0].service),
        name=shown.rows[0].span.name or "unnamed",
        start=moment(shown.start),
        took=duration(shown.duration),
        spans=f"{shown.spans:,}",
        errors=f"{shown.errors:,}",
    )


def _said(both: _Both, pairs: list[Pair]) -> str:
    difference = both.now.duration - both.before.duration
    gone, new = sum(not pair.now for pair in pairs), sum(not pair.before for pair in pairs)
    more = sum(_kind(pair, both) == "more" and bool(pair.before) for pair in pairs)
    took = f"{duration(abs(difference))} {'longer' if difference > 0 else 'shorter'}" if difference else "as long"
    counts = f"{count(more, 'row')} slower, {new:,} only now, {gone:,} only before"
    return f"Now took {took}. {counts}. Outlined bars are before."


def _row(site: Site, pair: Pair, both: _Both, *, is_tree: bool) -> Html:
    node = pair.node
    counts = " to ".join(f"x{len(side)}" for side in (pair.before, pair.now))
    name = node.span.name or "unnamed"
    before, now = pair.took
    return render(
        _ROW,
        kind="" if pair.before and pair.now else "one-sided",
        depth=min(pair.depth, _DEEPEST) if is_tree else 0,
        badge=site.badge(node.service),
        name=name if max(len(pair.before), len(pair.now)) < 2 else f"{name} {counts}",
        error=error_mark(any(one.failed for one in pair.now or pair.before)),
        bars=Html("".join(_bars(pair, both))),
        before=duration(before) if pair.before else "",
        now=duration(now) if pair.now else "",
        colour=_kind(pair, both),
        said=_difference(pair),
    )


def _kind(pair: Pair, both: _Both) -> str:
    if pair.before and pair.now and abs(pair.slower) < _LEAST * both.longest:
        return "same"
    return "more" if pair.slower > 0 or not pair.before else "less"


def _difference(pair: Pair) -> str:
    """Return ``▲ 40 ms``, or which of the traces alone has it."""
    if not pair.before:
        return "▲ only now"
    if not pair.now:
        return "▼ only before"
    if not pair.slower:
        return "0"
    return f"{'▲' if pair.slower > 0 else '▼'} {duration(abs(pair.slower))}"


def _bars(pair: Pair, both: _Both) -> Iterator[str]:
    """Yield when it ran: before above, now below; our own numbers and names only."""
    for kind, y, nodes, view in (("was", 4, pair.before, both.before), ("is", 13, pair.now, both.now)):
        timed: list[Node] = [node for node in nodes if node.start]
        if timed:
            start = min(node.start for node in timed)
            x = min(max(100 * (start - view.start) / both.longest, 0), 99.7)
            width = 100 * (max(node.end for node in timed) - start) / both.longest
            yield _BAR.format(kind=kind, x=x, y=y, width=min(max(width, 0.3), 100 - x))
