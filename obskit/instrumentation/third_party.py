"""Integrations that other packages bring, by the entry-point group ``obskit.integrations``.

Each entry point names a module with ``MODULES``, the names of the library's modules after whose import its
``install(module, patches)`` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from obskit.base.distributions import EntryPoint, entry_points
from obskit.base.failures import raised
from obskit.base.values import error_text
from obskit.instrumentation.imports import ImportHooks

if TYPE_CHECKING:
    from obskit.instrumentation.patching import Patches

GROUP = "obskit.integrations"


def find() -> dict[str, EntryPoint]:
    """Return the entry points of all that are installed, by name."""
    return {one.name: one for one in entry_points(GROUP)}


def modules_of(entry_point: EntryPoint) -> tuple[str, ...]:
    """Return the modules that an integration patches. Raises what importing it raises, or TypeError."""
    return _read(entry_point.load())[0]


def install(entry_point: EntryPoint, hooks: ImportHooks, patches: Patches) -> None:
    """Let an integration patch its library as soon as that is imported; what it raises is told once."""
    try:
        names, patch = _read(entry_point.load())
        for name in names:
            hooks.when_imported(name, partial(_install, entry_point, patch, patches))
    except Exception as error:
        patches.refused[entry_point.name] = error_text(error)
        _tell(entry_point)


def _install(entry_point: EntryPoint, patch: Callable[..., object], patches: Patches, module: ModuleType) -> None:
    try:
        patches.attempt(entry_point.name, module.__name__, partial(patch, module, patches))
    except Exception:
        _tell(entry_point)


def _tell(entry_point: EntryPoint) -> None:
    raised(f"the integration {entry_point.name!r} ({entry_point.value})")


def _read(integration: Any) -> tuple[tuple[str, ...], Callable[..., object]]:
    modules, patch = getattr(integration, "MODULES", None), getattr(integration, "install", None)
    if not isinstance(modules, tuple | list) or not all(isinstance(name, str) for name in modules):
        raise TypeError(f"MODULES is {modules!r}: make it a tuple of module names, such as ('acme.client',)")
    if not callable(patch):
        raise TypeError(f"install is {patch!r}: make it a function install(module, patches)")
    return tuple(modules), patch
