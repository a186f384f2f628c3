"""The handlers of http.server."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from werkzeug.serving import make_server

from obskit.testing import recording
from obskit.testing.contract import B3, SPAN_ID, installed
from obskit.testing.http_server_contract import SERVER, Site
from obskit.testing.servers import http_server, wsgi_server
from obskit.tracing.current import current_span
from tests.integrations.http_servers import RequestLogCases


class Quiet(BaseHTTPRequestHandler):
    """What the handlers of these tests share."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, text: str) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode() if self.command != "HEAD" else b"")

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


def handler_of(site: Site) -> type[BaseHTTPRequestHandler]:
    """Return a handler that serves ``site``, and answers what it raises by 500."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            try:
                self.route(self.path.partition("?")[0])
            except ConnectionError:
                raise
            except Exception:
                self.send_error(500)

        do_POST = do_HEAD = do_GET

        def route(self, path: str) -> None:
            if path == "/stream":
                self.stream()
            elif path.startswith("/items/"):
                text, status = site.item(path.removeprefix("/items/"))
                self.answer(status, text)
            else:
                self.answer(404, "")

        def stream(self) -> None:
            chunks = site.stream()
            try:
                first = next(chunks)
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(first)
                for chunk in chunks:
                    self.wfile.write(chunk)
            finally:
                chunks.close()  # type: ignore[attr-defined]

    return Handler


class TestHttpServer(RequestLogCases):
    """Patched."""

    integration = "http_server"
    client_gone = "the client left before the end of the response"
    route = None  # a handler compares paths as it likes

    def serve(self, site: Site) -> AbstractContextManager[str]:
        return http_server(handler_of(site))

    def test_exception_that_nothing_answers_has_no_status(self) -> None:
        """The server closes the connection: the client got nothing, though a head was begun."""

        def handle(handler: Quiet) -> None:
            handler.send_response(200)
            raise ValueError("no such luck")

        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            self.ask(handle)
        assert "http.status_code" not in self.recorder.take(SERVER, error="ValueError: no such luck").tags

    def test_connection_that_the_handler_lost_elsewhere_is_its_error(self) -> None:
        def handle(_handler: Quiet) -> None:
            raise ConnectionResetError("the database is gone")

        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            self.ask(handle)
        self.recorder.take(SERVER, error="ConnectionResetError: the database is gone")

    def test_time_that_ran_out_is_the_error(self) -> None:
        """``handle_one_request`` logs it and raises nothing."""

        def handle(_handler: Quiet) -> None:
            raise TimeoutError("too slow")

        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            self.ask(handle)
        self.recorder.take(SERVER, error="TimeoutError: too slow")

    def test_method_that_has_no_handler_is_an_error_status(self) -> None:
        with self.site():
            assert self.get("/items/apple", method="PATCH")[0] == 501
            assert self.recorder.take(SERVER, error="501").name == "PATCH"

    def test_web_socket_handshake_is_a_span_that_ends_with_it(self) -> None:
        """It continues the caller's trace; what the connection does later is below it."""
        go_on = threading.Event()
        current: list[str | None] = []

        def handle(handler: Quiet) -> None:
            handler.send_response(101)
            handler.end_headers()
            assert go_on.wait(10)
            current.append(current_span().span_id)

        with http_server(handler_that(handle)) as url:
            self._netloc = urlsplit(url).netloc
            with socket.create_connection(self.address()) as client:
                lines = [f"{name}: {value}" for name, value in B3.items()]
                client.sendall("\r\n".join(["GET / HTTP/1.1", *lines, "\r\n"]).encode())
                span = self.recorder.take(SERVER)
                go_on.set()
                while client.recv(1000):  # until the handler is done
                    pass
        assert (span.parent_id, span.tags["http.status_code"], current) == (SPAN_ID, "101", [span.span_id])

    def test_path_of_a_request_to_a_proxy_has_no_host(self) -> None:
        with self.site(), socket.create_connection(self.address()) as client:
            client.sendall(b"GET http://user:secret@elsewhere/items/a%20b?c HTTP/1.0\r\n\r\n")
            assert self.recorder.take(SERVER, error="404").tags["http.path"] == "/items/a b"

    def address(self) -> tuple[str, int]:
        host, _, port = self._netloc.partition(":")
        return host, int(port)

    def ask(self, handle: Callable[[Quiet], None]) -> None:
        """Send a request that ``handle`` serves."""
        with http_server(handler_that(handle)) as url:
            self._netloc = urlsplit(url).netloc
            self.get("/")


def handler_that(handle: Callable[[Quiet], None]) -> type[BaseHTTPRequestHandler]:
    """Return a handler whose requests ``handle`` serves."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.close_connection = True
            handle(self)

    return Handler


class TestHttpServerInFrontOfWsgi:
    """Servers for WSGI applications are made of these handlers, too: the application's layer has the span."""

    def test_one_request_makes_one_span(self) -> None:
        """With werkzeug's development server, which Flask's is, and with wsgiref's."""
        app = Flask("app")
        app.get("/items/<name>")(lambda name: name)
        with recording() as recorder, installed(("http_server", "wsgiref", "flask")):
            with werkzeug_server(app) as port:
                ask(port)
                assert recorder.take(SERVER).name == "GET /items/<name>"
            with wsgi_server(app) as url:
                ask(urlsplit(url).port)
                assert recorder.take(SERVER).name == "GET /items/<name>"
            recorder.assert_empty()


def ask(port: int | None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/items/apple")
    assert connection.getresponse().read() == b"apple"
    connection.close()


@contextmanager
def werkzeug_server(app: Flask) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join(10)
