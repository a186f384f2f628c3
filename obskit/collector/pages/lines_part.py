"""The log lines of a request below its waterfall: all of them, or those of the selected span and what it led to."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from obskit.collector.pages.line_rows import rows
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import count
from obskit.collector.pages.trace_lines import MOST_LINES, TraceLines, row_of
from obskit.collector.pages.website import Site
from obskit.collector.waterfall.view import View

MOST_SHOWN = 200
_PART = """<section class="logs" aria-labelledby="lines-of-trace"><h2 id="lines-of-trace">Log lines</h2>
<p class="note" id="line-scope" data-all="{every}"><span>{scopes}</span><output>{said}</output> \
<a href="/logs?trace={trace_id}">search in them</a></p>
<div class="card entries" id="trace-lines" data-colours="{colours}">{rows}</div></section>
"""
_SCOPE = '<a href="?{query}#lines-of-trace"{current}>{text}</a> '
_CURRENT = Html(' aria-current="true"')
_NONE = Html('<div class="message">No line in this part of the trace.</div>')


def lines_part(site: Site, trace_id: str, found: TraceLines, shown: View | None, params: Mapping[str, str]) -> Html:
    """Return the section of the lines; nothing if the trace has none. ``log=below``: of the selected span and below."""
    if not found.lines:
        return Html("")
    top = row_of(shown, params["span"]) if shown and "span" in params else None
    is_part = top is not None and params.get("log") == "below"
    lines = found.below(top) if top and is_part else found.lines
    return render(
        _PART,
        trace_id=trace_id,
        colours=site.colours(),
        every=_every(found),
        scopes=_scopes(found, len(found.below(top)) if top else -1, params, is_part=is_part),
        said=_said(len(lines), more=found.more),
        rows=rows(site, lines[:MOST_SHOWN]) or _NONE,
    )


def _scopes(found: TraceLines, below: int, params: Mapping[str, str], *, is_part: bool) -> Html:
    """Return the links that choose which lines are shown; ``below`` is how many a chosen span has."""
    if below < 0:
        return Html("")
    scopes = {"": f"all {_every(found)}", "below": f"of the selected span and below: {below:,}"}
    return join(
        render(
            _SCOPE,
            query=urlencode({name: value for name, value in {**params, "log": scope}.items() if value}),
            current=_CURRENT if (scope == "below") == is_part else "",
            text=text,
        )
        for scope, text in scopes.items()
    )


def _every(found: TraceLines) -> str:
    return f"{len(found.lines):,}" + ("+" if found.more else "")


def _said(lines: int, *, more: bool) -> str:
    said = f"The first {MOST_SHOWN} of {lines:,} lines" if lines > MOST_SHOWN else count(lines, "line")
    said += ", oldest first."
    return f"{said} Of this trace the first {MOST_LINES:,} lines are placed at spans." if more else said
