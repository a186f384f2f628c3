"""One module per instrumented library, imported only when the program imports that library."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obskit.instrumentation.imports import ImportHooks
    from obskit.instrumentation.patching import Patches

if __name__ != "obskit.integrations":
    raise ImportError(f"import obskit.integrations, not {__name__!r}: under two names every library is patched twice")

MODULES: dict[str, tuple[str, ...]] = {
    "bottle": ("bottle",),
    "django": ("django.core.handlers.base", "django.core.handlers.wsgi", "django.core.handlers.asgi"),
    "eventlet": ("eventlet.greenthread", "eventlet.tpool"),
    "flask": ("flask.app",),
    "gevent": ("gevent", "gevent.threadpool"),
    "http_client": ("http.client",),
    "httpx": ("httpx",),
    "requests": ("requests.adapters",),
    "starlette": ("starlette.applications", "starlette.routing", "fastapi.applications", "fastapi.routing"),
    "threading": (
        "threading",
        "concurrent.futures.thread",
        "concurrent.futures.process",
        "concurrent.futures.interpreter",
        "multiprocessing.pool",
    ),
    "urllib3": ("urllib3.connectionpool",),
}
"""What can be patched: the integration's name, and the modules after whose import its ``install`` is called."""


def install(names: Iterable[str], hooks: ImportHooks, patches: Patches) -> None:
    """Let each integration of ``names`` (keys of MODULES) patch its library as soon as that is imported."""
    for name in names:
        for module_name in MODULES[name]:
            hooks.when_imported(module_name, partial(_install, name, patches))


def _install(name: str, patches: Patches, module: ModuleType) -> None:
    import_module(f"obskit.integrations.{name}").install(module, patches)
