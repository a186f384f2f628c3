"""Quart: patches ``Quart.__call__``, and the two methods that know a request's route and its unhandled exception."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from obskit.instrumentation.asgi import wrapper
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server import current_exchange, exchange_in


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Quart application of this process. ``module`` is ``quart.app``."""
    patches.wrap(module.Quart, "__call__", wrapper(route=""))
    patches.wrap(module.Quart, "full_dispatch_request", _dispatch)
    patches.wrap(module.Quart, "handle_exception", _handle_exception)


def _dispatch(wrapped: Any, _app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading a route", _note_route, *args, *kwargs.values())
    return wrapped(*args, **kwargs)


def _note_route(context: Any) -> None:
    request = context.request
    exchange = exchange_in(request.scope)
    if exchange is not None and request.url_rule is not None:
        exchange.route = request.url_rule.rule


def _handle_exception(wrapped: Any, _app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading an error", _blame, *args, *kwargs.values())
    return wrapped(*args, **kwargs)


def _blame(*context_and_error: Any) -> None:
    exchange = current_exchange()
    if exchange is not None:
        exchange.blame(context_and_error[-1])
