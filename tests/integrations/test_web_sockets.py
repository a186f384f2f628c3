"""WebSockets of ASGI applications, over real sockets: the span is the handshake, and what follows is below it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import falcon.asgi
import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from quart import Quart
from quart import websocket as quart_websocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from obskit.integrations.asgi import ObskitMiddleware
from obskit.testing import recording
from obskit.testing.contract import B3, SPAN_ID, TRACE_ID, installed
from obskit.testing.http_server_contract import SERVER
from obskit.testing.servers import asgi_server
from obskit.tracing.current import current_span
from tests.installed import need

FRAMEWORKS = ("starlette", "falcon", "quart", "litestar")


def span_id() -> str:
    return current_span().span_id or ""


def plain() -> Any:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept"})
        assert (await receive())["text"] == "hello"
        await send({"type": "websocket.send", "text": span_id()})
        await send({"type": "websocket.close", "code": 1000})

    return ObskitMiddleware(app)


async def starlette_echo(socket: WebSocket) -> None:
    await socket.accept()
    assert await socket.receive_text() == "hello"
    await socket.send_text(span_id())
    await socket.close()


def starlette() -> Any:
    return Starlette(routes=[Mount("/v1", routes=[WebSocketRoute("/rooms/{name}", starlette_echo)])])


def fastapi() -> Any:
    app, router = FastAPI(), APIRouter(prefix="/v1")
    router.websocket("/rooms/{name}")(starlette_echo)
    app.include_router(router)
    return app


def falcon_asgi() -> Any:
    class Room:
        async def on_websocket(self, _request: Any, socket: Any, name: str) -> None:
            assert name == "a"
            await socket.accept()
            assert await socket.receive_text() == "hello"
            await socket.send_text(span_id())

    app = falcon.asgi.App()
    app.add_route("/v1/rooms/{name}", Room())
    return app


def quart() -> Any:
    app = Quart("rooms")

    @app.websocket("/v1/rooms/<name>")
    async def room(name: str) -> None:
        assert (name, await quart_websocket.receive()) == ("a", "hello")
        await quart_websocket.send(span_id())

    return app


def litestar() -> Any:
    need("litestar")
    from litestar import Litestar, WebSocket
    from litestar.handlers import websocket

    async def room(socket: Any) -> None:
        await socket.accept()
        assert await socket.receive_text() == "hello"
        await socket.send_text(span_id())
        await socket.close()

    room.__annotations__["socket"] = WebSocket
    return Litestar([websocket("/v1/rooms/{name:str}")(room)])


APPLICATIONS: dict[Callable[[], Any], str] = {
    plain: "GET",
    starlette: "GET /v1/rooms/{name}",
    fastapi: "GET /v1/rooms/{name}",
    falcon_asgi: "GET /v1/rooms/{name}",
    quart: "GET /v1/rooms/<name>",
    litestar: "GET /v1/rooms/{name}",
}


@pytest.mark.parametrize("make", APPLICATIONS)
def test_a_handshake_continues_the_callers_trace_and_ends_its_span(make: Callable[[], Any]) -> None:
    with (
        installed(FRAMEWORKS),
        recording() as recorder,
        asgi_server(make(), ws="wsproto") as url,
        connect(f"{url.replace('http', 'ws')}/v1/rooms/a", additional_headers=B3) as client,
    ):
        span = recorder.take(SERVER)
        client.send("hello")
        assert client.recv(10) == span.span_id
    assert (span.trace_id, span.parent_id, span.name) == (TRACE_ID, SPAN_ID, APPLICATIONS[make])
    assert (span.tags["http.status_code"], span.tags["http.path"]) == ("101", "/v1/rooms/a")


async def close_at_once(socket: WebSocket) -> None:
    await socket.close()


async def deny(socket: WebSocket) -> None:
    await socket.send_denial_response(PlainTextResponse("full", 409))


async def fail(_socket: WebSocket) -> None:
    raise LookupError("no such room")


@pytest.mark.parametrize(
    ("endpoint", "status", "error"),
    [(close_at_once, "403", "403"), (deny, "409", "409"), (fail, "500", "no such room")],
)
def test_a_refused_handshake_has_the_status_that_the_client_gets(endpoint: Any, status: str, error: str) -> None:
    app = Starlette(routes=[WebSocketRoute("/", endpoint)])
    with installed(FRAMEWORKS), recording() as recorder, asgi_server(app, ws="wsproto") as url:
        with pytest.raises((InvalidStatus, ConnectionError)):  # an older server just hangs up on an exception
            connect(url.replace("http", "ws"), additional_headers=B3)
        span = recorder.take(SERVER, error=error)
    assert span.tags["http.status_code"] == status


@pytest.mark.parametrize("error", [LookupError("later"), asyncio.CancelledError("later")])
def test_what_a_handler_raises_after_the_handshake_reaches_the_server_and_no_span(error: BaseException) -> None:
    messages: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        raise error

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {"type": "websocket", "path": "/", "headers": []}
    with recording() as recorder:
        with pytest.raises(type(error)):
            asyncio.run(ObskitMiddleware(app)(scope, None, send))
        assert not recorder.take(SERVER).events
    assert messages == [{"type": "websocket.accept"}]


def test_two_layers_make_one_span() -> None:
    with (
        installed(FRAMEWORKS),
        recording() as recorder,
        asgi_server(ObskitMiddleware(starlette()), ws="wsproto") as url,
        connect(f"{url.replace('http', 'ws')}/v1/rooms/a"),
    ):
        assert recorder.take(SERVER).name == "GET /v1/rooms/{name}"
