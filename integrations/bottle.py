"""Bottle: patches ``Bottle.__call__``, and ``HTTPError.apply``, where an error page learns of its exception."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from obskit.instrumentation.current_exchange import current_exchange
from obskit.instrumentation.patching import Patches, guarded
from obskit.instrumentation.server_exchange import SERVER_ERROR
from obskit.instrumentation.wsgi import wrapper
from obskit.instrumentation.wsgi_body import Environ

_PREFIX = "obskit.bottle_prefix"


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Bottle application of this process. ``module`` is ``bottle``."""
    serving = wrapper(route)

    def call(wrapped: Any, app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        guarded("reading a prefix", _note_prefix, *args, **kwargs)
        return serving(wrapped, app, args, kwargs)

    patches.wrap(module.Bottle, "__call__", call)
    patches.wrap(module.HTTPError, "apply", _apply)


def route(environ: Environ) -> str:
    """Return the matched rule, such as ``/orders/<id:int>``, behind the prefix of a mount; empty where none matched."""
    matched = environ.get("bottle.route")
    if matched is None or matched.config.get("mountpoint.prefix") == environ.get(_PREFIX, ("",))[-1]:
        return ""
    return "".join(prefix.rstrip("/") for prefix in environ.get(_PREFIX, ())) + str(matched.rule)


def _note_prefix(environ: Environ, *_: Any, **__: Any) -> None:
    """Note how an application that another one has mounted is reached: the environ has the route of the mount still."""
    matched = environ.get("bottle.route")
    prefix = None if matched is None else matched.config.get("mountpoint.prefix")
    if prefix is not None:
        environ[_PREFIX] = [*environ.get(_PREFIX, ()), prefix]


def _apply(apply: Any, error: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading an error", _note, error)
    return apply(*args, **kwargs)


def _note(error: Any) -> None:
    exchange = current_exchange()
    if exchange is not None and error.status_code >= SERVER_ERROR and exchange.error is None:
        exchange.blame(error.exception)
