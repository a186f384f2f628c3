"""A proxy, and a port that never answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from obskit.testing.servers import http_server

Asked = tuple[str, list[str]]
"""A request's first line, and the names of its headers in lower case."""


@contextmanager
def proxy(status: int = 200) -> Iterator[tuple[str, list[Asked]]]:
    """Run a proxy that answers CONNECT with ``status``; give its URL, and what it is asked.

    It is made of bare sockets, so that it is no instrumented client itself.
    """
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append((self.requestline, [name.lower() for name in self.headers]))
            self.send_response(status)
            self.end_headers()
            if status == 200:
                host, _, port = self.path.partition(":")
                self._pass_on(host, int(port), b"")

        def do_GET(self) -> None:
            asked.append((self.requestline, [name.lower() for name in self.headers]))
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
            """Log nothing."""

    with http_server(Handler) as url:
        yield url, asked


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
