"""gevent: greenlets start with the current span and log fields of where they were spawned, as threads do.

A new greenlet's context is empty. gevent's own ``add_spawn_callback`` tells of each: the class cannot be patched. What
is submitted to a pool of gevent's threads carries the context as to any other pool.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from obskit.instrumentation.carried import carried, start_in
from obskit.instrumentation.patching import Patches
from obskit.tracing.current import get_context


def install(module: ModuleType, patches: Patches) -> None:
    """Carry the context into greenlets, or into gevent's threads, by the name of ``module`` (one of MODULES)."""
    if module.__name__ == "gevent.threadpool":
        patches.wrap(module.ThreadPool, "spawn", _submit)
    else:
        patches.wrap(module, "spawn_raw", _spawn)
        module.Greenlet.add_spawn_callback(_spawned)
        patches.on_remove(lambda: module.Greenlet.remove_spawn_callback(_spawned))


def _spawned(greenlet: Any) -> None:
    start_in(greenlet, get_context())


def _spawn(spawn: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    greenlet = spawn(*args, **kwargs)
    start_in(greenlet, get_context())
    return greenlet


def _submit(submit: Any, _pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if args:
        args = (carried(args[0], get_context()), *args[1:])
    return submit(*args, **kwargs)
