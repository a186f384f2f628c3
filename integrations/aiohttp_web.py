"""aiohttp.web: patches ``RequestHandler._handle_request``, which serves one request of a connection.

It is above the application, its middlewares and the sending of the response, in a task of the request's own.
"""

from __future__ import annotations

import sys
from functools import wraps
from types import ModuleType
from typing import Any

from multidict import istr

from obskit.base.failures import failed
from obskit.instrumentation import server_exchange
from obskit.instrumentation.asgi import wanted_headers
from obskit.instrumentation.current_exchange import current_exchange, exchange_behind
from obskit.instrumentation.patching import Patch, Patches, guarded, unbound
from obskit.instrumentation.response_flush import deliver_async
from obskit.instrumentation.server import begin
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.propagation.headers import LOWER, HeaderNames
from obskit.tracing.current import stored_context
from obskit.tracing.span import Span

_SWITCHING_PROTOCOLS = 101
_NAMES = HeaderNames(istr)  # aiohttp's headers find such a name without looking at its case


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``aiohttp.web_protocol`` or ``aiohttp.web_response``."""
    if module.__name__ == "aiohttp.web_protocol":
        patches.replace(module.RequestHandler, "_handle_request", _handling)
        patches.wrap(module.RequestHandler, "handle_error", _handle_error)
    else:
        patches.replace(module.StreamResponse, "prepare", _preparing)
        patches.replace(module.StreamResponse, "write_eof", _ending)


def _handling(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    async def handle_request(protocol: Any, request: Any, *args: Any) -> Any:
        exchange = _begin(request) if patch.active else None
        if exchange is None:
            return await wrapped(protocol, request, *args)
        with exchange:
            try:
                result = await wrapped(protocol, request, *args)
            except BaseException as error:
                guarded("reading a route", _describe, exchange, request)
                if isinstance(error, ConnectionError):  # handle_error has seen why: the response is on its way already
                    exchange.finish()
                raise
            if exchange.watched and not exchange.sent:  # what is sent has been noted, and is what the client got
                guarded("reading a response", _describe, exchange, request, result[0])
            return result

    return handle_request


def _begin(request: Any) -> ServerExchange | None:
    try:
        if request.method == "UNKNOWN" and not request.raw_headers:  # what aiohttp makes of bytes that are no request
            return None
        peer = getattr(request, "_transport_peername", None)  # known since the connection was made
        remote = peer[:2] if type(peer) is tuple else None
        headers, names = request.headers, _NAMES
        if len({*headers}) < len(headers):  # of those with one name it gives the first, and they count as one value
            headers, names = wanted_headers(request.raw_headers), LOWER
        return begin(headers, names, request.method, request.path, remote)
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


def _preparing(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    async def prepare(response: Any, request: Any) -> Any:
        exchange = exchange_behind(stored_context()) if patch.active else None
        if exchange is not None and exchange.watched and not exchange.ended:
            try:
                _starting(exchange, response, request)
            except Exception:
                failed("reading a response")
        return await wrapped(response, request)

    return prepare


def _starting(exchange: ServerExchange, response: Any, request: Any) -> None:
    """Note what is answered: the handler may fail after it. A WebSocket's handshake is over with it."""
    exchange.sent = True
    _describe(exchange, request, response)
    if exchange.seen is not None:
        exchange.size = response.content_length
    if exchange.status == _SWITCHING_PROTOCOLS:
        exchange.finish()


def _ending(found: Any, patch: Patch) -> Any:
    """Where the response waits for its span to leave, end that before its last bytes are written."""
    wrapped = unbound(found)

    @wraps(found)
    async def write_eof(response: Any, *args: Any, **kwargs: Any) -> None:
        if server_exchange.held is not None and patch.active:
            exchange = exchange_behind(stored_context())
            if exchange is not None and exchange.prompt and not exchange.ended:
                exchange.finish()
                await deliver_async(exchange)
        await wrapped(response, *args, **kwargs)

    return write_eof


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
