"""More cases for clients of any kind, and the servers they need: TLS with our own certificate, and a proxy."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from obskit.instrumentation.client import Hosts, propagate_to
from obskit.propagation.mesh import MESH_KEY
from obskit.testing import HttpClientContract
from obskit.testing.http_client_contract import Upstream, upstream_handler
from obskit.testing.servers import http_server
from obskit.tracing.current import attach, current_span, detach, get_context

CLIENT = SpanKind.CLIENT
CERTIFICATE = str(Path(__file__).parent.parent / "data" / "localhost.pem")


@contextmanager
def tls_upstream() -> Iterator[tuple[Upstream, str]]:
    """Give an HTTPS server whose certificate is CERTIFICATE, and its URL."""
    upstream = Upstream()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), upstream_handler(upstream))
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients that refuse the certificate
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield upstream, f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def proxy(heads: list[tuple[str, list[str]]], status: int = 200) -> Iterator[str]:
    """Run a proxy made of bare sockets, so that it is no instrumented client itself; note what it was asked.

    It answers CONNECT with ``status``.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            heads.append((self.requestline, [name.lower() for name in self.headers]))
            self.send_response(status)
            self.end_headers()
            if status == 200:
                host, _, port = self.path.partition(":")
                self._pass_on(host, int(port), b"")

        def do_GET(self) -> None:
            heads.append((self.requestline, [name.lower() for name in self.headers]))
            netloc, _, path = self.path.removeprefix("http://").partition("/")
            host, _, port = netloc.rpartition("@")[2].partition(":")
            lines = [f"GET /{path} HTTP/1.1", "Connection: close", *(f"{k}: {v}" for k, v in self._end_to_end())]
            self._pass_on(host, int(port), ("\r\n".join(lines) + "\r\n\r\n").encode())
            self.close_connection = True

        def _end_to_end(self) -> list[tuple[str, str]]:
            return [(name, value) for name, value in self.headers.items() if "connection" not in name.lower()]

        def _pass_on(self, host: str, port: int, first: bytes) -> None:
            with socket.create_connection((host, port), 10) as server:
                server.sendall(first)
                back = threading.Thread(target=_pump, args=(server, self.connection), daemon=True)
                back.start()
                _pump(self.connection, server)
                back.join(10)

        def log_message(self, *_: object) -> None:
            pass

    with http_server(Handler) as url:
        yield url


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def full_backlog() -> Iterator[str]:
    """Give the URL of a port where connecting takes forever."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/a"
        finally:
            for one in waiting:
                one.close()


TOLD = {"b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-request-id"}


@contextmanager
def only_to(*hosts: str) -> Iterator[None]:
    """Have only ``hosts`` told of traces."""
    propagate_to(Hosts(hosts))
    try:
        yield
    finally:
        propagate_to(None)


@contextmanager
def serving_a_meshed_request() -> Iterator[None]:
    """Be within a request that came through a service mesh."""
    token = attach(Context({**get_context(), MESH_KEY: {"x-request-id": "7"}}))
    try:
        yield
    finally:
        detach(token)


@contextmanager
def redirecting(upstream: Upstream, location: str) -> Iterator[str]:
    """Run a server that answers ``/redirect`` with ``location``."""
    handler = upstream_handler(upstream)
    with http_server(
        type("Away", (handler,), {"_send_redirect": lambda self: self._answer(302, b"", Location=location)})
    ) as url:
        yield url


class ClientCases(HttpClientContract):
    """Further tests for a client; subclass with ``request`` and ``drop`` besides what the contract asks for."""

    timeout_error: ClassVar[type[BaseException]]
    closes_when_dropped: ClassVar[bool] = True

    def request(
        self, method: str, url: str, *, body: bytes | None = None, timeout: float = 10, via: str | None = None
    ) -> bytes:
        """Make a request, trusting CERTIFICATE, through the proxy ``via`` if there is one; return the body."""
        raise NotImplementedError

    def drop(self, url: str) -> None:
        """GET ``url`` and forget the response, and all that belongs to it, without reading or closing it."""
        raise NotImplementedError

    def request_twice(self, url: str) -> None:
        """GET ``url`` twice, over one connection."""
        raise NotImplementedError

    def test_head_has_no_body_to_wait_for(self) -> None:
        with self.upstream():
            assert self.request("HEAD", self._url + "/a") == b""
            assert self.recorder.take(CLIENT).name == "HEAD"

    def test_body_of_the_request_arrives(self) -> None:
        with self.upstream() as upstream:
            assert self.request("POST", self._url + "/a", body=b"sent") == b"hello"
            assert self.recorder.take(CLIENT).tags["http.method"] == "POST"
        assert upstream.bodies == [b"sent"]

    @pytest.mark.parametrize(("path", "body"), [("/chunked", b"firstafter"), ("/a", b"hello")])
    def test_body_of_the_response_is_unchanged(self, path: str, body: bytes) -> None:
        with self.upstream():
            assert self.request("GET", self._url + path) == body
            self.recorder.take(CLIENT)

    def test_connection_is_kept_alive(self) -> None:
        with self.upstream() as upstream:
            self.request_twice(self._url + "/a")
            first, second = self.recorder.take(CLIENT), self.recorder.take(CLIENT)
        assert len(upstream.connections) == 1
        assert [headers["x-b3-spanid"] for _, headers in upstream.received] == [first.span_id, second.span_id]

    def test_time_out_while_connecting_is_the_librarys_own(self) -> None:
        with full_backlog() as url, pytest.raises(self.timeout_error):
            self.request("GET", url, timeout=0.05)
        self.recorder.take(CLIENT, error="")

    def test_time_out_while_waiting_is_the_librarys_own(self) -> None:
        with self.upstream() as upstream:
            with pytest.raises(self.timeout_error):
                self.request("GET", self._url + "/silence", timeout=0.05)
            self.recorder.take(CLIENT, error="")
            upstream.go_on.set()

    def test_https_is_traced(self) -> None:
        with tls_upstream() as (upstream, url):
            assert self.request("GET", url + "/a?q=1") == b"hello"
            span = self.recorder.take(CLIENT)
        assert span.tags["http.url"] == url + "/a"
        assert upstream.headers()["x-b3-spanid"] == span.span_id

    def test_untrusted_certificate_is_an_error(self) -> None:
        """The certificate is not for this name."""
        with tls_upstream() as (_, url), pytest.raises(self.connection_error):
            self.request("GET", url.replace("localhost", "127.0.0.2") + "/a")
        self.recorder.take(CLIENT, error="")

    def test_forwarding_proxy_sees_one_traced_request(self) -> None:
        heads: list[tuple[str, list[str]]] = []
        with self.upstream() as upstream, proxy(heads) as via:
            assert self.request("GET", self._url + "/a", via=via) == b"hello"
            span = self.recorder.take(CLIENT)
        assert span.tags["http.url"] == self._url + "/a"
        assert upstream.headers()["x-b3-spanid"] == span.span_id
        assert [line for line, _ in heads] == [f"GET {self._url}/a HTTP/1.1"]

    def test_tunnel_is_neither_traced_nor_told(self) -> None:
        """CONNECT gets no trace headers and no span; the request inside it has both."""
        heads: list[tuple[str, list[str]]] = []
        with tls_upstream() as (upstream, url), proxy(heads) as via:
            assert self.request("GET", url + "/a", via=via) == b"hello"
            span = self.recorder.take(CLIENT)
        assert span.tags["http.url"] == url + "/a"
        assert upstream.headers()["x-b3-spanid"] == span.span_id
        [(line, names)] = heads
        assert line.startswith("CONNECT localhost:")
        assert not [name for name in names if name.startswith("x-b3")]

    def test_refused_tunnel_is_an_error(self) -> None:
        heads: list[tuple[str, list[str]]] = []
        with proxy(heads, 403) as via, pytest.raises(self.connection_error):
            self.request("GET", "https://localhost:1/a", via=via)
        self.recorder.take(CLIENT, error="403", timeout=1)  # it has ended, if there is one

    def test_dropped_response_ends_the_span_and_the_connection_as_ever(self) -> None:
        """With the same warnings, and without a garbage collection if that is how it is without us."""
        traced = self._drop()
        self.recorder.take(CLIENT)
        self.uninstall()
        assert self._drop() == traced

    def _drop(self) -> list[type[Warning]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what earlier tests left: old http.client does not close refused tunnels
            gc.collect()
        with self.upstream() as upstream, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gc.disable()
            try:
                self.drop(self._url + "/watched")
                assert upstream.client_left.wait(10 * self.closes_when_dropped) == self.closes_when_dropped
            finally:
                gc.enable()
            gc.collect()
            assert upstream.client_left.wait(10)
        return [warning.category for warning in caught]

    def test_a_host_off_the_list_is_called_in_a_span_and_told_nothing(self) -> None:
        with self.upstream() as upstream, only_to("127.0.0.1"), serving_a_meshed_request():
            assert self.request("GET", self._url.replace("127.0.0.1", "localhost") + "/a") == b"hello"
            self.recorder.take(CLIENT)
            assert not TOLD & upstream.headers().keys()
            assert self.request("GET", self._url + "/a") == b"hello"
            assert upstream.headers()["x-b3-spanid"] == self.recorder.take(CLIENT).span_id
            assert upstream.headers()["x-request-id"] == "7"

    def test_each_hop_of_a_redirect_is_decided_by_its_own_host(self) -> None:
        """Clients copy the headers of one request to the next."""
        here = Upstream()
        with self.upstream() as there, only_to("127.0.0.1"), serving_a_meshed_request():
            away = self._url.replace("127.0.0.1", "localhost") + "/a"
            with redirecting(here, away) as url:
                assert self.get(url + "/redirect", {}) == 200
            first, second = self.recorder.take(CLIENT), self.recorder.take(CLIENT)
        assert here.headers()["x-b3-spanid"] == first.span_id
        assert second.tags["http.url"] == away
        assert not TOLD & there.headers().keys()

    def test_headers_of_the_callers_own_reach_a_host_off_the_list(self) -> None:
        """But for those of a trace."""
        with self.upstream() as upstream, only_to("orders"), serving_a_meshed_request():
            self.get(self._url + "/a", {"X-Request-Id": "mine", "X-B3-TraceId": "1" * 16, "Accept": "text/x"})
            self.recorder.take(CLIENT)
        found = upstream.headers()
        assert (found["x-request-id"], found["accept"], "x-b3-traceid" in found) == ("mine", "text/x", False)

    def test_nothing_is_current_while_a_body_is_read(self) -> None:
        with self.upstream() as upstream, self.stream(self._url + "/stream") as chunks:
            for _ in chunks:
                assert current_span().span_id is None
                upstream.go_on.set()
        self.recorder.take(CLIENT)


def host_and_port(url: str) -> tuple[str, int]:
    """Return the address in a proxy's URL."""
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def tls_context() -> Any:
    """Return a client's context that trusts CERTIFICATE."""
    return ssl.create_default_context(cafile=CERTIFICATE)


class AsyncClientCases(ClientCases):
    """Those of asynchronous clients: ``read`` yields the body of a GET in chunks of five bytes."""

    def read(self, url: str) -> AsyncIterator[bytes]:
        raise NotImplementedError

    @pytest.mark.parametrize("path", ["/silence", "/stream"])
    def test_cancelled_call_ends_the_span(self, path: str) -> None:
        """Waiting for the response, and in the middle of its body."""
        with self.upstream() as upstream:
            with pytest.raises(asyncio.CancelledError):
                asyncio.run(self._cancel(self._url + path, upstream))
            self.recorder.take(CLIENT, error="CancelledError")
            upstream.go_on.set()

    async def _cancel(self, url: str, upstream: Upstream) -> None:
        async def call() -> None:
            async for _ in self.read(url):
                reading.set()

        reading = asyncio.Event()
        task = asyncio.create_task(call())
        await (reading.wait() if url.endswith("/stream") else asyncio.to_thread(upstream.asked.wait, 10))
        task.cancel()
        await task
