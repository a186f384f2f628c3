"""eventlet: green threads start with the current span and log fields of where they were spawned, as threads do.

A new greenlet's context is empty. All ways to spawn one, pools' too, make a ``GreenThread`` or call ``_spawn_n``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from obskit.instrumentation.carried import carried, start_in
from obskit.instrumentation.patching import Patches
from obskit.tracing.current import get_context


def install(module: ModuleType, patches: Patches) -> None:
    """Carry the context into green threads, or into eventlet's threads, by the name of ``module`` (one of MODULES)."""
    if module.__name__ == "eventlet.tpool":
        patches.wrap(module, "execute", _execute)
    else:
        patches.wrap(module.GreenThread, "__init__", _made)
        patches.wrap(module, "_spawn_n", _spawn_n)


def _made(init: Any, greenlet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    init(*args, **kwargs)
    start_in(greenlet, get_context())


def _spawn_n(spawn: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    timer, greenlet = spawn(*args, **kwargs)
    start_in(greenlet, get_context())
    return timer, greenlet


def _execute(execute: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if args:
        args = (carried(args[0], get_context()), *args[1:])
    return execute(*args, **kwargs)
