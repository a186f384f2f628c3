"""OpenTelemetry's own instrumentations, for the libraries that obskit has no integration for.

Each is an entry point of the group ``opentelemetry_instrumentor``, and is imported after the library it is for: many
import that library themselves, which the program may not need.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from obskit.base.distributions import EntryPoint, entry_points
from obskit.base.failures import raised, tell
from obskit.instrumentation.imports import ImportHooks

if TYPE_CHECKING:
    from obskit.instrumentation.patching import Patches

GROUP = "opentelemetry_instrumentor"
_BASE = "opentelemetry.instrumentation"
_REMEDY = "it needs pip install opentelemetry-instrumentation"
_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"

_LIBRARIES = {
    "aiohttp-client": "aiohttp.client_reqrep",
    "aiohttp-server": "aiohttp.web_protocol",
    "boto3": "boto3",
    "cassandra": "cassandra.cluster",
    "grpc_aio_client": "grpc.aio._channel",
    "grpc_aio_server": "grpc.aio._server",
    "grpc_client": "grpc._channel",
    "grpc_server": "grpc._server",
    "mysql": "mysql.connector",
    "mysqlclient": "MySQLdb",
    "system_metrics": "psutil",
    "tortoiseorm": "tortoise",
    "urllib": "http.client",
}
"""The module that an instrumentation is for, where its name is another's."""

_ELSEWHERE = frozenset(["asyncio", "logging", "loguru", "structlog"])
"""What obskit sees to without an integration: log records, and the context of tasks."""


def find(covered: Iterable[str]) -> dict[str, EntryPoint]:
    """Return the entry points by name, but those for libraries of which the modules ``covered`` are parts."""
    if "opentelemetry.instrumentation.auto_instrumentation" in sys.modules:
        return {}  # opentelemetry-instrument loads them itself
    disabled = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}
    if "*" in disabled:
        return {}
    modules = tuple(f"{name}." for name in covered)
    return {
        one.name: one
        for one in entry_points(GROUP)
        if one.name not in _ELSEWHERE | disabled and not _has_part_of(f"{library_of(one.name)}.", modules)
    }


def _has_part_of(library: str, modules: tuple[str, ...]) -> bool:
    return any(module.startswith(library) for module in modules)


def library_of(name: str) -> str:
    """Return the module that the instrumentation ``name`` is for."""
    return _LIBRARIES.get(name, name.replace("-", "_"))


def install(entry_point: EntryPoint, hooks: ImportHooks, patches: Patches) -> None:
    """Switch an instrumentation on as soon as its library is imported; now, where none has its name."""
    library = library_of(entry_point.name)
    switch_on = partial(_switch_on, entry_point, patches)
    if _is_importable(library):
        hooks.when_imported(library, switch_on)
    else:
        switch_on()


def _is_importable(module: str) -> bool:
    from importlib.util import find_spec

    package = module.partition(".")[0]
    try:
        return package in sys.modules or find_spec(package) is not None
    except Exception:  # a module without a spec, a finder that fails
        return False


_on: set[Any] = set()
"""Those that obskit has switched on; each class has one instance."""


def _switch_on(entry_point: EntryPoint, patches: Patches, *_: object) -> None:
    said = f"OpenTelemetry's instrumentation {entry_point.name!r}"
    try:
        patches.attempt(entry_point.name, library_of(entry_point.name), partial(_instrument, entry_point, patches))
    except Exception as error:
        if getattr(error, "name", None) == _BASE:  # some libraries bring their own instrumentation without it
            patches.refused[entry_point.name] = _REMEDY
        elif not _is_importable(library_of(entry_point.name)) and _misses_its_library(error):
            del patches.refused[entry_point.name]  # some packages bring instrumentations of fifty libraries
        elif type(error).__name__ == "DependencyConflictError":
            tell(logging.WARNING, "%s leaves it alone: %s", said, error)
        else:
            raised(f"{said} ({entry_point.value})")


def _misses_its_library(error: Exception) -> bool:
    """Return whether ``error`` says that a library is not installed, rather than in another version."""
    if isinstance(error, ModuleNotFoundError):
        return not str(error.name).startswith("opentelemetry")
    conflict = getattr(error, "conflict", None)
    return conflict is not None and not (conflict.found or getattr(conflict, "found_any", None))


def _instrument(entry_point: EntryPoint, patches: Patches) -> None:
    instrumentor = entry_point.load()()
    if instrumentor.is_instrumented_by_opentelemetry:
        return  # the program has done so
    instrumentor.instrument(raise_exception_on_conflict=True)
    _on.add(instrumentor)
    patches.on_remove(partial(_switch_off, instrumentor))
    _yield_to_the_program(patches)


def _switch_off(instrumentor: Any) -> None:
    if instrumentor in _on:
        _on.discard(instrumentor)
        try:
            instrumentor.uninstrument()
        except Exception:
            raised(f"uninstrument() of OpenTelemetry's {type(instrumentor).__name__}")


def _yield_to_the_program(patches: Patches) -> None:
    """Let a program that instruments a library itself, perhaps with options, have it its way."""
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined, unused-ignore]

    patches.wrap(BaseInstrumentor, "instrument", _instrument_anew)


def _instrument_anew(instrument: Any, instrumentor: Any, args: Any, kwargs: Any) -> Any:
    _switch_off(instrumentor)
    return instrument(*args, **kwargs)
