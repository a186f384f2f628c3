"""What tracing adds to one request of a small FastAPI application, called as an ASGI server calls it: no sockets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from clocks import Block
from flask_request import PROXIED, SAMPLED, b3_headers, served
from sides import start_obskit, start_peer

_PEER_SPANS = 3  # it has one for each ASGI message of the response, too


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what serves a block of requests, and checks that a span arrived for each (for none where unsampled)."""
    flush = start_obskit(f"{receiver}/obskit")
    peer = start_peer(f"{receiver}/opentelemetry")
    applications = _applications(peer)
    return served(applications, variant, receiver, flush, peer.force_flush, scope, serve_all, _PEER_SPANS)


def _applications(peer: Any) -> tuple[Any, Any, Any]:
    """Return three applications of the same code, of classes of their own, as in ``flask_request``."""
    from fastapi import FastAPI
    from fastapi.routing import APIRoute
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from starlette.routing import Mount, WebSocketRoute

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.starlette import install

    class Bare(FastAPI): ...

    class Ours(FastAPI): ...

    class Theirs(FastAPI): ...

    class OurRoute(APIRoute): ...

    class OurMount(Mount): ...

    class OurWebSocketRoute(WebSocketRoute): ...

    patches, routes = Patches(), {"Route": OurRoute, "WebSocketRoute": OurWebSocketRoute, "Mount": OurMount}
    install(SimpleNamespace(__name__="starlette.applications", Starlette=Ours), patches)
    install(SimpleNamespace(__name__="starlette.routing", **routes), patches)
    bare, ours, theirs = _application(Bare), _application(Ours, OurRoute), _application(Theirs)
    FastAPIInstrumentor.instrument_app(theirs, tracer_provider=peer)
    return bare, ours, theirs


def _application(fastapi: type, route: type | None = None) -> Any:
    app = fastapi(telemetry={"tracing": False})  # FastAPI's own spans, which obskit switches off, too
    app.router.route_class = route or app.router.route_class

    @app.get("/orders/{order_id}")
    async def order(order_id: int) -> str:
        return f"order {order_id}"

    return app


def scope(variant: str, number: int) -> dict[str, Any]:
    """Return what uvicorn passes for a request that came through a proxy."""
    headers = {name.lower(): value for name, value in PROXIED.items()}
    b3 = b3_headers("1" if variant == SAMPLED else "0")
    headers |= {name.removeprefix("HTTP_").replace("_", "-").lower(): value for name, value in b3.items()}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("10.1.2.3", 41234),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": f"/orders/{number}",
        "raw_path": f"/orders/{number}".encode(),
        "query_string": b"expand=items",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "state": {},
    }


def serve_all(app: Any, scopes: list[dict[str, Any]]) -> None:
    """Serve each request to its last message."""
    asyncio.run(_serve_all(app, scopes))


async def _serve_all(app: Any, scopes: list[dict[str, Any]]) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200, message

    for values in scopes:
        await app(values, receive, send)
