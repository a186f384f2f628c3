"""aiohttp.web."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from obskit.instrumentation.response_flush import flush_responses
from obskit.testing.contract import B3, SPAN_ID, TRACE_ID
from obskit.testing.http_server_contract import SERVER, Site
from obskit.tracing.current import current_span
from tests.integrations.http_servers import RequestLogCases


def application(site: Site) -> web.Application:
    """Return an application that serves ``site``, and what is aiohttp's own."""

    async def item(request: web.Request) -> web.Response:
        await request.read()  # after a large body that nobody reads, aiohttp 3.10 serves no more on the connection
        text, status = site.item(request.match_info["name"])
        return web.Response(text=text, status=status)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        chunks = site.stream_async()
        try:
            async for chunk in chunks:
                await response.write(chunk)
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]
        return response

    app = web.Application()
    app.router.add_route("*", "/items/{name}", item)
    app.router.add_get("/stream", stream)
    return app


@contextmanager
def serving(make_runner: Callable[[], web.BaseRunner]) -> Iterator[str]:
    """Serve in an event loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[web.BaseRunner, str]:
        runner = make_runner()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, "http://{}:{}".format(*runner.addresses[0])

    runner, url = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def alone(handler: Any, **options: Any) -> AbstractContextManager[str]:
    """Serve every path with ``handler``, without an application."""
    return serving(lambda: web.ServerRunner(web.Server(handler, **options)))


class TestAiohttpWeb(RequestLogCases):
    """Patched."""

    integration = "aiohttp_web"
    client_gone = "the client left before the end of the response"

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return serving(lambda: web.AppRunner(application(site), access_log=None, max_field_size=2**17))

    def test_strange_method_has_a_plain_name(self) -> None:
        """aiohttp's parser refuses what it does not know, but it knows more than most."""
        with self.site():
            assert self.get("/items/same", method="PROPFIND") == (200, "same")
            assert self.recorder.take(SERVER).name == "HTTP /items/{name}"

    @pytest.mark.parametrize(("path", "route"), [("/v1/items/201", "/v1/items/{name}"), ("/files/x", "/files")])
    def test_route_of_a_sub_application_or_resource_is_whole(self, path: str, route: str, tmp_path: Path) -> None:
        """A sub-application's begins with its prefix; one of static files is their prefix."""
        (tmp_path / "x").write_text("hello")

        def serve(site: Site) -> AbstractContextManager[str]:
            app = web.Application()
            app.add_subapp("/v1/", application(site))
            app.router.add_static("/files", tmp_path)
            return serving(lambda: web.AppRunner(app))

        self.serve = serve  # type: ignore[method-assign]
        with self.site():
            assert self.get(path)[0] in (200, 201)
            assert self.recorder.take(SERVER).tags["http.route"] == route

    @pytest.mark.parametrize("repeated", ["X-B3-TraceId", "X-B3-SpanId"])
    def test_repeated_trace_headers_are_malformed_not_the_first_of_them(self, repeated: str) -> None:
        with self.site():
            self.get("/items/apple", *B3.items(), (repeated, SPAN_ID))
            span = self.recorder.take(SERVER)
        assert (span.trace_id != TRACE_ID, span.parent_id) == (True, None)

    def test_span_name_that_is_no_utf_8_can_be_written(self) -> None:
        async def handler(_request: web.Request) -> web.Response:
            return web.Response(text="hello")

        self.serve = lambda _site: alone(handler)  # type: ignore[method-assign]
        with self.site():
            assert self.get("/", ("X-Span-Name", "caf\xe9"))[0] == 200
        assert self.recorder.take(SERVER).name == "caf?"

    def test_exception_of_aiohttps_own_is_the_status_alone(self) -> None:
        """``raise web.HTTPConflict()`` is how handlers answer, and no failure of theirs."""

        async def handler(_request: web.Request) -> web.Response:
            raise web.HTTPConflict

        assert self.ask(handler) == 409
        assert self.recorder.take(SERVER, error="409").tags["error"] == "409"

    def test_exception_after_the_start_is_the_error_of_the_status_that_was_sent(self) -> None:
        async def handler(request: web.Request) -> web.StreamResponse:
            await web.StreamResponse(status=202).prepare(request)
            raise ValueError("too late")

        with pytest.raises(aiohttp.ClientPayloadError):
            self.ask(handler)
        assert self.recorder.take(SERVER, error="ValueError: too late").tags["http.status_code"] == "202"

    def test_time_out_of_a_handler_is_the_error(self) -> None:
        async def handler(_request: web.Request) -> web.Response:
            raise asyncio.TimeoutError

        assert self.ask(handler) == 504
        assert self.recorder.take(SERVER, error="TimeoutError").tags["http.status_code"] == "504"

    def test_lost_connection_of_the_handlers_own_is_an_error(self) -> None:
        """Unlike the client's."""

        async def handler(_request: web.Request) -> web.Response:
            raise ConnectionResetError("database")

        assert self.ask(handler) == 500
        self.recorder.take(SERVER, error="ConnectionResetError: database")

    def test_handler_that_is_cancelled_with_its_client_is_no_error(self) -> None:
        async def handler(_request: web.Request) -> web.Response:
            started.set()
            await asyncio.sleep(60)
            return web.Response()

        started = threading.Event()
        with alone(handler, handler_cancellation=True) as url:
            with socket.create_connection(address(url)) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert started.wait(10)
            span = self.recorder.take(SERVER)
        assert span.events[0][1] == "cancelled before the end of the response"

    def test_bytes_that_are_no_request_make_no_span(self) -> None:
        """Such as those of a TLS client; aiohttp answers them as ever."""
        with alone(web.View) as url, socket.create_connection(address(url)) as client:
            client.sendall(b"\x16\x03\x01\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.0 400")

    def test_web_socket_handshake_is_a_span_that_ends_with_it(self) -> None:
        """It continues the caller's trace; what the connection does later is below it."""

        async def echo(request: web.Request) -> web.WebSocketResponse:
            connection = web.WebSocketResponse()
            await connection.prepare(request)
            await connection.receive()
            await connection.send_str(f"{current_span().span_id}")
            return connection

        async def call(url: str) -> None:
            async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=B3) as connection:
                span = self.recorder.take(SERVER)
                await connection.send_str("hello")
                assert await connection.receive_str() == span.span_id
            assert (span.parent_id, span.tags["http.status_code"]) == (SPAN_ID, "101")

        with alone(echo) as url:
            asyncio.run(call(url))

    def test_pipelined_requests_are_traces_of_their_own(self) -> None:
        with self.site(), socket.create_connection(address(f"http://{self._netloc}")) as client:
            client.sendall(b"GET /items/same HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            spans = [self.recorder.take(SERVER) for _ in range(3)]
        assert len({span.trace_id for span in spans}) == 3
        assert [span.parent_id for span in spans] == [None] * 3

    def test_what_a_request_recorded_is_delivered_before_its_end(self) -> None:
        """With ``flush_responses``, for platforms that stop the CPU then."""
        delivered: list[str] = []

        def flush(_seconds: float) -> bool:
            delivered.append(self.recorder.take(SERVER).name)
            return True

        flush_responses(flush, 5)
        try:
            with self.site():
                assert self.get("/items/same") == (200, "same")
                assert delivered == ["GET /items/{name}"]
        finally:
            flush_responses(None)

    def ask(self, handler: Any) -> int:
        """Return the status of what ``handler`` answers to one request."""

        async def call(url: str) -> int:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                await response.read()
                return response.status

        with alone(handler) as url:
            return asyncio.run(call(url))
