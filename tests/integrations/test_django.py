"""Django under WSGI, by patching and by its middleware. Under ASGI: see test_django_asgi.py."""

from __future__ import annotations

import gc
import gzip
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from wsgiref.util import FileWrapper, setup_testing_defaults

import django
import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import got_request_exception
from django.db import connections
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client, override_settings
from django.urls import include, path, re_path

from obskit.instrumentation.imports import ImportHooks
from obskit.instrumentation.patching import Patches
from obskit.instrumentation.server_exchange import FORGOTTEN
from obskit.integrations import install
from obskit.integrations.django import readable
from obskit.integrations.wsgi import ObskitMiddleware as WsgiMiddleware
from obskit.testing import HttpServerContract, recording
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import wsgi_server
from obskit.tracing.current import current_span
from obskit.tracing.propagated import NOOP_SPAN
from tests.integrations.http_servers import Switched

MIDDLEWARE = "obskit.integrations.django.ObskitMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"

if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", USE_I18N=False, LOGGING_CONFIG=None)
django.setup()


def urls(site: Site) -> tuple[Any, ...]:
    """Return URL patterns that serve ``site``, and what is Django's own."""

    def item(_request: HttpRequest, name: str) -> HttpResponse:
        text, status = site.item(name)
        return HttpResponse(text, status=status, content_type="text/plain")

    async def item_async(request: HttpRequest, name: str) -> HttpResponse:
        return item(request, name)

    def stream(_request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(site.stream())

    def file(_request: HttpRequest) -> FileResponse:
        return FileResponse(open(__file__, "rb"))

    def forbidden(_request: HttpRequest) -> HttpResponse:
        raise PermissionDenied("no")

    return (
        path("items/<name>", item),
        path("async/<name>", item_async),
        path("stream", stream),
        path("file", file),
        path("forbidden", forbidden),
        path("api/", include([path("v1/items/<slug:name>", item), re_path(r"^old/(?P<name>[a-z]+)$", item)])),
        path("", forbidden),
    )


class TestDjango(HttpServerContract):
    """Patched."""

    integration = "django"
    route = "/items/<name>"

    @contextmanager
    def serve(self, site: Site) -> Iterator[str]:
        """Serve on wsgiref."""
        with override_settings(ROOT_URLCONF=urls(site), MIDDLEWARE=()), wsgi_server(WSGIHandler()) as url:
            yield url

    @pytest.mark.parametrize(
        ("target", "name", "error"),
        [
            ("/async/same", "GET /async/<name>", None),
            ("/file", "GET /file", None),
            ("/forbidden", "GET /forbidden", "403"),
            ("/", "GET /", "403"),
            ("/api/v1/items/same", "GET /api/v1/items/<slug:name>", None),
            ("/api/old/same", "GET /api/old/<name>", None),
        ],
    )
    def test_route_is_the_pattern_that_matched(self, target: str, name: str, error: str | None) -> None:
        """With those it is included in; and the response is unchanged."""
        with self.site():
            traced = self.answer("GET", target)
            assert self.recorder.take(SERVER, error=error).name == name
            self.uninstall()
            assert self.answer("GET", target) == traced


class TestDjangoMiddleware(Switched, TestDjango):
    """Listed in MIDDLEWARE, nothing patched."""

    middleware: ClassVar[tuple[str, ...]] = (MIDDLEWARE,)

    @contextmanager
    def serve(self, site: Site) -> Iterator[str]:
        """Serve with and without the middleware, to be switched."""
        others = [name for name in self.middleware if name != MIDDLEWARE]
        with override_settings(ROOT_URLCONF=urls(site), MIDDLEWARE=others):
            bare = WSGIHandler()
            with override_settings(MIDDLEWARE=self.middleware):
                traced = self.wrapped(WSGIHandler())

            def app(environ: Any, start_response: Any) -> Iterable[bytes]:
                return (traced if self.traced else bare)(environ, start_response)

            with wsgi_server(app) as url:
                yield url

    def wrapped(self, app: Any) -> Any:
        """Return what the server calls."""
        return app


class TestDjangoMiddlewareBelowGzip(TestDjangoMiddleware):
    """Below one that compresses what it returns, streams included."""

    middleware = (GZIP, MIDDLEWARE)


class TestDjangoPatchedWithMiddleware(TestDjangoMiddleware):
    """Both: still one span."""

    def install(self) -> None:
        TestDjango.install(self)
        self.traced = True

    def uninstall(self) -> None:
        TestDjango.uninstall(self)
        self.traced = False


class TestDjangoBehindWsgiMiddleware(TestDjangoMiddleware):
    """A span from outside Django, which its middleware tells the route and the exception."""

    def wrapped(self, app: Any) -> Any:
        return WsgiMiddleware(app)


def client(site: Site, *middleware: str) -> Client:
    """Return Django's test client, which calls the middleware on this thread."""
    settings.ROOT_URLCONF, settings.MIDDLEWARE = urls(site), middleware
    return Client(raise_request_exception=False)


@pytest.fixture
def site() -> Iterator[Site]:
    with override_settings():
        yield Site()


def test_a_test_client_sees_the_span_end_with_the_response(site: Site) -> None:
    """And nothing stays current on its thread."""
    with recording() as recorder:
        response = client(site, MIDDLEWARE).get("/items/apple")
        assert response.content.decode() == recorder.take(SERVER).trace_id
        assert current_span() is NOOP_SPAN


def test_a_stream_that_is_closed_unread_ends_the_span(site: Site) -> None:
    with recording() as recorder:
        response = client(site, MIDDLEWARE).get("/stream")
        recorder.assert_empty()
        response.close()
        recorder.take(SERVER)


def test_a_file_is_still_the_servers_to_send(site: Site) -> None:
    """Its own wrapper, for sendfile; and the span ends when the server closes it."""
    environ: dict[str, Any] = {"PATH_INFO": "/file", "SCRIPT_NAME": "", "wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    settings.ROOT_URLCONF, settings.MIDDLEWARE = urls(site), (MIDDLEWARE,)
    with recording() as recorder:
        body = WSGIHandler()(environ, lambda *_: None)
        assert type(body) is FileWrapper
        recorder.assert_empty()
        body.close()
        recorder.take(SERVER)


def test_removing_the_patches_leaves_no_receiver() -> None:
    patches, hooks = Patches(), ImportHooks()
    before = list(got_request_exception.receivers)
    install(["django"], hooks, patches)
    assert len(got_request_exception.receivers) == len(before) + 1
    hooks.remove()
    patches.remove()
    assert got_request_exception.receivers == before


def test_a_compressed_stream_is_whole(site: Site) -> None:
    """The span is current in every chunk of it."""
    site.go_on.set()
    with recording() as recorder:
        response = client(site, GZIP, MIDDLEWARE).get("/stream", headers={"accept-encoding": "gzip"})
        text = gzip.decompress(b"".join(response)).decode()  # type: ignore[arg-type]
        assert set(text.split()) == {recorder.take(SERVER).trace_id}


def test_an_exception_of_an_inner_middleware_is_told(site: Site) -> None:
    with recording() as recorder:
        assert client(site, MIDDLEWARE, f"{__name__}.failing").get("/items/apple").status_code == 500
        assert recorder.take(SERVER, error="KeyError: 'inner'").name == "GET"


def test_an_error_page_that_is_forgotten_ends_its_span(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The exception it answers does not keep it, though the traceback's frames hold all of the request."""
    environ: dict[str, Any] = {"PATH_INFO": "/items/raise", "SCRIPT_NAME": ""}
    setup_testing_defaults(environ)
    settings.ROOT_URLCONF, settings.MIDDLEWARE = urls(site), (MIDDLEWARE,)

    caplog.set_level(logging.CRITICAL, "django.request")  # pytest keeps records, and with them their exceptions

    def serve() -> None:
        page = WsgiMiddleware(WSGIHandler())(environ, lambda *_: None)
        recorder.assert_empty()
        assert b"Server Error" in next(iter(page))

    with recording() as recorder:
        serve()
        gc.collect()
        recorder.take(SERVER, error="ValueError: no such luck", timeout=0)


def failing(_get_response: Any) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(_request: HttpRequest) -> HttpResponse:
        raise KeyError("inner")

    return middleware


def test_an_exception_django_lets_through_is_told(site: Site) -> None:
    with recording() as recorder, override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True):
        with pytest.raises(ValueError, match="no such luck"):
            client(site, MIDDLEWARE).get("/items/raise")
        assert recorder.take(SERVER, error="ValueError").tags["http.status_code"] == "500"


@pytest.mark.parametrize(
    ("pattern", "route"),
    [
        ("", "/"),
        ("^$", "/"),
        ("orders/<int:pk>", "/orders/<int:pk>"),
        (r"^articles/(?P<year>[0-9]{4})/(?P<slug>[\w-]+(-[a-z]+)*)/$", "/articles/<year>/<slug>/"),
        (r"^(\d+)/page(?:/(?P<n>\d+))?/?$", "/<var>/page/<n>/?"),
        (r"^feed\.(?i:xml|json)\Z", "/feed."),
    ],
)
def test_a_pattern_becomes_a_readable_route(pattern: str, route: str) -> None:
    assert readable(pattern) == route


@pytest.mark.parametrize("target", ["/items/apple", "/stream"])
def test_a_handler_that_is_called_directly_returns_djangos_response(target: str, site: Site) -> None:
    """Its status and headers are read, and its content; it is one span, which its close ends."""
    site.go_on.set()
    patches, hooks = Patches(), ImportHooks()
    install(["django"], hooks, patches)
    client(site)
    environ = client(site)._base_environ(PATH_INFO=target)
    with recording() as recorder:
        response: Any = WSGIHandler()(environ, lambda *_: None)
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/")
        assert response.streaming or bytes(response).startswith(b"Content-Type: text")
        assert b"".join(response)
        response.close()
        recorder.take()
        del response
        gc.collect()
    hooks.remove()
    patches.remove()


def test_a_response_that_nobody_closes_ends_its_span_when_it_is_dropped(site: Site) -> None:
    patches, hooks = Patches(), ImportHooks()
    install(["django"], hooks, patches)
    environ = client(site)._base_environ(PATH_INFO="/items/apple")
    connections.all()  # on CPython 3.10 the first look on a thread leaves a cycle of frames, the handler's among them
    with recording() as recorder:
        WSGIHandler()(environ, lambda *_: None)
        assert recorder.take().events[0][1] == FORGOTTEN
    hooks.remove()
    patches.remove()
