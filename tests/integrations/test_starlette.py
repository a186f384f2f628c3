"""Starlette."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles

from obskit.testing import HttpServerContract
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import asgi_server


async def pass_on(request: Request, call_next: Callable[..., Any]) -> Response:
    return await call_next(request)


def application(site: Site, **options: Any) -> Starlette:
    """Return a Starlette application that serves ``site``, and what is Starlette's own."""

    async def item(request: Request) -> Response:
        return PlainTextResponse(*site.item(request.path_params["name"]))

    def threaded(request: Request) -> Response:
        return PlainTextResponse(*site.item(request.path_params["name"]))

    async def stream(_request: Request) -> Response:
        return StreamingResponse(site.stream_async(), media_type="text/plain")

    def stream_in_thread(_request: Request) -> Response:
        return StreamingResponse(site.stream(), media_type="text/plain")

    async def background(_request: Request) -> Response:
        return PlainTextResponse("accepted", 202, background=BackgroundTask(site.item, "raise"))

    routes = [
        Route("/items/{name}", item, methods=["GET", "BREW"]),
        Route("/threaded/{name:str}", threaded),
        Route("/stream", stream),
        Route("/stream-in-thread", stream_in_thread),
        Route("/background", background),
        Route("/slash/", threaded),
        Mount("/tenants/{tenant}", routes=[Mount("/v2", app=Router([Route("/items/{name}", item)]))]),
        Mount("/static", app=StaticFiles(directory=__file__.rpartition("/")[0])),
    ]
    return Starlette(routes=routes, **options)


class TestStarlette(HttpServerContract):
    """Patched."""

    integration = "starlette"

    def serve(self, site: Site) -> AbstractContextManager[str]:
        """Serve on uvicorn."""
        return asgi_server(application(site))

    def test_endpoint_in_a_thread_sees_its_span(self) -> None:
        with self.site():
            status, text = self.get("/threaded/apple")
            span = self.recorder.take(SERVER)
        assert (status, text) == (200, span.trace_id)
        assert span.name == "GET /threaded/{name:str}"

    def test_stream_in_a_thread_sees_its_span(self) -> None:
        with self.site() as site:
            site.go_on.set()
            _, text = self.get("/stream-in-thread")
            assert set(text.split()) == {self.recorder.take(SERVER).trace_id}

    @pytest.mark.parametrize(
        ("path", "name", "error"),
        [
            ("/tenants/acme/v2/items/apple", "GET /tenants/{tenant}/v2/items/{name}", None),
            ("/tenants/acme/v2/nothing", "GET not_found", "404"),
            ("/static/test_starlette.py", "GET /static/{path}", None),
            ("/static/nothing", "GET /static/{path}", "404"),
            ("/slash", "GET redirected", None),
        ],
    )
    def test_route_is_the_whole_of_it(self, path: str, name: str, error: str | None) -> None:
        """Mounts add their pattern, not what matched it; a mounted application that hides its routes is one."""
        with self.site():
            self.get(path)
            assert self.recorder.take(SERVER, error=error).name == name

    def test_failing_background_task_is_not_the_requests_error(self) -> None:
        """The span ended with the response."""
        with self.site():
            assert self.get("/background") == (202, "accepted")
            self.recorder.take(SERVER)

    def test_exception_with_a_handler_of_its_own_is_told_where_it_is_a_server_error(self) -> None:
        """A handler that answers 4xx has dealt with it."""
        for status, error in ((503, "ValueError: no such luck"), (409, "409")):
            handlers = {ValueError: lambda _request, _error, status=status: PlainTextResponse("handled", status)}
            with self.site() as site, asgi_server(application(site, exception_handlers=handlers)) as url:
                self._netloc = url.removeprefix("http://")
                assert self.get("/items/raise") == (status, "handled")
                self.recorder.take(SERVER, error=error)


class TestStarletteBehindMiddleware(TestStarlette):
    """With middleware that compresses, and one that runs the application in another task."""

    unsupported = (
        {"test_exception_before_the_first_chunk_is_the_error": "BaseHTTPMiddleware ends the response before it raises"}
        if tuple(map(int, version("starlette").split(".")[:2])) >= (0, 46)
        else {}
    )

    def serve(self, site: Site) -> AbstractContextManager[str]:
        middleware = [Middleware(GZipMiddleware, minimum_size=1), Middleware(BaseHTTPMiddleware, dispatch=pass_on)]
        return asgi_server(application(site, middleware=middleware))
