"""The two pages: recent traces, and one trace as a waterfall. Plain HTML, no script, everything escaped."""

from __future__ import annotations

from itertools import islice

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from obskit.collector.deadline import Deadline
from obskit.collector.markup import Html, render
from obskit.collector.query import QueryError, first_values, java_trim, parse_query
from obskit.collector.recent_page import recent_page
from obskit.collector.store.spans import SpanStore
from obskit.collector.style import STYLE
from obskit.collector.trace_page import trace_page
from obskit.zipkin.ids import normalise_trace_id

_MOST_TRACES = 200  # the largest number that the form offers
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="/zipkin/style.css">
</head>
<body>
<header class="top"><a href="/zipkin/">obskit collector</a></header>
<main>
{body}
</main>
</body>
</html>
"""
_MESSAGE = '<div class="card message">{text}</div>'


class Pages:
    """The pages over a store."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store

    def recent(self, request: Request, deadline: Deadline) -> Response:
        """The traces that match the form, or what is wrong with it."""
        params = {name: value for name, value in first_values(request.query_params.multi_items()).items() if value}
        services = self._store.service_names()
        try:
            query = parse_query({"limit": "50", **params})
            traces, problem = list(islice(self._store.search(query, deadline), _MOST_TRACES)), ""
        except QueryError as error:
            traces, problem = [], str(error)
        return _page("Traces", recent_page(traces, services, params, problem), 400 if problem else 200)

    def trace(self, request: Request, _deadline: Deadline) -> Response:
        """One trace."""
        text = request.path_params["trace_id"]
        try:
            trace_id = normalise_trace_id(java_trim(text))
        except ValueError as error:
            return _page("Not a trace id", render(_MESSAGE, text=error), 400)
        spans = self._store.trace(trace_id)
        if not spans:
            return _page("Trace not found", render(_MESSAGE, text=f"Trace {trace_id} is not stored here."), 404)
        return _page(f"Trace {trace_id}", trace_page(trace_id, spans))

    def style(self, _request: Request) -> Response:
        """The style sheet."""
        return Response(STYLE, media_type="text/css", headers={"cache-control": "max-age=600"})


def _page(title: str, body: Html, status: int = 200) -> Response:
    return HTMLResponse(render(_PAGE, title=title, body=body), status)
