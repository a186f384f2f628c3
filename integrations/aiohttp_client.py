"""aiohttp's client: patches ``BaseConnector.connect`` and ``ClientResponse.start``.

These two, one after another, are one hop: ``ClientSession._request`` repeats them for a redirect, for a connection
that turns out to be dead, and where a middleware asks again. Between them it sends the request; where that fails it
closes the connection. Tunnels through proxies do not pass the first.
"""

from __future__ import annotations

import sys
from functools import wraps
from types import ModuleType
from typing import Any

from obskit.base.failures import failed
from obskit.instrumentation.body import is_error_of
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.patching import Patch, Patches, unbound

_SWITCHING_PROTOCOLS = 101
_AIOHTTP = frozenset(["aiohttp"])


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``aiohttp.connector`` or ``aiohttp.client_reqrep``."""
    if module.__name__ == "aiohttp.connector":
        patches.replace(module.BaseConnector, "connect", _connecting)
    else:
        patches.replace(module.ClientResponse, "start", _starting)


def _connecting(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    async def connect(connector: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not patch.active:
            return await wrapped(connector, *args, **kwargs)
        try:  # the headers are those that aiohttp makes anew for each hop, not the caller's
            request = args[0] if args else kwargs["req"]
            url = request.url
            parts = (url.scheme, url.raw_host, url.port), url.raw_path
            exchange = begin(request.method, parts, request.headers)
        except Exception:
            failed("starting a client span")
            exchange = None
        if exchange is None:
            return await wrapped(connector, *args, **kwargs)
        try:
            connection = await wrapped(connector, *args, **kwargs)
        except BaseException as error:
            exchange.finish(error)
            raise
        try:
            connection._obskit_hop = hop = _Hop()
            hop.exchange = exchange
            hop.content = None
            connection.add_callback(hop)
        except Exception:
            failed("watching a connection")
        return connection

    return connect


def _starting(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    async def start(response: Any, connection: Any) -> Any:
        hop = getattr(connection, "_obskit_hop", None)
        if type(hop) is not _Hop or hop.exchange is None or not patch.active:
            return await wrapped(response, connection)
        exchange = hop.exchange
        hop.exchange = None  # a response without a body lets go of its connection before it has its status
        try:
            started = await wrapped(response, connection)
        except BaseException as error:
            exchange.finish(error)
            raise
        try:
            exchange.status = status = response.status
            if response.connection is None or status == _SWITCHING_PROTOCOLS:
                exchange.finish()  # one without a body has let go already; a WebSocket's handshake is over
            else:
                hop.content = response.content
                hop.earlier = id(sys.exc_info()[1])
                hop.exchange = exchange
        except Exception:
            failed("reading a response")
        return started

    return start


class _Hop:
    """A request that has a connection: called when that is let go of."""

    __slots__ = ("content", "earlier", "exchange")
    exchange: ClientExchange | None
    content: Any
    earlier: int

    def __call__(self) -> None:
        """Finish the exchange: its response was read, closed, released or broken off, or could not be asked for."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.finish(sys.exc_info()[1] if self.content is None else _body_error(self.content, self.earlier))


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
