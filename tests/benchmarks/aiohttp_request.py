"""What tracing adds to one request of a small aiohttp application, whose connection is handed bytes: no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from clocks import Block
from flask_request import PROXIED, SAMPLED, b3_headers, served
from sides import start_obskit, start_peer

_loop = asyncio.new_event_loop()
Connect = Callable[[], Any]
"""Makes the protocol of a connection."""


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what serves a block of requests, and checks that a span arrived for each (for none where unsampled)."""
    flush = start_obskit(f"{receiver}/obskit")
    peer = start_peer(f"{receiver}/opentelemetry")
    return served(_connections(peer), variant, receiver, flush, peer.force_flush, raw_request, serve_all)


def _connections(peer: Any) -> tuple[Connect, Connect, Connect]:
    """Return what accepts a connection for nobody's, our and the peer's application, of classes of their own."""
    from aiohttp import web
    from aiohttp.web_protocol import RequestHandler
    from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.aiohttp_web import install

    class Bare(RequestHandler): ...

    class Ours(RequestHandler): ...

    class Theirs(RequestHandler): ...

    class BareResponse(web.Response): ...

    class OurResponse(web.Response): ...

    class TheirResponse(web.Response): ...

    patches = Patches()
    install(SimpleNamespace(__name__="aiohttp.web_protocol", RequestHandler=Ours), patches)
    install(SimpleNamespace(__name__="aiohttp.web_response", StreamResponse=OurResponse), patches)
    bare, ours = _connection(web.Application(), Bare, BareResponse), _connection(web.Application(), Ours, OurResponse)
    AioHttpServerInstrumentor().instrument(tracer_provider=peer)  # it puts another class into aiohttp.web
    return bare, ours, _connection(web.Application(), Theirs, TheirResponse)


def _connection(app: Any, protocol: type, response: type) -> Connect:
    from aiohttp import web

    async def order(request: Any) -> Any:
        return response(text=f"order {request.match_info['order_id']}")

    app.router.add_get("/orders/{order_id}", order)
    runner = web.AppRunner(app, access_log=None)
    _loop.run_until_complete(runner.setup())
    return partial(protocol, runner.server, loop=_loop, access_log=None)


def raw_request(variant: str, number: int) -> bytes:
    """Return a request as it came through a proxy."""
    b3 = b3_headers("1" if variant == SAMPLED else "0")
    headers = PROXIED | {name.removeprefix("HTTP_").replace("_", "-"): value for name, value in b3.items()}
    lines = [f"GET /orders/{number}?expand=items HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "\r\n"]).encode()


class _Transport(asyncio.Transport):
    """A connection whose client has got what is written as soon as it is, as it is here in one piece."""

    answered: asyncio.Future[None]

    def __init__(self) -> None:
        super().__init__({"peername": ("10.1.2.3", 41234)})

    def write(self, data: Any) -> None:
        assert data.startswith(b"HTTP/1.1 200 OK"), data
        self.answered.set_result(None)

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def serve_all(connect: Connect, requests: list[bytes]) -> None:
    """Serve the requests of one connection, each after the answer to the one before."""
    _loop.run_until_complete(_serve_all(connect, requests))


async def _serve_all(connect: Connect, requests: list[bytes]) -> None:
    protocol, transport = connect(), _Transport()
    protocol.connection_made(transport)
    for request in requests:
        transport.answered = _loop.create_future()
        protocol.data_received(request)
        await transport.answered
    protocol.connection_lost(None)
