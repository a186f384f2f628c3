"""Django: patches its two handlers and ``resolve_request``; or patches nothing, with ObskitMiddleware.

Routes that are regular expressions, made readable.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache, wraps
from types import ModuleType
from typing import Any

from obskit.instrumentation import asgi, wsgi, wsgi_body
from obskit.instrumentation.patching import Patch, Patches, guarded, unbound
from obskit.instrumentation.response_flush import deliver_async
from obskit.instrumentation.server_exchange import ServerExchange, exchange_in

_GROUP = re.compile(r"(?<!\\)\((?:\?P<(\w+)>|(\?:)|(\?))?([^()]*)\)[?*+]?")
_ANCHOR = re.compile(r"(?<!\\)[\^$]|\\[AZ]")
_ESCAPE = re.compile(r"\\(\W)")


@lru_cache(maxsize=1024)
def readable(route: str) -> str:
    """Return a path or regular expression as a path: ``/orders/<int:pk>``, ``/articles/<year>/``."""
    found = 1
    while found:
        route, found = _GROUP.subn(_group_name, route)
    return "/" + _ESCAPE.sub(r"\1", _ANCHOR.sub("", route)).lstrip("/")


def _group_name(group: re.Match[str]) -> str:
    """Return ``<name>``, what a group holds that captures nothing, or nothing for look-aheads and flags."""
    name, plain, special, inside = group.groups()
    if name:
        return f"<{name}>"
    if plain:
        return str(inside)
    return "" if special else "<var>"


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request to Django. ``module`` is one of ``django.core.handlers``."""
    if hasattr(module, "WSGIHandler"):
        patches.wrap(module.WSGIHandler, "__call__", wsgi.wrapper(lambda _environ: "", wsgi_body.finish_with_response))
    elif hasattr(module, "ASGIHandler"):
        patches.replace(module.ASGIHandler, "__call__", asgi.serving)
    else:
        patches.replace(module.BaseHandler, "resolve_request", _resolving)
        patches.on_remove(_watch_exceptions("obskit.patches"))


class ObskitMiddleware:
    """A server span for each request, to be listed first; beside the patches it adds none."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        from asgiref.sync import iscoroutinefunction, markcoroutinefunction

        self.get_response = get_response
        self._asynchronous = iscoroutinefunction(get_response)
        if self._asynchronous:
            markcoroutinefunction(self)
        _watch_exceptions("obskit.middleware")

    def __call__(self, request: Any) -> Any:
        """Serve one request; return its response, or a coroutine that does."""
        if self._asynchronous:
            return self._call_async(request)
        with _serving(request) as exchange:
            response = _responded(request, exchange, self.get_response(request))
        if exchange is not None:
            exchange.deliver()
        return response

    async def _call_async(self, request: Any) -> Any:
        with _serving(request) as exchange:
            response = _responded(request, exchange, await self.get_response(request))
        await deliver_async(exchange)
        return response


@contextmanager
def _serving(request: Any) -> Iterator[ServerExchange | None]:
    """Serve ``request`` within a span, unless an outer layer does; give the exchange, if it is ours."""
    exchange = wsgi.begin(request.META) if _exchange(request) is None else None
    with exchange.current() if exchange is not None else nullcontext():
        try:
            yield exchange
        except BaseException:
            guarded("reading a route", _tell_route, request)
            raise


def _exchange(request: Any) -> Any:
    """Return the exchange of a request, which under ASGI may have begun before ``META`` was built."""
    found = exchange_in(request.META)
    return exchange_in(getattr(request, "scope", request.META)) if found is None else found


def _tell_route(request: Any) -> None:
    exchange, match = _exchange(request), request.resolver_match
    if exchange is not None:
        exchange.route = readable(match.route) if match is not None else ""


def _responded(request: Any, exchange: ServerExchange | None, response: Any) -> Any:
    """Let the end of ``response`` end the span; a file keeps its type, for which servers use sendfile."""
    guarded("reading a route", _tell_route, request)
    if exchange is None:
        return response
    exchange.status = response.status_code
    if not response.streaming:
        exchange.finish()
    elif getattr(response, "file_to_stream", None) is not None:
        wsgi_body.finish_with_close(response, exchange)
    else:
        body = asgi.AsyncBody if response.is_async else wsgi_body.traced_body
        response.streaming_content = body(response.streaming_content, exchange)
    return response


def _resolving(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    def resolve_request(handler: Any, request: Any) -> Any:
        match = wrapped(handler, request)
        if patch.active:
            guarded("reading a route", _tell_route, request)
        return match

    return resolve_request


def _watch_exceptions(name: str) -> Callable[[], object]:
    from django.core.signals import got_request_exception

    got_request_exception.connect(_note_exception, dispatch_uid=name)
    return lambda: got_request_exception.disconnect(dispatch_uid=name)


def _note_exception(request: Any = None, **_: Any) -> None:
    exchange = _exchange(request) if request is not None else None
    if exchange is not None:
        exchange.blame(sys.exc_info()[1])
