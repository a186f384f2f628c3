"""The same as ``client_call`` of asynchronous clients: calls one after the other, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import client_call
from clocks import Block
from in_memory import TEXT, TornadoNetwork, aiohttp_connector, httpx_async_transport, new_url

AIOHTTP, HTTPX, TORNADO = "aiohttp", "httpx, asynchronous", "Tornado"

Get = Callable[[str], Awaitable[str]]
"""GETs a URL and returns the text."""


def prepare(variant: str, receiver: str) -> dict[str, Block]:
    """Return what makes a block of calls, and checks that a span arrived for each."""
    loop = asyncio.new_event_loop()
    sides = {AIOHTTP: _aiohttp, HTTPX: _httpx, TORNADO: _tornado}[variant]

    async def call_all(get: Get) -> None:
        for _ in range(client_call.CALLS):
            assert await get(new_url()) == TEXT

    async def make(peer: Any) -> tuple[Get, Get, Get]:
        return sides(peer)

    def work(get: Get) -> None:
        loop.run_until_complete(call_all(get))

    return client_call.calling(lambda peer: loop.run_until_complete(make(peer)), work, receiver)


def _aiohttp(peer: Any) -> tuple[Get, Get, Get]:
    """Return three sessions. The peer traces one of them, ours classes of its own."""
    import aiohttp
    from opentelemetry.instrumentation.aiohttp_client import create_trace_config

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.aiohttp_client import install

    class Request(aiohttp.ClientRequest): ...

    class Response(aiohttp.ClientResponse): ...

    connectors = [aiohttp_connector() for _ in range(3)]
    patches = Patches()
    install(SimpleNamespace(__name__="aiohttp.connector", BaseConnector=connectors[1]), patches)
    install(SimpleNamespace(__name__="aiohttp.client_reqrep", ClientRequest=Request, ClientResponse=Response), patches)
    bare, ours, theirs = (
        aiohttp.ClientSession(connector=connector(), **options)
        for connector, options in zip(
            connectors,
            (
                {"headers": client_call.B3},
                {"request_class": Request, "response_class": Response},
                {"trace_configs": [create_trace_config(tracer_provider=peer)]},
            ),
            strict=True,
        )
    )

    def reading(session: Any) -> Get:
        async def get(url: str) -> str:
            async with session.get(url) as response:
                return await response.text()  # type: ignore[no-any-return]

        return get

    return reading(bare), reading(ours), reading(theirs)


def _httpx(peer: Any) -> tuple[Get, Get, Get]:
    """Return three clients, as in ``client_call``."""
    import httpx
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.httpx import install

    class Client(httpx.Client): ...

    class AsyncClient(httpx.AsyncClient): ...

    module = SimpleNamespace(**{**vars(httpx), "Client": Client, "AsyncClient": AsyncClient})
    install(module, Patches())
    bare = httpx.AsyncClient(transport=httpx_async_transport(), headers=client_call.B3)
    ours = AsyncClient(transport=httpx_async_transport())
    theirs = httpx.AsyncClient(transport=httpx_async_transport())
    HTTPXClientInstrumentor.instrument_client(theirs, tracer_provider=peer)

    def reading(client: Any) -> Get:
        async def get(url: str) -> str:
            return (await client.get(url)).text  # type: ignore[no-any-return]

        return get

    return reading(bare), reading(ours), reading(theirs)


def _tornado(peer: Any) -> tuple[Get, Get, Get]:
    """Return three clients. The peer patches ``fetch`` for all, so the other two have the original of their own."""
    from opentelemetry.instrumentation.tornado import TornadoInstrumentor
    from tornado.simple_httpclient import SimpleAsyncHTTPClient, _HTTPConnection

    from obskit.instrumentation.patching import Patches
    from obskit.integrations.tornado_client import install

    class Untouched(SimpleAsyncHTTPClient):
        fetch = SimpleAsyncHTTPClient.fetch

    class Connection(_HTTPConnection): ...

    class Ours(Untouched):
        def _connection_class(self) -> type:
            return Connection

    module = SimpleNamespace(
        __name__="tornado.simple_httpclient", SimpleAsyncHTTPClient=Ours, _HTTPConnection=Connection
    )
    install(module, Patches())
    TornadoInstrumentor().instrument(tracer_provider=peer)

    def reading(kind: Any, **options: Any) -> Get:
        client = kind(force_instance=True)
        client.tcp_client = TornadoNetwork()

        async def get(url: str) -> str:
            return (await client.fetch(url, **options)).body.decode()  # type: ignore[no-any-return]

        return get

    return reading(Untouched, headers=client_call.B3), reading(Ours), reading(SimpleAsyncHTTPClient)
