"""The server that the contract's requests go to. It notes what it receives."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from obskit.testing.servers import http_server


class Upstream:
    """What the test's server received, and how it is to answer.

    ``location`` is where ``/redirect`` leads, ``busy`` how often ``/busy`` is still to answer 503. ``go_on`` lets the
    server send the rest of a streamed body.
    """

    def __init__(self) -> None:
        self.location = "/landed"
        self.busy = 0
        self.received: list[tuple[str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.connections: set[tuple[str, int]] = set()
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.client_left = threading.Event()

    def headers(self) -> dict[str, str]:
        """Return the last request's headers, by lower-case name; repeated ones joined by a comma."""
        return self.received[-1][1]


class _UpstreamHandler(BaseHTTPRequestHandler):
    upstream: Upstream
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._receive()
        kind = self.path.split("?")[0].rsplit("/", 1)[-1]
        special = getattr(self, f"_send_{kind}", None)
        if special is not None:
            special()
        elif len(kind) == len("404") and kind.isdecimal():
            self._answer(int(kind), b"" if kind in ("204", "304") else b"hello")
        else:
            self._answer(200, b"hello")

    do_HEAD = do_POST = do_GET

    def _receive(self) -> None:
        joined = {name.lower(): ",".join(self.headers.get_all(name, [])) for name in self.headers}
        self.upstream.received.append((self.path, joined))
        self.upstream.connections.add(self.client_address)
        self.upstream.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        self.upstream.asked.set()

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def _send_redirect(self) -> None:
        self._answer(302, b"", Location=self.upstream.location)

    def _send_busy(self) -> None:
        self.upstream.busy -= 1
        self._answer(200 if self.upstream.busy < 0 else 503, b"hello")

    def _send_stream(self) -> None:
        self._answer(200, b"first", Content_Length="10")
        assert self.upstream.go_on.wait(10)
        self.wfile.write(b"after")

    def _send_short(self) -> None:
        self._answer(200, b"first", Content_Length="10")
        self.close_connection = True

    def _send_broken(self) -> None:
        self._send_chunks(b"5\r\nfirst\r\n")
        self.close_connection = True

    def _send_chunked(self) -> None:
        self._send_chunks(b"5\r\nfirst\r\n5\r\nafter\r\n0\r\n\r\n")

    def _send_chunks(self, chunks: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(chunks)

    def _send_gzip(self) -> None:
        self._answer(200, gzip.compress(b"hello"), Content_Encoding="gzip")

    def _send_silence(self) -> None:
        self.upstream.go_on.wait(10)
        self.close_connection = True

    def _send_watched(self) -> None:
        self._answer(200, b"first", Content_Length="10")
        try:
            if self.connection.recv(1) == b"":
                self.upstream.client_left.set()
        except ConnectionError:
            self.upstream.client_left.set()
        self.close_connection = True

    def handle(self) -> None:
        """Serve a connection; clients in these tests may disconnect at any time."""
        try:
            super().handle()
        except ConnectionError:
            pass

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def upstream_handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    """Return a handler that answers by the last part of the path: ``/stream``, ``/404``, ``/anything``."""
    return type("UpstreamHandler", (_UpstreamHandler,), {"upstream": upstream})


@contextmanager
def running() -> Iterator[tuple[Upstream, str]]:
    """Run the server; give what it receives, and its URL."""
    upstream = Upstream()
    with http_server(upstream_handler(upstream)) as url:
        try:
            yield upstream, url
        finally:
            upstream.go_on.set()
