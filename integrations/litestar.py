"""Litestar: patches ``Litestar.__call__``, and the routes' ``handle``, which serves a request whose route is known."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from obskit.instrumentation.asgi import Scope, serving
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server_exchange import exchange_in


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Litestar application. ``module`` is one of MODULES."""
    if module.__name__ == "litestar.app":
        patches.replace(module.Litestar, "__call__", serving)
    elif module.__name__ == "litestar.routes.http":
        patches.wrap(module.HTTPRoute, "handle", _handle)
    else:
        patches.wrap(module.WebSocketRoute, "handle", _handle)


def _handle(wrapped: Any, route: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading a route", _note_route, route, *args, **kwargs)
    return wrapped(*args, **kwargs)


def _note_route(route: Any, scope: Scope, *_: Any, **__: Any) -> None:
    exchange = exchange_in(scope)
    if exchange is not None:
        exchange.route = route.path_format
