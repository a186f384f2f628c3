"""http.client, and urllib.request above it: patches the steps of a request on ``HTTPConnection``.

One request is several calls, so its exchange is kept on the connection, from ``putrequest`` to ``getresponse``.
CONNECT requests to proxies pass none of the first two, so tunnels get no span and no headers of their own.
"""

from __future__ import annotations

from http.client import ResponseNotReady
from types import ModuleType
from typing import Any

from obskit.instrumentation.body import finish_with_body
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.head import UnsentHead
from obskit.instrumentation.http import full_url
from obskit.instrumentation.patching import Patches, guarded

_KEY = "_obskit_exchange"
_HTTPS = 443
_MAY_STILL_BE_ANSWERED = (BrokenPipeError, ConnectionResetError, ResponseNotReady, TypeError)


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``http.client``."""
    connection = module.HTTPConnection
    patches.wrap(connection, "putrequest", _putrequest)
    patches.wrap(connection, "endheaders", _endheaders)
    patches.wrap(connection, "send", _send)
    patches.wrap(connection, "getresponse", _getresponse)
    patches.wrap(connection, "close", _close)


def _putrequest(wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    wrapped(*args, **kwargs)
    guarded("starting a client span", _start, connection, *args, **kwargs)


def _start(connection: Any, method: str, url: str, *_skips: object, **_more_skips: object) -> None:
    tunnelled = connection._tunnel_host is not None
    host = connection._tunnel_host if tunnelled else connection.host
    port = connection._tunnel_port if tunnelled else connection.port
    scheme = "https" if connection.default_port == _HTTPS else "http"
    vars(connection)[_KEY] = begin(method, full_url(scheme, host, port, url or "/"), None)


def _endheaders(wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = _take(connection)
    if exchange is not None:
        exchange.inject(UnsentHead(connection))
    result = _step(exchange, wrapped, connection, args, kwargs)
    vars(connection)[_KEY] = exchange
    return result


def _send(wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = _take(connection)
    result = _step(exchange, wrapped, connection, args, kwargs)
    vars(connection)[_KEY] = exchange
    return result


def _getresponse(wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = _take(connection)
    response = _step(exchange, wrapped, connection, args, kwargs)
    if exchange is not None:
        guarded("reading a response", _answered, exchange, response)
    return response


def _answered(exchange: ClientExchange, response: Any) -> None:
    exchange.status = response.status
    finish_with_body(exchange, response)


def _close(wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        wrapped(*args, **kwargs)
    finally:
        exchange = _take(connection)
        if exchange is not None:
            exchange.finish()


def _take(connection: Any) -> ClientExchange | None:
    """Take the exchange off, as each step calls others: getresponse closes, which is not the end it seems."""
    exchange: ClientExchange | None = vars(connection).pop(_KEY, None)
    return exchange


def _step(exchange: ClientExchange | None, wrapped: Any, connection: Any, args: Any, kwargs: Any) -> Any:
    """Make the call. Where it fails the exchange is over, unless the caller may still ask for the response.

    urllib3 does so when a server answers without reading the whole request.
    """
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        if exchange is None:
            pass
        elif isinstance(error, _MAY_STILL_BE_ANSWERED) and getattr(connection, "sock", None) is not None:
            exchange.suspect(error)
            vars(connection)[_KEY] = exchange
        else:
            exchange.finish(error)
        raise
