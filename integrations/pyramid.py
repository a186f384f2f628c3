"""Pyramid: patches ``Router.__call__``, and ``Router.invoke_request``, below which a request gets its route."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server_exchange import exchange_in
from obskit.instrumentation.wsgi import no_route, wrapper


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Pyramid application of this process. ``module`` is ``pyramid.router``."""
    patches.wrap(module.Router, "__call__", wrapper(no_route))
    patches.wrap(module.Router, "invoke_request", _invoke)


def _invoke(wrapped: Any, _router: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return wrapped(*args, **kwargs)
    finally:
        guarded("reading a route", _note_route, *args, **kwargs)


def _note_route(request: Any, *_: Any, **__: Any) -> None:
    exchange = exchange_in(request.environ)
    if exchange is not None:
        route = getattr(request, "matched_route", None)  # none where an application goes by traversal
        exchange.route = "" if route is None else "/" + route.pattern.lstrip("/")
