"""What tracing adds to one request of a small Tornado application, called as Tornado's server calls it: no sockets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from clocks import Block
from flask_request import PROXIED, SAMPLED, b3_headers, served
from sides import start_obskit, start_peer

_loop = asyncio.new_event_loop()


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what serves a block of requests, and checks that a span arrived for each (for none where unsampled)."""
    flush = start_obskit(f"{receiver}/obskit")
    peer = start_peer(f"{receiver}/opentelemetry")
    return served(_applications(peer), variant, receiver, flush, peer.force_flush, headers, serve_all)


def _applications(peer: Any) -> tuple[Any, Any, Any]:
    """Return three applications of the same code, with handlers of classes of their own, as in ``flask_request``."""
    from opentelemetry.instrumentation.tornado import TornadoInstrumentor
    from tornado.web import RequestHandler

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.tornado_web import install

    class Bare(RequestHandler): ...

    class Ours(RequestHandler): ...

    class Theirs(RequestHandler): ...

    install(SimpleNamespace(RequestHandler=Ours), Patches())
    make = RequestHandler.__init__
    TornadoInstrumentor().instrument(tracer_provider=peer)
    Theirs.__init__, RequestHandler.__init__ = RequestHandler.__init__, make  # type: ignore[method-assign]
    return _application(Bare), _application(Ours), _application(Theirs)


def _application(kind: Any) -> Any:
    from tornado.web import Application

    class Order(kind):  # type: ignore[misc]
        def get(self, order_id: str) -> None:
            self.write(f"order {order_id}")

    return Application([(r"/orders/(?P<order_id>\d+)", Order)], log_function=lambda _: None)


def headers(variant: str, number: int) -> tuple[str, dict[str, str]]:
    """Return path and headers of a request that came through a proxy."""
    b3 = b3_headers("1" if variant == SAMPLED else "0")
    named = {name.removeprefix("HTTP_").replace("_", "-").title(): value for name, value in b3.items()}
    return f"/orders/{number}", PROXIED | named


class _Connection:
    """What Tornado's server gives with a request, whose client has got what is written as soon as it is."""

    context = SimpleNamespace(remote_ip="10.1.2.3", protocol="http", address=("10.1.2.3", 41234))

    def __init__(self) -> None:
        self.answered = _loop.create_future()

    def set_close_callback(self, callback: Any) -> None: ...

    def write_headers(self, start_line: Any, headers: Any, chunk: Any = None) -> asyncio.Future[None]:
        assert start_line.code == 200, start_line
        return self.answered

    def finish(self) -> None:
        self.answered.set_result(None)


def serve_all(app: Any, requests: list[tuple[str, dict[str, str]]]) -> None:
    """Serve each request until its answer is finished."""
    _loop.run_until_complete(_serve_all(app, requests))


async def _serve_all(app: Any, requests: list[tuple[str, dict[str, str]]]) -> None:
    from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

    for path, values in requests:
        connection = _Connection()
        line = RequestStartLine("GET", f"{path}?expand=items", "HTTP/1.1")
        app(HTTPServerRequest(connection=connection, start_line=line, headers=HTTPHeaders(values)))
        await connection.answered
