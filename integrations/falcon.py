"""Falcon, WSGI and ASGI: patches ``App.__call__`` and ``_handle_exception`` of both, and ``_get_responder``.

The last one routes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from types import ModuleType
from typing import Any

from obskit.instrumentation import asgi, wsgi
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server_exchange import SERVER_ERROR, ServerExchange, exchange_in


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Falcon application. ``module`` is ``falcon.app`` or ``falcon.asgi.app``."""
    serving = wsgi.wrapper(wsgi.no_route) if module.__name__ == "falcon.app" else asgi.wrapper(route="")
    patches.wrap(module.App, "__call__", serving)
    patches.wrap(module.App, "_handle_exception", _handle_exception)
    if module.__name__ == "falcon.app":  # the other App inherits it
        patches.wrap(module.App, "_get_responder", _get_responder)


def _exchange(request: Any) -> ServerExchange | None:
    scope = getattr(request, "scope", None)
    return exchange_in(request.env if scope is None else scope)


def _get_responder(wrapped: Any, _app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    found = wrapped(*args, **kwargs)
    guarded("reading a route", _note_route, found, *args, **kwargs)
    return found


def _note_route(found: Any, req: Any) -> None:
    exchange = _exchange(req)
    if exchange is not None:
        exchange.route = found[3] or ""  # a sink has no template


def _handle_exception(wrapped: Any, _app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    handled = wrapped(*args, **kwargs)
    if inspect.isawaitable(handled):
        return _then_blame(handled, args, kwargs)
    guarded("reading an error", _blame, *args, **kwargs)
    return handled


async def _then_blame(handling: Awaitable[bool], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    handled = await handling
    guarded("reading an error", _blame, *args, **kwargs)
    return handled


def _blame(req: Any, resp: Any, ex: BaseException, *_: Any, **__: Any) -> None:
    """Take what was answered with 5xx; ``falcon.HTTPError`` and ``HTTPStatus`` are how applications answer."""
    exchange = _exchange(req)
    if exchange is not None and resp is not None and resp.status_code >= SERVER_ERROR and not hasattr(ex, "status"):
        exchange.blame(ex)
