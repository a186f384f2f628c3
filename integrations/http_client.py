"""http.client, and urllib.request above it: patches the steps of a request on ``HTTPConnection``.

One request is several calls, so its exchange is kept on the connection, from ``putrequest`` to ``getresponse``.
CONNECT requests to proxies pass none of the first two, so tunnels get no span and no headers of their own.

The head of a request that ``http.client`` has not sent yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.client import ResponseNotReady
from types import ModuleType
from typing import Any

from obskit.instrumentation.body import finish_with_body
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.patching import Patches, guarded


class UnsentHead:
    """The header lines an ``HTTPConnection`` holds back until ``endheaders``, as headers by name.

    Where it keeps them elsewhere than it has since Python 2, it seems to have none: then ours are only added.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lines: list[bytes] = getattr(connection, "_buffer", [])

    def __iter__(self) -> Iterator[str]:
        return (line.partition(b":")[0].decode("latin-1") for line in self._lines[1:])

    def __getitem__(self, name: str) -> str | None:
        start = f"{name}:".encode("latin-1")
        return next(
            (line[len(start) :].strip().decode("latin-1") for line in self._lines if line.startswith(start)), None
        )

    def __delitem__(self, name: str) -> None:
        start = f"{name}:".encode("latin-1")
        self._lines[1:] = [line for line in self._lines[1:] if not line.startswith(start)]

    def __setitem__(self, name: str, value: str) -> None:
        self._connection.putheader(name, value)


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
    vars(connection)[_KEY] = begin(method, ((scheme, host, port), url or "/"), None)


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
