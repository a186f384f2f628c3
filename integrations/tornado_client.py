"""Tornado's AsyncHTTPClient, simple and curl: patches ``fetch_impl``, which sends one hop.

The simple client follows a redirect by a ``fetch`` of its own, with a copy of the request, before the first one is
done. It runs where some connection happened to be free, so the place that the call came from travels with the copy.
curl follows redirects itself, and tells nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial, wraps
from types import ModuleType
from typing import Any

from tornado.httputil import HTTPHeaders

from obskit.base.failures import failed
from obskit.instrumentation.client import ClientExchange, begin, copied
from obskit.instrumentation.curl_request import leave
from obskit.instrumentation.patching import Patch, Patches, guarded, unbound
from obskit.propagation.carriers import Entries
from obskit.propagation.headers import LOWER_CASE, Fields
from obskit.tracing.current import attach, detach


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request. ``module`` is ``tornado.simple_httpclient`` or ``tornado.curl_httpclient``."""
    if module.__name__ == "tornado.curl_httpclient":
        patches.replace(module.CurlAsyncHTTPClient, "fetch_impl", _fetching)
        patches.wrap(module.CurlAsyncHTTPClient, "_curl_create", _curl_create)
    else:
        patches.replace(module.SimpleAsyncHTTPClient, "fetch_impl", _fetching)
        patches.replace(module._HTTPConnection, "headers_received", _receiving)


def _fetching(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    def fetch_impl(client: Any, request: Any, callback: Callable[[Any], object]) -> Any:
        if patch.active:
            try:
                callback = _traced(request, callback)
            except Exception:
                failed("starting a client span")
        return wrapped(client, request, callback)

    return fetch_impl


def _curl_create(wrapped: Any, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    curl = wrapped(*args, **kwargs)
    guarded("preparing a handle of curl", leave, curl)
    return curl


def _traced(request: Any, callback: Callable[[Any], object]) -> Callable[[Any], object]:
    """Give a hop a copy of the program's request that has the trace's headers; return what ends the span first.

    ``request`` is this hop's own: a proxy, which adds the client's defaults to the program's request. Tornado asks it
    for the headers some ten times, and it has them by itself then.
    """
    own = request.request
    before = own.__dict__.get("_obskit_hop")
    exchange = begin(own.method, own.url, None) if before is None else _redirected(before, own)
    if exchange is None:
        return callback
    headers, view = _copied_headers(own.headers)
    exchange.inject(view)
    sent = copied(own)
    sent.headers = headers
    sent._obskit_hop = exchange
    request.request, request.headers = sent, headers
    return partial(_done, exchange, sent, own, callback)


def _done(exchange: ClientExchange, sent: Any, own: Any, callback: Callable[[Any], object], response: Any) -> None:
    try:
        if response.request is sent:
            response.request = own
        error = response.error
        if error is None or response._error_is_response_code:
            exchange.status = exchange.status or response.code
            exchange.finish()
        else:
            exchange.finish(error)  # Tornado answers 599, which is no status
    except Exception:
        failed("reading a response")
    callback(response)


def _redirected(before: ClientExchange, own: Any) -> ClientExchange | None:
    """End the span of the hop before, and begin in the context of the call."""
    before.finish()
    token = attach(before.context)
    try:
        return begin(own.method, own.url, None)
    finally:
        detach(token)


def _copied_headers(headers: Any) -> tuple[Any, Any]:
    """Return what ``headers.copy()`` returns, but unchecked, as Tornado checks them again, and what writes to it."""
    copy = copied(headers)
    copy._as_list = headers._as_list.copy()  # nobody adds to one header's values
    if hasattr(headers, "_combined_cache"):
        copy._combined_cache = {}
        return copy, _Headers(copy)
    copy._dict = headers._dict.copy()  # before Tornado 6.6
    return copy, copy


_SPELLED = {name: next(iter(HTTPHeaders({name: ""}))) for name in (*LOWER_CASE, *LOWER_CASE.values())}
_all_spelled = lru_cache(maxsize=16)(lambda names: frozenset(map(_SPELLED.__getitem__, names)))


class _Headers(Entries):
    """Tornado keeps the values in a dict, by the name as it spells all."""

    def have_any(self, names: frozenset[str]) -> bool:
        return not _all_spelled(names).isdisjoint(self.headers._as_list)

    def add(self, fields: Fields) -> None:
        lines = self.headers._as_list
        for name, value in fields:
            lines[_SPELLED[name]] = [value]

    def __delitem__(self, name: Any) -> None:
        del self.headers._as_list[name]
        self.headers._combined_cache.pop(name, None)  # Tornado 6.5 fails where it has combined no value yet


def _receiving(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    async def headers_received(connection: Any, first_line: Any, headers: Any) -> None:
        if patch.active:
            try:
                exchange = connection.request.request.__dict__.get("_obskit_hop")
                if exchange is not None:
                    exchange.status = first_line.code
            except Exception:
                failed("reading a response")
        await wrapped(connection, first_line, headers)

    return headers_received
