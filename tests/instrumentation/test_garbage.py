"""What served a request is freed with the request, and waits for no garbage collection."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from obskit.instrumentation import asgi, wsgi
from obskit.instrumentation.current_exchange import current_exchange
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.testing import recording

Look = Callable[[], None]


def _by_wsgi(look: Look) -> None:
    def application(_environ: Any, start_response: Any) -> list[bytes]:
        look()
        start_response("200 OK", [])
        return [b"text"]

    body: Any = wsgi.serve(application, {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: print)
    assert list(body) == [b"text"]
    getattr(body, "close", lambda: None)()


def _by_asgi(look: Look) -> None:
    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        look()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"text"})

    async def send(_message: Any) -> None:
        await asyncio.sleep(0)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(asgi.serve(application, scope, send, send))


@pytest.mark.parametrize("serve", [_by_wsgi, _by_asgi], ids=["wsgi", "asgi"])
def test_a_request_leaves_no_cycle_behind(serve: Callable[[Look], None]) -> None:
    seen: list[weakref.ref[ServerExchange]] = []

    def look() -> None:
        exchange = current_exchange()
        assert exchange is not None
        seen.append(weakref.ref(exchange))

    gc.disable()
    try:
        with recording() as spans:
            contextvars.copy_context().run(serve, look)  # which keeps the latest exchange, for its line in a log
            spans.take()
        assert [one() for one in seen] == [None]
    finally:
        gc.enable()
