"""Tornado: patches ``RequestHandler._execute``, which serves one request in a task of its own, and ``finish``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache, wraps
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from obskit.base.failures import failed
from obskit.instrumentation.http_tags import body_size
from obskit.instrumentation.open_responses import streaming
from obskit.instrumentation.patching import Patch, Patches, guarded, unbound
from obskit.instrumentation.server import begin
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.propagation.headers import HeaderNames
from obskit.tracing.current import attach, detach
from obskit.tracing.span import Span

_KEY = "_obskit_exchange"
_NAMES = HeaderNames(lambda name: "-".join(map(str.capitalize, name.split("-"))))  # as Tornado spells all of them
_GROUP = re.compile(r"\(\?P<(\w+)>(?:[^()\\]|\\.|\((?:[^()\\]|\\.)*\))*\)")


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every request that a ``RequestHandler`` serves. ``module`` is ``tornado.web``."""
    patches.replace(module.RequestHandler, "_execute", _executing)
    patches.replace(module.RequestHandler, "finish", _finishing)
    patches.wrap(module.RequestHandler, "_handle_request_exception", _handle_exception)


def _executing(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    async def _execute(handler: Any, /, *args: Any, **kwargs: Any) -> None:
        exchange = _begin(handler.request) if patch.active else None
        if exchange is None:
            await wrapped(handler, *args, **kwargs)
            return
        vars(handler)[_KEY] = exchange
        token = attach(exchange.context)
        try:
            await wrapped(handler, *args, **kwargs)
        except BaseException as error:
            guarded("reading a response", _describe, exchange, handler)
            exchange.fail(error)
            raise
        finally:
            detach(token)
            exchange.leave()
            if not exchange.over:
                if getattr(handler, "_auto_finish", True):
                    _end(exchange, handler)
                else:  # it calls ``finish`` whenever it likes
                    streaming(exchange)

    return _execute


def _begin(request: Any) -> ServerExchange | None:
    try:
        path = unquote(request.path) if "%" in request.path else request.path
        # All at once: to look for one name in Tornado's headers takes as long as all of this.
        lines = request.headers._as_list
        headers = dict(zip(lines, map(",".join, lines.values()), strict=True))
        return begin(headers, _NAMES, request.method, path, _remote(request))
    except Exception:
        failed("starting a server span")
        return None


def _remote(request: Any) -> tuple[str, int | None] | None:
    """Return the caller's address; its port, unless a proxy has said whom it calls for (``xheaders``)."""
    if not request.remote_ip:
        return None
    address = request.connection.context.address
    return request.remote_ip, address[1] if type(address) is tuple and address[0] == request.remote_ip else None


def _finishing(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    def finish(handler: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = wrapped(handler, *args, **kwargs)
        exchange = vars(handler).get(_KEY) if patch.active else None
        if exchange is not None and not exchange.over:
            _end(exchange, handler)
        return result

    return finish


def _end(exchange: ServerExchange, handler: Any) -> None:
    try:
        _describe(exchange, handler)
    except Exception:
        failed("reading a response")
    exchange.finish()


def _describe(exchange: ServerExchange, handler: Any) -> None:
    if exchange.watched:
        exchange.sent = handler._headers_written
        if exchange.sent:
            exchange.status = handler.get_status()
        exchange.route = _route(handler.application.default_router.rules, type(handler), handler.request)
    if exchange.seen is not None:
        exchange.size = body_size(handler._headers.get_all())


def _route(rules: Iterable[Any], kind: type, request: Any) -> str:
    """Return the pattern that leads to a handler, the one that was taken: Tornado does not keep it."""
    for rule in rules:
        if rule.target is kind:
            regex = getattr(rule.matcher, "regex", None)
            if regex is not None and regex.match(request.path):  # as ``match`` of the matcher, but decodes no groups
                return readable(regex.pattern)
        elif hasattr(rule.target, "rules") and rule.matcher.match(request) is not None:
            route = _route(rule.target.rules, kind, request)
            if route:
                return route
    return ""


@lru_cache(maxsize=1024)
def readable(pattern: str) -> str:
    r"""Return a rule's pattern as people read it: ``/orders/(?P<id>\d+)$`` is ``/orders/<id>``; unnamed groups stay."""
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
