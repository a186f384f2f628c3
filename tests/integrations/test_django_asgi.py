"""Django under ASGI, by patching and by its middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import django
import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path

from obskit.integrations.asgi import ObskitMiddleware as AsgiMiddleware
from obskit.integrations.django import ObskitMiddleware
from obskit.testing import HttpServerContract, recording
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import asgi_server
from tests.integrations.http_servers import Switched

MIDDLEWARE = "obskit.integrations.django.ObskitMiddleware"

if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", USE_I18N=False, LOGGING_CONFIG=None)
django.setup()


def urls(site: Site) -> tuple[Any, ...]:
    """Return URL patterns that serve ``site``, and what is Django's own."""

    def item_sync(_request: HttpRequest, name: str) -> HttpResponse:
        text, status = site.item(name)
        return HttpResponse(text, status=status, content_type="text/plain")

    async def item(request: HttpRequest, name: str) -> HttpResponse:
        return item_sync(request, name)

    async def stream(_request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(site.stream_async())

    async def stream_sync(_request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(site.stream())

    def file(_request: HttpRequest) -> FileResponse:
        return FileResponse(open(__file__, "rb"))

    return (
        path("items/<name>", item),
        path("sync/<name>", item_sync),
        path("stream", stream),
        path("stream-sync", stream_sync),
        path("file", file),
    )


def sync_only(get_response: Any) -> Any:
    """A middleware that makes Django move to a thread and back."""

    def middleware(request: HttpRequest) -> HttpResponse:
        assert not iscoroutinefunction(get_response)
        return get_response(request)

    return middleware


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators:Warning")
class TestDjangoAsgi(HttpServerContract):
    """Patched."""

    integration = "django"
    route = "/items/<name>"
    middleware: ClassVar[tuple[str, ...]] = ()

    @contextmanager
    def serve(self, site: Site) -> Iterator[str]:
        """Serve on uvicorn."""
        with override_settings(ROOT_URLCONF=urls(site), MIDDLEWARE=self.middleware), asgi_server(ASGIHandler()) as url:
            yield url

    def test_sync_view_sees_its_span(self) -> None:
        """Django runs it in a thread."""
        with self.site():
            status, text = self.get("/sync/apple")
            span = self.recorder.take(SERVER)
        assert (status, text, span.name) == (200, span.trace_id, "GET /sync/<name>")

    def test_exception_of_a_sync_view_is_tagged(self) -> None:
        with self.site():
            self.get("/sync/raise")
            self.recorder.take(SERVER, error="ValueError: no such luck")

    @pytest.mark.parametrize("target", ["/stream-sync", "/file"])
    def test_sync_body_is_one_span_and_unchanged(self, target: str) -> None:
        """Django reads it to its end in a thread before it sends anything."""
        with self.site() as site:
            site.go_on.set()
            status, traced = self.get(target)
            span = self.recorder.take(SERVER)
            assert (status, span.name) == (200, f"GET {target}")
            self.uninstall()
            assert self.get(target)[1] == traced.replace(span.trace_id, "None")


class TestDjangoAsgiMiddleware(Switched, TestDjangoAsgi):
    """Listed in MIDDLEWARE, nothing patched."""

    middleware = (MIDDLEWARE,)

    @contextmanager
    def serve(self, site: Site) -> Iterator[str]:
        """Serve with and without the middleware, to be switched."""
        others = [name for name in self.middleware if name != MIDDLEWARE]
        with override_settings(ROOT_URLCONF=urls(site), MIDDLEWARE=others):
            bare = ASGIHandler()
            with override_settings(MIDDLEWARE=self.middleware):
                traced = self.wrapped(ASGIHandler())

            async def app(scope: Any, receive: Any, send: Any) -> None:
                await (traced if self.traced else bare)(scope, receive, send)

            with asgi_server(app) as url:
                yield url

    def wrapped(self, app: Any) -> Any:
        """Return what the server calls."""
        return app


class TestDjangoAsgiMiddlewareAmongSyncOnes(TestDjangoAsgiMiddleware):
    """Between two that cannot do without threads."""

    middleware = (f"{__name__}.sync_only", MIDDLEWARE, f"{__name__}.sync_only")


class TestDjangoAsgiPatchedWithMiddleware(TestDjangoAsgiMiddleware):
    """Both: still one span."""

    def install(self) -> None:
        TestDjangoAsgi.install(self)
        self.traced = True

    def uninstall(self) -> None:
        TestDjangoAsgi.uninstall(self)
        self.traced = False


class TestDjangoBehindAsgiMiddleware(TestDjangoAsgiMiddleware):
    """A span from outside Django, which its middleware tells the route and the exception."""

    def wrapped(self, app: Any) -> Any:
        return AsgiMiddleware(app)


def test_the_middleware_is_what_the_next_one_is() -> None:
    """Django asks whether it is a coroutine function."""

    async def get_response(_request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert iscoroutinefunction(ObskitMiddleware(get_response))
    assert not iscoroutinefunction(ObskitMiddleware(lambda _request: HttpResponse()))


def test_a_client_that_leaves_is_no_failure_and_the_route_is_known() -> None:
    """Django cancels the view."""

    async def view(_request: HttpRequest, number: int) -> HttpResponse:
        await asyncio.sleep(3600 + number)
        return HttpResponse()

    async def main() -> None:
        messages: asyncio.Queue[Any] = asyncio.Queue()
        scope = {"type": "http", "method": "GET", "path": "/slow/7", "headers": [], "query_string": b"", "client": None}
        serving = asyncio.create_task(ASGIHandler()(scope, messages.get, messages.put))
        messages.put_nowait({"type": "http.request", "body": b""})
        await asyncio.sleep(0.05)
        messages.put_nowait({"type": "http.disconnect"})
        await serving

    urls = (path("slow/<int:number>", view),)
    with recording() as recorder, override_settings(ROOT_URLCONF=urls, MIDDLEWARE=[MIDDLEWARE]):
        asyncio.run(main())
        span = recorder.take()
    assert (span.name, span.tags["http.route"]) == ("GET /slow/<int:number>", "/slow/<int:number>")
    assert "http.status_code" not in span.tags
    assert span.events[0][1] == "cancelled before the end of the response"
