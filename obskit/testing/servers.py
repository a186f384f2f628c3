"""Real servers on real sockets, for contract tests: context managers that yield the base URL."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Literal
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

if TYPE_CHECKING:
    import uvicorn


_BACKLOG = 128  # with the default of 5, some of many simultaneous clients wait a second for their retry


class _ThreadingWsgiServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = _BACKLOG


class _ThreadingHttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = _BACKLOG


class _QuietHandler(WSGIRequestHandler):
    def handle(self) -> None:
        """Serve a request and read all of it: closing with unread input would reset the connection."""
        super().handle()
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            while self.connection.recv(65536):
                pass
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def wsgi_server(application: Any) -> Iterator[str]:
    """Serve a WSGI application, a thread for each request."""
    server = make_server("127.0.0.1", 0, application, _ThreadingWsgiServer, _QuietHandler)
    with _running(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def asgi_server(
    application: Any, http: str = "h11", lifespan: Literal["on", "off"] = "off", ws: str = "none"
) -> Iterator[str]:
    """Serve an ASGI application with uvicorn; ``http`` is its HTTP parser, ``ws`` its implementation of WebSocket."""
    import uvicorn

    config = uvicorn.Config(application, port=0, log_config=None, lifespan=lifespan, ws=ws, http=http)
    server = uvicorn.Server(config)
    running: Future[asyncio.AbstractEventLoop] = Future()
    told = asyncio.Event()

    async def serve_until_told() -> None:
        await server.on_tick(0)  # sets the default headers
        running.set_result(asyncio.get_running_loop())
        await told.wait()

    server.main_loop = serve_until_told  # type: ignore[method-assign]
    server.shutdown = functools.partial(_shut_down, server)  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    loop = running.result(10)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(told.set)
        thread.join(10)


async def _shut_down(server: uvicorn.Server, sockets: object = None) -> None:  # noqa: ARG001 - as uvicorn calls it
    """Shut down as uvicorn does, but poll every millisecond, not every tenth of a second."""
    for listening in server.servers:
        listening.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.001)
    await server.lifespan.shutdown()


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve with a handler class of ``http.server``, a thread for each connection."""
    server = _ThreadingHttpServer(("127.0.0.1", 0), handler)
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
