"""``/logs``: search of log lines by text and fields, a histogram, the context of one line, and a live tail."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from obskit.collector.api.answers import params_of
from obskit.collector.deadline import Deadline
from obskit.collector.lines.line import SEVERITIES
from obskit.collector.lines.params import parse_lines_query, place_text, whole_number
from obskit.collector.lines.search import Found, around, line_of, search
from obskit.collector.pages.first_steps import no_lines
from obskit.collector.pages.frame import message, page
from obskit.collector.pages.line_histogram import picture
from obskit.collector.pages.line_rows import rows
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import count, moment
from obskit.collector.pages.website import Site
from obskit.collector.query import QueryError

_HERE = "/logs"
_TIMES = {"15m": "15 minutes", "1h": "1 hour", "1d": "1 day", "7d": "1 week", "": "all that is stored"}
_FORM = """<h1 class="unseen">Log lines</h1>
<form action="/logs" method="get">
<label>Words<input class="wide" type="search" name="q" value="{q}" data-find spellcheck="false" \
placeholder="timeout &quot;no stock&quot; -debug order=7"></label>
<label>Severity<select name="severity"><option value="">any</option>{severities}</select></label>
<label>Service<select name="service"><option value="">all services</option>{services}</select></label>
<label>Logger<input class="narrow" name="logger" value="{logger}"></label>
<label>Trace<input class="narrow mono" name="trace" value="{trace}"></label>
{time}
<button class="primary">Find lines</button>
<button type="button" id="live" hidden aria-pressed="false"></button>
</form>
"""
_WITHIN = '<label>Within<select name="last">{times}</select></label>'
_BETWEEN = """<label>From<input name="from" value="{first}"></label><label>To<input name="to" value="{last}"></label>"""
_OPTION = '<option value="{value}"{selected}>{label}</option>'
_SELECTED = Html(" selected")
_LIST = """<p class="note" role="status">{said}</p>
<div class="card entries" id="lines" data-query="{query}" data-last="{last_id}" \
data-colours="{colours}">{rows}</div>
<p class="note">{more}</p>
"""
_AROUND = """<h1>Lines around one</h1>
<p class="note">{said}</p>
<div class="card entries">{rows}</div>
"""
_EMPTY = Html('<div class="message">No lines match. <a href="/logs">all lines</a></div>')


def show(site: Site, request: Request, deadline: Deadline) -> Response:
    """Return the lines that match the form, or what is wrong with it; or the context of the line ``line``."""
    given = params_of(request)
    params = {name: value for name, value in given.items() if value}
    try:
        if "line" in params:
            return _around(site, params, deadline)
        query = parse_lines_query(params)
    except QueryError as error:
        problem = render('<div class="card message problem">{problem}</div>', problem=error)
        return page("Log lines", join([_form(site, params), problem]), here=_HERE, status=400)
    last_id = site.lines.last_id  # before the search: the live tail shows what arrives meanwhile
    found = search(site.lines.database, query, deadline)
    body = join([_form(site, params), picture(site, query, params), _list(site, request, found, params, last_id)])
    return page("Log lines", body, here=_HERE, modules=("tail.js",))


def _around(site: Site, params: Mapping[str, str], deadline: Deadline) -> Response:
    line = line_of(site.lines.database, whole_number("line", params["line"]))
    if line is None:
        return message("Line not found", f"Line {params['line']} is not stored here (any more).", 404, here=_HERE)
    lines = around(site.lines.database, line, deadline)
    process = f"{line.service}, {line.instance}" if line.instance else line.service
    said = f"{count(len(lines), 'line')} of one process ({process}), oldest first."
    return page("Log lines", render(_AROUND, said=said, rows=rows(site, lines, line.id)), here=_HERE)


def _form(site: Site, params: Mapping[str, str]) -> Html:
    severities = {name.lower(): f"{name.lower()} or worse" for name in SEVERITIES if name != "DEFAULT"}
    return render(
        _FORM,
        q=params.get("q", ""),
        severities=_options(severities, params.get("severity", "").lower()),
        services=_options({name: name for name in site.lines.services()}, params.get("service", "")),
        logger=params.get("logger", ""),
        trace=params.get("trace", ""),
        time=_time(params),
    )


def _time(params: Mapping[str, str]) -> Html:
    """Return the window of the form: a period until now, or the two times that a bar of the histogram has set."""
    if "from" in params or "to" in params:
        return render(_BETWEEN, first=params.get("from", ""), last=params.get("to", ""))
    return render(_WITHIN, times=_options(_TIMES, params.get("last", "")))


def _options(labels: Mapping[str, str], chosen: str) -> Html:
    """Return the options of a list. A chosen value that is not among them is added, so that the form keeps it."""
    shown = {**labels, chosen: labels.get(chosen, chosen)} if chosen else labels
    return join(
        render(_OPTION, value=value, label=label, selected=_SELECTED if value == chosen else Html(""))
        for value, label in shown.items()
    )


def _list(site: Site, request: Request, found: Found, params: Mapping[str, str], last_id: int) -> Html:
    kept = {name: value for name, value in params.items() if name not in {"before", "limit", "last"}}
    more = Html("")
    if found.more:
        link = urlencode({**params, "before": place_text(found.more)})
        text = "search further back" if found.searched_from else "older lines"
        more = render('<a href="?{link}">{text}</a>', link=link, text=text)
    is_newest = "before" not in params and "to" not in params
    return render(
        _LIST,
        said=_said(site, found),
        query=urlencode(kept) if is_newest else "",
        last_id=last_id if is_newest else "",
        colours=site.colours(),
        rows=rows(site, reversed(found.lines))
        if found.lines
        else _EMPTY
        if site.lines.extent()[0]
        else no_lines(request),
        more=more,
    )


def _said(site: Site, found: Found) -> Html:
    """Return a description of the list, and what is missing from it."""
    stored, dropped, oldest = site.lines.totals()
    parts = [render("{n}, newest first.", n=count(len(found.lines), "line"))]
    if found.searched_from:
        parts.append(render(" Looked back to {time} so far.", time=moment(found.searched_from)))
    if oldest:
        parts.append(render(" {stored} stored since {time}", stored=count(stored, "line"), time=moment(oldest)))
        parts.append(render("; {n} older ones were deleted to make room.", n=f"{dropped:,}") if dropped else Html("."))
    return join(parts)
