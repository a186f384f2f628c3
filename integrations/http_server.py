"""http.server: patches ``BaseHTTPRequestHandler.handle_one_request``, which serves one request of a connection.

What the request is, ``parse_request`` knows; what is answered, ``flush_headers``, which sends the head of the response.
A handler that has a ``handle_one_request`` or a ``handle`` of its own, as WSGI servers have, is left to their layer.
"""

from __future__ import annotations

import sys
from socketserver import _SocketWriter  # type: ignore[attr-defined]
from types import ModuleType, TracebackType
from typing import Any
from urllib.parse import unquote

from obskit.instrumentation.http_tags import safe_url
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server import begin
from obskit.instrumentation.server_exchange import SERVER_ERROR, ServerExchange
from obskit.propagation.headers import LOWER, joined
from obskit.tracing.current import attach, detach
from obskit.tracing.span import Span

_KEY = "_obskit_exchange"
_SWITCHING_PROTOCOLS = 101


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``http.server``."""
    patches.wrap(module.BaseHTTPRequestHandler, "handle_one_request", _handle_one_request)
    patches.wrap(module.BaseHTTPRequestHandler, "parse_request", _parse_request)
    patches.wrap(module.BaseHTTPRequestHandler, "flush_headers", _flush_headers)
    patches.wrap(module.BaseHTTPRequestHandler, "log_error", _log_error)


def _handle_one_request(wrapped: Any, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    vars(handler)[_KEY] = None  # there is none yet: the request is still to come
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        _end(vars(handler).pop(_KEY, None), error)
        raise
    _end(vars(handler).pop(_KEY, None))
    return result


def _parse_request(wrapped: Any, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    parsed = wrapped(*args, **kwargs)
    if parsed and vars(handler).get(_KEY, handler) is None:
        guarded("starting a server span", _begin, handler)
    return parsed


def _begin(handler: Any) -> None:
    kind = type(handler)
    if hasattr(kind, "__getattr__") and not hasattr(kind, f"do_{handler.command}"):  # werkzeug's, in front of WSGI
        return
    target = handler.path
    path = target.partition("?")[0] if target.startswith("/") else safe_url(target)[2]
    address = handler.client_address
    remote = (address[0], address[1]) if type(address) is tuple else None
    path = unquote(path) if "%" in path else path
    exchange = begin(joined(handler.headers.items()), LOWER, handler.command, path, remote)
    if exchange is not None:
        vars(handler)[_KEY] = exchange, attach(exchange.context)


def _flush_headers(wrapped: Any, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    begun = vars(handler).get(_KEY)
    if begun is not None and begun[0].watched:
        guarded("reading a response", _describe, begun[0], vars(handler).get("_headers_buffer"))
    return wrapped(*args, **kwargs)


def _describe(exchange: ServerExchange, head: list[bytes] | None) -> None:
    """Read status and size from the lines of a response's head. A WebSocket's handshake is over with it."""
    if not head:
        return
    exchange.status = int(head[0].split(None, 2)[1])
    if exchange.status >= SERVER_ERROR and exchange.error is None:
        exchange.blame(sys.exc_info()[1])
    if exchange.seen is not None:
        sizes = [line for line in head if line[:15].lower() == b"content-length:"]
        exchange.size = int(sizes[0][15:]) if sizes else None
    if exchange.status == _SWITCHING_PROTOCOLS:
        exchange.finish()


def _end(begun: Any, error: BaseException | None = None) -> None:
    if begun is None:
        return
    exchange, token = begun
    exchange.sent = True  # nobody answers in the handler's stead
    if error is None:
        exchange.finish()
    elif isinstance(error, ConnectionError) and _wrote(error.__traceback__):
        if type(exchange.span) is Span:
            exchange.span.annotate("the client left before the end of the response")
        exchange.finish()
    else:
        exchange.fail(error)
    detach(token)
    exchange.leave()
    exchange.deliver()


def _wrote(traceback: TracebackType | None) -> bool:
    """Return whether writing the response failed, and not another connection of the handler's."""
    while traceback is not None:
        if traceback.tb_frame.f_code is _SocketWriter.write.__code__:
            return True
        traceback = traceback.tb_next
    return False


def _log_error(wrapped: Any, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    begun = vars(handler).get(_KEY)
    if begun is not None:
        guarded("reading an error", _blame, begun[0], *args)
    return wrapped(*args, **kwargs)


def _blame(exchange: ServerExchange, _format: str, *args: object) -> None:
    """Take the one exception that ``handle_one_request`` logs and keeps to itself: a time that ran out."""
    if len(args) == 1 and isinstance(args[0], TimeoutError):
        exchange.blame(args[0])
