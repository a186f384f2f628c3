"""Tornado: patches ``RequestHandler._execute``, which serves one request in a task of its own, and ``finish``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from obskit.base.failures import failed
from obskit.instrumentation.http_tags import body_size
from obskit.instrumentation.open_responses import streaming
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server import begin
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.propagation.headers import LOWER
from obskit.tracing.current import attach, detach
from obskit.tracing.span import Span

_KEY = "_obskit_exchange"
_SPELLED = {name.title(): name for name in LOWER.all | {LOWER.user_agent}}
"""The names of the headers that we read, as Tornado spells all names."""
_GROUP = re.compile(r"\(\?P<(\w+)>(?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*\)")


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request that a ``RequestHandler`` serves. ``module`` is ``tornado.web``."""
    patches.wrap(module.RequestHandler, "_execute", _execute)
    patches.wrap(module.RequestHandler, "finish", _finish)
    patches.wrap(module.RequestHandler, "_handle_request_exception", _handle_exception)


async def _execute(wrapped: Any, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    exchange = _begin(handler)
    if exchange is None:
        await wrapped(*args, **kwargs)
        return
    vars(handler)[_KEY] = exchange
    token = attach(exchange.context)
    try:
        await wrapped(*args, **kwargs)
    except BaseException as error:
        guarded("reading a response", _describe, exchange, handler)
        exchange.fail(error)
        raise
    finally:
        detach(token)
        exchange.leave()
        if getattr(handler, "_auto_finish", True):
            _end(exchange, handler)
        else:  # it calls ``finish`` whenever it likes
            streaming(exchange)


def _begin(handler: Any) -> ServerExchange | None:
    try:
        request = handler.request
        path = unquote(request.path) if "%" in request.path else request.path
        headers = request.headers
        wanted = {_SPELLED[name]: headers[name] for name in _SPELLED.keys() & headers.keys()}
        return begin(wanted, LOWER, request.method, path, _remote(request))
    except Exception:
        failed("starting a server span")
        return None


def _remote(request: Any) -> tuple[str, int | None] | None:
    """Return the caller's address; its port, unless a proxy has said whom it calls for (``xheaders``)."""
    if not request.remote_ip:
        return None
    address = request.connection.context.address
    return request.remote_ip, address[1] if type(address) is tuple and address[0] == request.remote_ip else None


def _finish(wrapped: Any, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = wrapped(*args, **kwargs)
    exchange = vars(handler).get(_KEY)
    if exchange is not None:
        _end(exchange, handler)
    return result


def _end(exchange: ServerExchange, handler: Any) -> None:
    if not exchange.over:
        guarded("reading a response", _describe, exchange, handler)
        exchange.finish()


def _describe(exchange: ServerExchange, handler: Any) -> None:
    if exchange.watched:
        exchange.sent = handler._headers_written
        if exchange.sent:
            exchange.status = handler.get_status()
        exchange.route = next(_routes(handler.application.default_router, handler), "")
    if exchange.seen is not None:
        exchange.size = body_size(handler._headers.get_all())


def _routes(router: Any, handler: Any) -> Iterator[str]:
    """Yield the patterns that lead to a handler, the one that was taken first: Tornado does not keep it."""
    kind = type(handler)
    possible = [rule for rule in router.rules if rule.target is kind or hasattr(rule.target, "rules")]
    for rule in possible:
        if len(possible) == 1 or rule.matcher.match(handler.request) is not None:
            if rule.target is kind:
                yield readable(rule.matcher.regex.pattern)
            else:
                yield from _routes(rule.target, handler)


@lru_cache(maxsize=1024)
def readable(pattern: str) -> str:
    r"""Return a rule's pattern without what is of no use to people.

    ``/orders/(?P<id>\d+)$`` is ``/orders/<id>``; groups without a name stay.
    """
    return _GROUP.sub(r"<\1>", pattern.removeprefix("^").removesuffix("$"))


def _handle_exception(wrapped: Any, handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    exchange = vars(handler).get(_KEY)
    if exchange is not None:
        guarded("reading an error", _blame, exchange, handler, *args, **kwargs)
    return wrapped(*args, **kwargs)


def _blame(exchange: ServerExchange, handler: Any, e: BaseException) -> None:
    """Take what a handler raised: not what answers with a status, nor that its client has left."""
    name = type(e).__name__
    if name == "StreamClosedError" and handler.request.connection.stream.closed():
        if type(exchange.span) is Span:
            exchange.span.annotate("the client left before the end of the response")
    elif not hasattr(e, "status_code") and name != "Finish":
        exchange.blame(e)
