"""One module per instrumented library, imported only when the program imports that library."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from obskit.instrumentation import instrumentors, third_party

if TYPE_CHECKING:
    from obskit.base.distributions import EntryPoint
    from obskit.instrumentation.imports import ImportHooks
    from obskit.instrumentation.patching import Patches

if __name__ != "obskit.integrations":
    raise ImportError(f"import obskit.integrations, not {__name__!r}: under two names every library is patched twice")

MODULES: dict[str, tuple[str, ...]] = {
    "aiohttp_client": ("aiohttp.connector", "aiohttp.client_reqrep"),
    "aiohttp_web": ("aiohttp.web_protocol", "aiohttp.web_response"),
    "bottle": ("bottle",),
    "cherrypy": ("cherrypy._cptree", "cherrypy._cprequest"),
    "django": ("django.core.handlers.base", "django.core.handlers.wsgi", "django.core.handlers.asgi"),
    "eventlet": ("eventlet.greenthread", "eventlet.tpool"),
    "falcon": ("falcon.app", "falcon.asgi.app"),
    "flask": ("flask.app",),
    "gevent": ("gevent", "gevent.threadpool"),
    "grpc_aio_client": ("grpc.aio._channel", "grpc.aio._call"),
    "grpc_aio_server": ("grpc.aio._server",),
    "grpc_client": ("grpc._channel",),
    "grpc_server": ("grpc._server",),
    "http_client": ("http.client",),
    "http_server": ("http.server",),
    "httpx": ("httpx",),
    "httpx2": ("httpx2",),
    "litestar": ("litestar.app", "litestar.routes.http", "litestar.routes.websocket"),
    "pycurl": ("pycurl",),
    "pyramid": ("pyramid.router",),
    "quart": ("quart.app",),
    "requests": ("requests.adapters",),
    "sanic": ("sanic.app", "sanic.handlers.error", "sanic.server.protocols.websocket_protocol"),
    "starlette": ("starlette.applications", "starlette.routing", "fastapi.applications", "fastapi.routing"),
    "threading": (
        "threading",
        "concurrent.futures.thread",
        "concurrent.futures.process",
        "concurrent.futures.interpreter",
        "multiprocessing.pool",
        "joblib.externals.loky.process_executor",
        "loky.process_executor",
    ),
    "tornado_client": ("tornado.simple_httpclient", "tornado.curl_httpclient"),
    "tornado_web": ("tornado.web",),
    "urllib3": ("urllib3.connectionpool",),
    "wsgiref": ("wsgiref.handlers",),
}
"""What can be patched: the integration's name, and the modules after whose import its ``install`` is called."""


def install(names: Iterable[str], hooks: ImportHooks, patches: Patches) -> None:
    """Let each integration of ``names`` patch its library as soon as that is imported.

    A name is a key of MODULES, or that of another package's integration or of an instrumentation of OpenTelemetry's;
    one that is none of these is passed over.
    """
    names = list(names)
    foreign = others() if not MODULES.keys() >= set(names) else {}
    for name in names:
        for module_name in MODULES.get(name, ()):
            hooks.when_imported(module_name, partial(_install, name, patches))
        if name in foreign:
            entry_point = foreign[name]
            source = third_party if entry_point.group == third_party.GROUP else instrumentors
            source.install(entry_point, hooks, patches)


def others(opentelemetry: bool = True) -> dict[str, EntryPoint]:
    """Return what other packages bring for libraries that none of ours is for, by name.

    An integration that is made for obskit goes before an instrumentation of OpenTelemetry's.
    """
    covered = [module for modules in MODULES.values() for module in modules]
    found = instrumentors.find(covered) if opentelemetry else {}
    found |= third_party.find()
    return {name: one for name, one in found.items() if name not in MODULES}


def modules_of(name: str) -> tuple[str, ...]:
    """Return the modules that an integration patches."""
    return MODULES[name] if name in MODULES else third_party.modules_of(others()[name])


def _install(name: str, patches: Patches, module: ModuleType) -> None:
    integration = import_module(f"obskit.integrations.{name}")
    patches.attempt(name, module.__name__, partial(integration.install, module, patches))
