"""Real servers on real sockets, for contract tests: each a context manager that gives its base URL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class _ThreadingWsgiServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@contextmanager
def wsgi_server(application: Any) -> Iterator[str]:
    """Serve a WSGI application, one thread a request."""
    server = make_server("127.0.0.1", 0, application, _ThreadingWsgiServer, _QuietHandler)
    with _running(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def asgi_server(application: Any) -> Iterator[str]:
    """Serve an ASGI application with uvicorn."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(application, port=0, log_config=None, lifespan="off", ws="none"))
    started = threading.Event()
    startup = server.startup

    async def startup_then_tell(*args: Any, **kwargs: Any) -> None:
        await startup(*args, **kwargs)
        started.set()

    server.startup = startup_then_tell  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        assert started.wait(10), "uvicorn did not start"
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve with a handler class of ``http.server``, one thread a connection."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    with _running(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def _running(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
