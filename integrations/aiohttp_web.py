"""aiohttp.web: patches ``RequestHandler._handle_request``, which serves one request of a connection.

It is above the application, its middlewares and the sending of the response, in a task of the request's own.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from obskit.base.failures import failed
from obskit.instrumentation.asgi import wanted_headers
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.response_flush import deliver_async
from obskit.instrumentation.server import ServerExchange, begin, current_exchange
from obskit.propagation.headers import LOWER
from obskit.tracing.span import Span

_SWITCHING_PROTOCOLS = 101


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``aiohttp.web_protocol`` or ``aiohttp.web_response``."""
    if module.__name__ == "aiohttp.web_protocol":
        patches.wrap(module.RequestHandler, "_handle_request", _handle_request)
        patches.wrap(module.RequestHandler, "handle_error", _handle_error)
    else:
        patches.wrap(module.StreamResponse, "prepare", _prepare)
        patches.wrap(module.StreamResponse, "write_eof", _write_eof)


async def _handle_request(wrapped: Any, _protocol: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    request = args[0] if args else kwargs["request"]
    exchange = _begin(request)
    if exchange is None:
        return await wrapped(*args, **kwargs)
    with exchange:
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as error:
            guarded("reading a route", _describe, exchange, request)
            if isinstance(error, ConnectionError):  # handle_error has seen why: the response is on its way already
                exchange.finish()
            raise
        guarded("reading a response", _describe, exchange, request, result[0])
        return result


def _begin(request: Any) -> ServerExchange | None:
    try:
        if request.method == "UNKNOWN" and not request.raw_headers:  # what aiohttp makes of bytes that are no request
            return None
        peer = request.transport and request.transport.get_extra_info("peername")
        return begin(
            wanted_headers((name.lower(), value) for name, value in request.raw_headers),
            LOWER,
            request.method,
            request.path,
            (peer[0], peer[1]) if type(peer) is tuple else None,
        )
    except Exception:
        failed("starting a server span")
        return None


def _describe(exchange: ServerExchange, request: Any, response: Any = None) -> None:
    """Note route and status; where nothing else answers, aiohttp itself does, with 500."""
    match = getattr(request, "_match_info", None)  # a bare ``web.Server`` has no routes; the property asserts one
    if match is not None:
        resource = match.route.resource
        exchange.route = "" if resource is None else resource.canonical
    if response is not None:
        exchange.status = response.status


def _prepare(wrapped: Any, response: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = current_exchange()
    if exchange is not None and exchange.watched:
        guarded("reading a response", _starting, exchange, response, *args, **kwargs)
    return wrapped(*args, **kwargs)


def _starting(exchange: ServerExchange, response: Any, request: Any) -> None:
    """Note what is answered: the handler may fail after it. A WebSocket's handshake is over with it."""
    exchange.sent = True
    _describe(exchange, request, response)
    if exchange.seen is not None:
        exchange.size = response.content_length
    if response.status == _SWITCHING_PROTOCOLS:
        exchange.finish()


def _write_eof(wrapped: Any, _response: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = current_exchange()
    if exchange is None or not exchange.prompt:
        return wrapped(*args, **kwargs)
    return _deliver_first(exchange, wrapped, *args, **kwargs)


async def _deliver_first(exchange: ServerExchange, wrapped: Any, *args: Any, **kwargs: Any) -> None:
    exchange.finish()
    await deliver_async(exchange)
    await wrapped(*args, **kwargs)


def _handle_error(wrapped: Any, _protocol: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = current_exchange()
    if exchange is not None:
        guarded("reading an error", _blame, exchange, sys.exc_info()[1], *args, **kwargs)
    return wrapped(*args, **kwargs)


def _blame(exchange: ServerExchange, in_flight: BaseException | None, request: Any, *_: Any, **__: Any) -> None:
    """Take what the handler raised; where it could not write because the client has left, that is no failure."""
    gone = request.transport is None or request.transport.is_closing()
    if isinstance(in_flight, ConnectionError) and gone:
        if type(exchange.span) is Span:
            exchange.span.annotate("the client left before the end of the response")
    else:
        exchange.blame(in_flight)
