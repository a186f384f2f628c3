"""Bottle: patches ``Bottle.__call__``, and ``HTTPError.apply``, where an error page learns of its exception."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server import SERVER_ERROR, current_exchange
from obskit.instrumentation.wsgi import Environ, wrapper


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Bottle application of this process. ``module`` is ``bottle``."""
    patches.wrap(module.Bottle, "__call__", wrapper(route))
    patches.wrap(module.HTTPError, "apply", _apply)


def route(environ: Environ) -> str:
    """Return the matched rule, such as ``/orders/<id:int>``; empty where none matched."""
    matched = environ.get("bottle.route")
    return matched.rule if matched is not None else ""


def _apply(apply: Any, error: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading an error", _note, error)
    return apply(*args, **kwargs)


def _note(error: Any) -> None:
    exchange = current_exchange()
    if exchange is not None and error.status_code >= SERVER_ERROR and exchange.error is None:
        exchange.blame(error.exception)
