"""Sanic: patches ``handle_request``, which serves one request of Sanic's own server, and ``__call__``, for ASGI.

When Sanic starts it writes some of its methods anew (``TouchUp``), which are patched anew after it.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from obskit.base.failures import failed
from obskit.instrumentation.asgi import wrapper
from obskit.instrumentation.current_exchange import current_exchange
from obskit.instrumentation.http_tags import body_size
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server import begin
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.propagation.headers import LOWER, joined


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Sanic application, by the name of ``module`` (one of MODULES)."""
    _INSTALL[module.__name__](module, patches)


def _app(module: ModuleType, patches: Patches) -> None:
    def touch_up(run: Any, _cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        run(*args, **kwargs)
        guarded("patching Sanic anew", _rewritten, module.Sanic, patches)

    _rewritten(module.Sanic, patches)
    patches.wrap(module.Sanic, "__call__", wrapper(route=""))
    patches.wrap(module.Router, "get", _get)
    patches.wrap(module.TouchUp, "run", touch_up)


def _rewritten(sanic: type, patches: Patches) -> None:
    patches.wrap(sanic, "handle_request", _handle_request)
    patches.wrap(sanic, "handle_exception", _handle_exception)


def _errors(module: ModuleType, patches: Patches) -> None:
    patches.wrap(module.ErrorHandler, "default", _default)


def _web_sockets(module: ModuleType, patches: Patches) -> None:
    patches.wrap(module.WebSocketProtocol, "websocket_handshake", _handshake)


_INSTALL: dict[str, Callable[[ModuleType, Patches], None]] = {
    "sanic.app": _app,
    "sanic.handlers.error": _errors,
    "sanic.server.protocols.websocket_protocol": _web_sockets,
}


async def _handle_request(wrapped: Any, _app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    request = args[0] if args else kwargs["request"]
    exchange = None if hasattr(request.transport, "scope") else _begin(request)
    if exchange is None:  # as it is under ASGI, where ``__call__`` has begun the one of a request
        await wrapped(*args, **kwargs)
        return
    with exchange:
        try:
            await wrapped(*args, **kwargs)
        finally:
            guarded("reading a response", _describe, exchange, request)


def _begin(request: Any) -> ServerExchange | None:
    try:
        path = unquote(request.path) if "%" in request.path else request.path
        remote = (request.ip, request.port) if request.ip else None
        exchange = begin(joined(request.headers.items()), LOWER, request.method, path, remote)
        if exchange is not None:
            exchange.route = ""
    except Exception:
        failed("starting a server span")
        return None
    return exchange


def _get(wrapped: Any, _router: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    found = wrapped(*args, **kwargs)
    guarded("reading a route", _note_route, found)
    return found


def _note_route(found: tuple[Any, ...]) -> None:
    exchange = current_exchange()
    if exchange is not None:
        exchange.route = f"/{found[0].path}"


def _describe(exchange: ServerExchange, request: Any) -> None:
    if exchange.over or not exchange.watched:
        return
    stream = request.stream
    exchange.sent = stream.stage.name != "HANDLER"
    if exchange.sent and stream.response is not None:
        exchange.status = stream.response.status
        exchange.size = body_size(stream.response.headers.items())
    elif stream.exception is not None:  # why Sanic cancelled the handler: it took too long
        exchange.status = stream.exception.status_code


async def _handshake(wrapped: Any, _protocol: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do the handshake of a WebSocket, with which the span is over."""
    connection = await wrapped(*args, **kwargs)
    exchange = current_exchange()
    if exchange is not None:
        exchange.status = HTTPStatus.SWITCHING_PROTOCOLS.value
        exchange.finish()
    return connection


def _handle_exception(wrapped: Any, _app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading an error", _too_late, *args, **kwargs)
    return wrapped(*args, **kwargs)


def _too_late(request: Any, exception: BaseException, *_: Any, **__: Any) -> None:
    """Take what a handler raised when its response had begun: no error handler can answer it."""
    if request.stream is not None and request.stream.stage.name != "HANDLER":
        _blame(exception)


def _default(wrapped: Any, _handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading an error", _unanswered, *args, **kwargs)
    return wrapped(*args, **kwargs)


def _unanswered(_request: Any, exception: BaseException) -> None:
    """Take what no error handler answers, unless it is how a handler answers with a status."""
    if not hasattr(exception, "status_code"):
        _blame(exception)


def _blame(exception: BaseException) -> None:
    exchange = current_exchange()
    if exchange is not None:
        exchange.blame(exception)
