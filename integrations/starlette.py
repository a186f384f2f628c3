"""Starlette and FastAPI: patches ``__call__`` of their applications, and the ``handle`` of the routes that match.

A mounted application continues the route of its mount. FastAPI keeps an included router's prefix apart from the
routes, so its own ``APIRoute.handle`` is patched as well.
"""

from __future__ import annotations

from functools import wraps
from types import ModuleType
from typing import Any

from opentelemetry import trace

from obskit.base.failures import failed
from obskit.instrumentation.asgi import Scope, serving, wrapper
from obskit.instrumentation.patching import Patch, Patches, guarded, unbound
from obskit.instrumentation.server_exchange import exchange_in
from obskit.instrumentation.tracer import provider

_PREFIX = "obskit.route_prefix"


def install(module: ModuleType, patches: Patches) -> None:
    """Trace every Starlette application, or FastAPI's part of it, by the name of ``module`` (one of MODULES)."""
    _INSTALL[module.__name__](module, patches)


def _starlette_applications(module: ModuleType, patches: Patches) -> None:
    patches.replace(module.Starlette, "__call__", serving)


def _starlette_routing(module: ModuleType, patches: Patches) -> None:
    patches.replace(module.Route, "handle", _handling)
    patches.replace(module.WebSocketRoute, "handle", _handling)
    patches.wrap(module.Mount, "handle", _handle_mount)


def _fastapi_routing(module: ModuleType, patches: Patches) -> None:
    for route in (module.APIRoute, module.APIWebSocketRoute):
        if "handle" in vars(route):
            patches.replace(route, "handle", _handling)


def _fastapi_applications(module: ModuleType, patches: Patches) -> None:
    """Switch off FastAPI's own spans: it makes a second one of each request where our tracer provider is global.

    Where the application chose another provider they stay, within ours: what they make current is the application's.
    """
    switched: list[dict[str, Any]] = []
    serve = wrapper(route="")

    def makes_spans(app: Any, scope: Scope, *_: Any, **__: Any) -> bool:
        options = getattr(app, "_telemetry", None)  # what FastAPI(telemetry={"tracing": False}) sets
        if not options or not options["tracing"]:
            return False
        if scope["type"] == "lifespan":  # when FastAPI attaches the exporters that its environment names
            return False
        if options["tracer_provider"] is not None or trace.get_tracer_provider() is not provider:
            return True
        options["tracing"] = False
        switched.append(options)
        return False

    def call(wrapped: Any, app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            around = makes_spans(app, *args, **kwargs)
        except Exception:
            failed("switching off FastAPI's own spans")
            around = False
        return serve(wrapped, app, args, kwargs) if around else wrapped(*args, **kwargs)

    patches.wrap(module.FastAPI, "__call__", call)
    patches.on_remove(lambda: [options.update(tracing=True) for options in switched])


_INSTALL = {
    "starlette.applications": _starlette_applications,
    "starlette.routing": _starlette_routing,
    "fastapi.applications": _fastapi_applications,
    "fastapi.routing": _fastapi_routing,
}


def _handling(found: Any, patch: Patch) -> Any:
    wrapped = unbound(found)

    @wraps(found)
    async def handle(route: Any, /, scope: Scope, receive: Any, send: Any) -> None:
        if patch.active:
            try:
                _note(scope, route)
            except Exception:
                failed("reading a route")
        await wrapped(route, scope, receive, send)

    return handle


def _handle_mount(handle: Any, mount: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    guarded("reading a route", _mounted, mount, *args)
    return handle(*args, **kwargs)


def _mounted(mount: Any, scope: Scope, *_: Any) -> None:
    prefix = scope.get(_PREFIX, "") + mount.path
    exchange = None if mount.routes else exchange_in(scope)
    if exchange is not None:  # static files, say, or a WSGI application, whose layer may know more
        exchange.route, exchange.mounted = prefix + "/{path}", prefix
    scope[_PREFIX] = prefix


def _note(scope: Scope, route: Any) -> None:
    """Note the path of ``route``, with the prefixes of the mounts and of the routers that include it."""
    exchange = exchange_in(scope)
    if exchange is not None:
        included = scope["fastapi"].get("effective_route_context") if "fastapi" in scope else None
        path = included.path if included is not None and included.original_route is route else route.path
        exchange.route = scope.get(_PREFIX, "") + path
