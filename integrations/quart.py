"""Quart: patches ``Quart.__call__``, and the methods that know a request's route and its unhandled exception."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from obskit.instrumentation.asgi import serving
from obskit.instrumentation.current_exchange import current_exchange
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server_exchange import exchange_in


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Quart application of this process. ``module`` is ``quart.app``."""
    patches.replace(module.Quart, "__call__", serving)
    for kind in ("request", "websocket"):
        patches.wrap(module.Quart, f"full_dispatch_{kind}", partial(_dispatch, kind))
    for kind in ("exception", "websocket_exception"):
        patches.wrap(module.Quart, f"handle_{kind}", _handle_exception)


def _dispatch(kind: str, wrapped: Any, _app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading a route", _note_route, kind, *args, *kwargs.values())
    return wrapped(*args, **kwargs)


def _note_route(kind: str, context: Any) -> None:
    request = getattr(context, kind)
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
