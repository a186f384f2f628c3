"""Sanic, on its own server and under ASGI."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import simple_websocket

from obskit.testing import HttpServerContract
from obskit.testing.contract import B3, SPAN_ID
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import asgi_server
from obskit.tracing.current import current_span
from tests.integrations.http_servers import RequestLogCases

pytest.importorskip("sanic", reason="needs sanic")

from sanic import Blueprint, Request, Sanic, Websocket
from sanic.exceptions import SanicException
from sanic.http import Http
from sanic.response import HTTPResponse, text

_numbers = itertools.count()


def application(site: Site) -> Sanic[Any, Any]:
    """Return an application that serves ``site``, and what is Sanic's own."""
    app = Sanic(f"site-{next(_numbers)}", configure_logging=False)
    app.config.REQUEST_MAX_HEADER_SIZE = 100_000

    @app.route("/items/<name>", methods=["GET", "POST", "HEAD"], unquote=True)
    async def item(_request: Request, name: str) -> HTTPResponse:
        body, status = site.item(name)
        return text(body, status)

    @app.get("/stream")
    async def stream(request: Request) -> None:
        chunks = site.stream_async()
        try:
            first = await anext(chunks)
            response = await request.respond(content_type="text/plain")
            await response.send(first)
            async for chunk in chunks:
                await response.send(chunk)
            await response.eof()
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]

    tenants = Blueprint("tenants", url_prefix="/tenants/<tenant:int>", version=2)

    @tenants.get("/conflict")
    async def conflict(_request: Request, tenant: int) -> HTTPResponse:
        raise SanicException("no", status_code=409)

    app.blueprint(tenants)
    return app


@contextmanager
def serving(app: Sanic[Any, Any]) -> Iterator[str]:
    """Serve by Sanic's own server, in an event loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)

    async def start() -> Any:
        server = await app.create_server(sock=listening, return_asyncio_server=True)
        assert server is not None
        await server.startup()
        await server.start_serving()
        return server

    async def stop(server: Any) -> None:
        for connection in list(server.connections):
            connection.abort()
        await server.close()

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class SanicContract(HttpServerContract):
    """What both ways of serving owe."""

    integration = "sanic"
    route = "/items/<name:str>"

    @pytest.fixture(autouse=True)
    def _many_applications(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let Sanic start more than once in a process, and take the contract's largest header."""
        monkeypatch.setattr(Sanic, "test_mode", True)
        monkeypatch.setattr(Http, "HEADER_CEILING", 100_000)

    def test_answer_by_an_exception_is_the_status_alone(self) -> None:
        """The prefix and the version of a blueprint are part of the route."""
        with self.site():
            assert self.get("/v2/tenants/7/conflict")[0] == 409
            span = self.recorder.take(SERVER, error="409")
        assert (span.tags["error"], span.tags["http.route"]) == ("409", "/v2/tenants/<tenant:int>/conflict")


class TestSanic(RequestLogCases, SanicContract):
    """On Sanic's own server."""

    client_gone = "cancelled before the end of the response"

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return serving(application(site))

    def test_exception_after_the_start_is_the_error_of_the_status_that_was_sent(self) -> None:
        app = application(Site())

        @app.get("/late")
        async def late(request: Request) -> None:
            response = await request.respond(status=202)
            await response.send("first")
            raise ValueError("too late")

        with serving(app) as url, socket.create_connection(self.address(url)) as client:
            client.sendall(b"GET /late HTTP/1.0\r\nHost: x\r\n\r\n")
            assert self.recorder.take(SERVER, error="ValueError: too late").tags["http.status_code"] == "202"

    def test_handler_that_takes_too_long_has_the_status_that_sanic_answers(self) -> None:
        app = application(Site())
        app.config.RESPONSE_TIMEOUT = 0.1

        @app.get("/slow")
        async def slow(_request: Request) -> None:
            await asyncio.sleep(3600)

        with serving(app) as url:
            self._netloc = urlsplit(url).netloc
            assert self.get("/slow")[0] == 503
            assert self.recorder.take(SERVER, error="503").tags["http.route"] == "/slow"

    def test_web_socket_handshake_is_a_span_that_ends_with_it(self) -> None:
        """It continues the caller's trace; what the connection does later is below it."""
        app = application(Site())

        @app.websocket("/echo")
        async def echo(_request: Request, ws: Websocket) -> None:
            while await ws.recv():
                await ws.send(f"{current_span().span_id}")

        with serving(app) as url:
            client = simple_websocket.Client(url.replace("http", "ws") + "/echo", headers=B3)
            span = self.recorder.take(SERVER)
            client.send("hello")
            assert client.receive(timeout=10) == span.span_id
            client.close()
        assert (span.parent_id, span.tags["http.status_code"], span.name) == (SPAN_ID, "101", "GET /echo")

    def address(self, url: str | None = None) -> tuple[str, int]:
        host, _, port = (urlsplit(url).netloc if url else self._netloc).partition(":")
        return host, int(port)


class TestSanicAsgi(SanicContract):
    """Under uvicorn."""

    notices_clients = False

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return asgi_server(application(site), lifespan="on")
