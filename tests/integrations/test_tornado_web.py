"""Tornado's server."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.routing import PathMatches, Rule, RuleRouter
from tornado.web import Application, Finish, HTTPError, RequestHandler, StaticFileHandler, stream_request_body
from tornado.websocket import WebSocketHandler, websocket_connect

from obskit.integrations.tornado_web import readable
from obskit.testing.contract import B3, SPAN_ID
from obskit.testing.http_server_contract import SERVER, Site
from obskit.tracing.current import current_span
from tests.integrations.http_servers import RequestLogCases


def application(site: Site, *rules: Any) -> Application:
    """Return an application that serves ``site``, and ``rules``."""

    class Item(RequestHandler):
        SUPPORTED_METHODS = (*RequestHandler.SUPPORTED_METHODS, "BREW")

        def get(self, name: str) -> None:
            text, status = site.item(name)
            self.set_status(status)
            self.finish(text)

        post = head = brew = get

    class Stream(RequestHandler):
        async def get(self) -> None:
            chunks = site.stream_async()
            try:
                async for chunk in chunks:
                    self.write(chunk)
                    await self.flush()
            finally:
                await chunks.aclose()  # type: ignore[attr-defined]

    return Application([(r"/items/(?P<name>[^/]+)", Item), (r"/stream", Stream), *rules], log_function=lambda _: None)


@contextmanager
def serving(app: Application | RuleRouter) -> Iterator[str]:
    """Serve in an event loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[HTTPServer, int]:
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        listening.setblocking(False)
        server = HTTPServer(app)
        server.add_sockets([listening])
        return server, listening.getsockname()[1]

    async def stop(server: HTTPServer) -> None:
        server.stop()
        await server.close_all_connections()

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class TestTornadoWeb(RequestLogCases):
    """Patched."""

    integration = "tornado_web"
    client_gone = "the client left before the end of the response"
    route = "/items/<name>"

    def serve(self, site: Site) -> Any:
        return serving(application(site))

    @pytest.mark.parametrize(
        ("path", "route"),
        [
            ("/files/x", "/files/(.*)"),
            ("/tenants/7/items/201", "/tenants/<tenant>/items/<name>"),
            ("/elsewhere", ""),
        ],
    )
    def test_route_is_the_rule_that_led_to_the_handler(self, path: str, route: str, tmp_path: Path) -> None:
        """Also of an application behind a router, and of one for some hosts only."""
        (tmp_path / "x").write_text("hello")

        class Other(RequestHandler):
            def get(self, **_: str) -> None:
                self.finish("hello")

        app = application(Site(), (r"/never", Other), (r"/files/(.*)", StaticFileHandler, {"path": tmp_path}))
        app.add_handlers(r"127\.0.*", [(r"/tenants/(?P<tenant>\d+)/items/(?P<name>(?:a|\w)+)", Other)])
        with serving(RuleRouter([Rule(PathMatches("/.*"), app)])) as url:
            self._netloc = urlsplit(url).netloc
            assert self.get(path)[0] == (200 if route else 404)
            assert self.recorder.take(SERVER, error=None if route else "404").tags.get("http.route", "") == route

    def test_answer_by_an_exception_is_the_status_alone(self) -> None:
        """``raise HTTPError(409)`` and ``raise Finish`` are how handlers answer, and no failure of theirs."""

        async def conflict(_handler: RequestHandler) -> None:
            raise HTTPError(409)

        async def done(handler: RequestHandler) -> None:
            handler.set_status(202)
            raise Finish

        assert self.ask(conflict) == 409
        assert self.recorder.take(SERVER, error="409").tags["error"] == "409"
        assert self.ask(done) == 202
        assert self.recorder.take(SERVER).tags["http.status_code"] == "202"

    def test_exception_after_the_start_is_the_error_of_the_status_that_was_sent(self) -> None:
        async def handle(handler: RequestHandler) -> None:
            handler.set_status(202)
            await handler.flush()
            raise ValueError("too late")

        assert self.ask(handle) == 202
        assert self.recorder.take(SERVER, error="ValueError: too late").tags["http.status_code"] == "202"

    def test_exception_after_the_response_changes_nothing(self) -> None:
        async def handle(handler: RequestHandler) -> None:
            await handler.finish("done")
            raise ValueError("too late")

        assert self.ask(handle) == 200
        self.recorder.take(SERVER)

    def test_not_modified_is_the_status(self) -> None:
        """Tornado decides it as it finishes."""

        async def handle(handler: RequestHandler) -> None:
            handler.request.headers["If-None-Match"] = "*"
            handler.write("same")

        assert self.ask(handle) == 304
        assert self.recorder.take(SERVER).tags["http.status_code"] == "304"

    def test_handler_that_finishes_later_ends_the_span_then(self) -> None:
        later: list[RequestHandler] = []

        async def handle(handler: RequestHandler) -> None:
            handler._auto_finish = False
            asyncio.get_running_loop().call_later(0.01, handler.finish)
            later.append(handler)

        assert self.ask(handle) == 200
        assert self.recorder.take(SERVER).tags["http.status_code"] == "200"

    def test_client_that_leaves_amid_its_request_gets_no_status(self) -> None:
        began = threading.Event()

        @stream_request_body
        class Upload(RequestHandler):
            def data_received(self, chunk: bytes) -> None:
                began.set()

            def post(self) -> None:
                raise NotImplementedError

        with serving(Application([("/", Upload)])) as url:
            self._netloc = urlsplit(url).netloc
            with socket.create_connection(self.address()) as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nfirst")
                assert began.wait(10)
            assert "http.status_code" not in self.recorder.take(SERVER).tags

    def test_web_socket_handshake_is_a_span_that_ends_with_it(self) -> None:
        """It continues the caller's trace; what the connection does later is below it."""

        class Echo(WebSocketHandler):
            async def on_message(self, message: str | bytes) -> None:
                await self.write_message(f"{current_span().span_id}")

        async def call(url: str) -> None:
            connection = await websocket_connect(HTTPRequest(url.replace("http", "ws"), headers=B3))
            span = self.recorder.take(SERVER)
            await connection.write_message("hello")
            assert await connection.read_message() == span.span_id
            assert (span.parent_id, span.tags["http.status_code"]) == (SPAN_ID, "101")
            connection.close()

        with serving(Application([("/", Echo)], log_function=lambda _: None)) as url:
            asyncio.run(call(url))

    def test_pipelined_requests_are_traces_of_their_own(self) -> None:
        with self.site(), socket.create_connection(self.address()) as client:
            client.sendall(b"GET /items/same HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            spans = [self.recorder.take(SERVER) for _ in range(3)]
        assert len({span.trace_id for span in spans}) == 3
        assert [span.parent_id for span in spans] == [None] * 3

    def address(self) -> tuple[str, int]:
        host, _, port = self._netloc.partition(":")
        return host, int(port)

    def ask(self, handle: Callable[[RequestHandler], Awaitable[None]]) -> int:
        """Return the status of what ``handle`` answers to one request."""

        class Handler(RequestHandler):
            async def get(self) -> None:
                await handle(self)

        with serving(Application([("/", Handler)], log_function=lambda _: None)) as url:
            self._netloc = urlsplit(url).netloc
            return self.get("/")[0]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"/orders/(?P<id>\d+)$", "/orders/<id>"),
        (r"^/(?P<a>[^/()]+)/(?P<b>(?:x|y)z)/(.*)", "/<a>/<b>/(.*)"),
        (r"/(?P<a>((deep)))", "/(?P<a>((deep)))"),
    ],
)
def test_patterns_are_shown_by_the_names_of_their_groups(pattern: str, text: str) -> None:
    """As far as one can tell where a group ends."""
    assert readable(pattern) == text
