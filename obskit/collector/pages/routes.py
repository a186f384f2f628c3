"""The addresses of the pages. Those below ``/zipkin`` are the addresses of Zipkin's own interface."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from obskit.collector.deadline import Deadline
from obskit.collector.pages import (
    compare_page,
    find_page,
    graph_page,
    home_page,
    incidents_page,
    kubernetes_page,
    logs_page,
    profiles_page,
    scatter,
    service_page,
    trace_data,
    trace_page,
    traces_page,
)
from obskit.collector.pages.assets import asset
from obskit.collector.pages.frame import message
from obskit.collector.pages.website import Page, Site
from obskit.collector.query import QueryError
from obskit.collector.workers import Read, Workers

_PAGES: dict[str, Page] = {
    "/": home_page.show,
    "/services/{service:path}": service_page.show,
    "/graph": graph_page.show,
    "/compare": compare_page.choose,
    "/compare/{before}/{now}": compare_page.show,
    "/find": find_page.show,
    "/incidents": incidents_page.show,
    "/kubernetes": kubernetes_page.show,
    "/logs": logs_page.show,
    "/profiles": profiles_page.show,
    "/traces": traces_page.show,
    "/traces/{trace_id}": trace_page.show,
    "/api/obskit/v1/requests": scatter.answer,
    "/api/obskit/v1/trace/{trace_id}/rows": trace_data.rows,
    "/api/obskit/v1/trace/{trace_id}/find": trace_data.find,
    "/api/obskit/v1/trace/{trace_id}/lines": trace_data.lines,
    "/api/obskit/v1/trace/{trace_id}/span": trace_data.span,
    "/zipkin/dependency": graph_page.show,
    "/zipkin/": traces_page.show,
    "/zipkin/traces/{trace_id}": trace_page.show,
}
# Times the timeout of a search: links are computed by the first query that needs them.
_PATIENCE = dict.fromkeys(("/services/{service:path}", "/graph", "/incidents", "/zipkin/dependency"), 6.0)


def _shown(path: str, show: Page, site: Site) -> Read:
    """Return ``show`` for readers' threads; a page answers a bad parameter with a page, unless it shows its form."""
    if path.startswith("/api/"):
        return partial(show, site)

    def answer(request: Request, deadline: Deadline) -> Response:
        try:
            return show(site, request, deadline)
        except QueryError as error:
            return message("Bad parameter", error, 400, here="/" if "{" in path else path)

    return answer


def page_routes(site: Site, workers: Workers) -> list[Route]:
    """Return the routes of the pages over the stores, and of the files that they use."""
    return [
        Route("/zipkin", traces_page.to_traces),
        Route("/static/{name}", asset),
        *[
            Route(path, workers.reading(_shown(path, show, site), _PATIENCE.get(path, 1.0)))
            for path, show in _PAGES.items()
        ],
    ]
