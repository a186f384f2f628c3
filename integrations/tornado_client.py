"""Tornado's AsyncHTTPClient, simple and curl: patches ``fetch_impl``, which sends one hop.

The simple client follows a redirect by a ``fetch`` of its own, with a copy of the request, before the first one is
done. It runs where some connection happened to be free, so the place that the call came from travels with the copy.
curl follows redirects itself, and tells nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from opentelemetry.context import Context

from obskit.base.failures import failed
from obskit.instrumentation.client import ClientExchange, begin
from obskit.instrumentation.curl_request import leave
from obskit.instrumentation.patching import Patches, guarded
from obskit.tracing.current import attach, detach, get_context

_KEY = "_obskit_hop"


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``tornado.simple_httpclient`` or ``tornado.curl_httpclient``."""
    if module.__name__ == "tornado.curl_httpclient":
        patches.wrap(module.CurlAsyncHTTPClient, "fetch_impl", _fetch)
        patches.wrap(module.CurlAsyncHTTPClient, "_curl_create", _curl_create)
    else:
        patches.wrap(module.SimpleAsyncHTTPClient, "fetch_impl", _fetch)
        patches.wrap(module._HTTPConnection, "headers_received", _headers_received)


def _fetch(wrapped: Any, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        traced = _traced(*args, **kwargs)
    except Exception:
        failed("starting a client span")
        traced = None
    return wrapped(*args, **kwargs) if traced is None else wrapped(*traced)


def _curl_create(wrapped: Any, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    curl = wrapped(*args, **kwargs)
    guarded("preparing a handle of curl", leave, curl)
    return curl


def _traced(request: Any, callback: Callable[[Any], object]) -> tuple[Any, Callable[[Any], object]] | None:
    """Return a copy of the request that has the trace's headers, and a callback that ends the span before the other.

    ``request`` is Tornado's proxy, which adds the client's defaults to the program's own.
    """
    own = request.request
    context = _take_up(own)
    token = attach(context)
    try:
        sent = _copied(own)
        exchange = begin(request.method, request.url, None) if sent is not None else None
        if exchange is None:
            return None
        exchange.inject(sent.headers)
    finally:
        detach(token)
    vars(sent)[_KEY] = exchange, context
    return type(request)(sent, request.defaults), partial(_done, exchange, sent, own, callback)


def _copied(own: Any) -> Any:
    """Return a copy of a request with headers of its own; None where Tornado is about to refuse them."""
    sent = object.__new__(type(own))
    vars(sent).update(vars(own))
    try:
        sent.headers = own.headers.copy()
    except Exception:  # a line end in one
        return None
    return sent


def _take_up(own: Any) -> Context:
    """Return the context of the call; where that is a redirect, end the span of the hop before."""
    hop: tuple[ClientExchange, Context] | None = vars(own).get(_KEY)
    if hop is None:
        return get_context()
    hop[0].finish()
    return hop[1]


def _headers_received(wrapped: Any, connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading a response", _note_status, connection, *args, **kwargs)
    return wrapped(*args, **kwargs)


def _note_status(connection: Any, first_line: Any, *_: Any, **__: Any) -> None:
    hop = vars(connection.request.request).get(_KEY)
    if hop is not None:
        hop[0].status = first_line.code


def _done(exchange: ClientExchange, sent: Any, own: Any, callback: Callable[[Any], object], response: Any) -> None:
    guarded("reading a response", _end, exchange, sent, own, response)
    callback(response)


def _end(exchange: ClientExchange, sent: Any, own: Any, response: Any) -> None:
    """Finish the exchange. Tornado answers 599, which is no status, where it has none or its body broke off."""
    if response.request is sent:
        response.request = own
    if response.error is not None and not response._error_is_response_code:
        exchange.finish(response.error)
    else:
        exchange.status = exchange.status or response.code
        exchange.finish()
