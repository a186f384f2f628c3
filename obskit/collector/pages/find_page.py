"""``/find``: redirects from an id, in any of its forms, to the page of its trace."""

from __future__ import annotations

import re
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from obskit.collector.deadline import Deadline
from obskit.collector.lines.search import LineQuery, newer
from obskit.collector.pages.frame import message
from obskit.collector.pages.website import Site
from obskit.collector.query import java_trim
from obskit.zipkin.ids import normalise_trace_id

_hex = re.compile(r"[0-9a-f]{1,32}").fullmatch
_traceparent = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}").fullmatch
_SHORT = 8  # last characters of a trace id, which console log lines show


def show(site: Site, request: Request, deadline: Deadline) -> Response:
    """Redirect to the trace of a trace id (in any case, or its last 8 characters) or of a span id.

    A trace that has only log lines or a profile is found by its whole id.
    """
    text = java_trim(request.query_params.get("q", "")).lower()
    parent = _traceparent(text)
    wanted = parent[1] if parent else text.replace("-", "")
    if not _hex(wanted) or not wanted.strip("0"):
        return message("Not an id", f"{text[:80]!r} is not an id; give 1 to 32 hex digits, or a traceparent.", 400)
    if site.store.trace(whole := normalise_trace_id(wanted)):
        return _to(whole)
    found = site.store.find_ids(wanted, deadline)
    if found:
        return _to(*found)
    if newer(site.lines.database, LineQuery(trace=whole, limit=1)).lines or site.profiles.of_trace(whole):
        return _to(whole)
    hint = "Its spans may not have arrived yet, or may have been deleted to make room for newer ones."
    return message("Nothing has this id", f"No trace and no span with the id {wanted} is stored here. {hint}", 404)


def _to(trace_id: str, span_id: str | None = None) -> Response:
    return RedirectResponse(f"/traces/{quote(trace_id)}" + (f"?span={span_id}" if span_id else ""), 302)
