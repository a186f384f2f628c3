"""aiohttp's client: patches ``BaseConnector.connect``, ``ClientRequest.send`` and ``ClientResponse.start``.

These three, one after another, are one hop: ``ClientSession._request`` repeats them for a redirect, for a connection
that turns out to be dead, and where a middleware asks again. Tunnels through proxies pass none of the first.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from obskit.base.failures import failed
from obskit.instrumentation.body import is_error_of
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.patching import Patches, guarded

_KEY = "_obskit_exchange"
_SWITCHING_PROTOCOLS = 101
_AIOHTTP = frozenset(["aiohttp"])


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``aiohttp.connector`` or ``aiohttp.client_reqrep``."""
    if module.__name__ == "aiohttp.connector":
        patches.wrap(module.BaseConnector, "connect", _connect)
    else:
        patches.wrap(module.ClientRequest, "send", _send)
        patches.wrap(module.ClientResponse, "start", _start)


async def _connect(wrapped: Any, _connector: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    request = args[0] if args else kwargs["req"]
    exchange = _begin(request)
    connection = await _step(exchange, wrapped, args, kwargs)
    _keep(exchange, request)
    return connection


async def _send(wrapped: Any, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = _take(request)
    response = await _step(exchange, wrapped, args, kwargs)
    _keep(exchange, response)
    return response


async def _start(wrapped: Any, response: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = _take(response)
    started = await _step(exchange, wrapped, args, kwargs)
    if exchange is not None:
        guarded("reading a response", _answered, exchange, response)
    return started


def _begin(request: Any) -> ClientExchange | None:
    """Write the headers into ``request.headers``, which aiohttp makes anew for each hop: they are not the caller's."""
    try:
        return begin(request.method, request.url, request.headers)
    except Exception:
        failed("starting a client span")
        return None


def _keep(exchange: ClientExchange | None, holder: Any) -> None:
    if exchange is not None:
        vars(holder)[_KEY] = exchange


def _take(holder: Any) -> ClientExchange | None:
    exchange: ClientExchange | None = vars(holder).pop(_KEY, None)
    return exchange


async def _step(exchange: ClientExchange | None, wrapped: Any, args: Any, kwargs: Any) -> Any:
    try:
        return await wrapped(*args, **kwargs)
    except BaseException as error:
        if exchange is not None:
            exchange.finish(error)
        raise


def _answered(exchange: ClientExchange, response: Any) -> None:
    """Finish the exchange when the response lets go of its connection: read, closed, released or broken off.

    One without a body has let go already; a WebSocket's keeps it, and its handshake is over.
    """
    exchange.status = response.status
    connection = response.connection
    if connection is None or response.status == _SWITCHING_PROTOCOLS:
        exchange.finish()
        return
    content = response.content
    earlier = id(sys.exc_info()[1])
    connection.add_callback(lambda: exchange.finish(_body_error(content, earlier)))


def _body_error(content: Any, earlier: int) -> BaseException | None:
    """Return what broke a body off: kept by its stream, or in flight while the response is closed for it.

    A stream also keeps a bare ``ClientConnectionError`` since its response was closed, which is no failure. Nor is what
    is in flight where the body is complete: aiohttp cancels the sending of a request that has its response.
    """
    error: BaseException | None = content.exception()
    if error is not None and type(error).__name__ != "ClientConnectionError":
        return error
    if content.is_eof():
        return None
    error = sys.exc_info()[1]
    return error if id(error) != earlier and is_error_of(error, _AIOHTTP) else None
