"""Threads and pools: work starts with the current span and log fields of where it was handed over.

A thread has them until the request is over that starts it (see ``Life``); work submitted to a pool, until it
is done. A pool's own threads and processes start with nothing: they are not the first request's.

Plain functions stand in here, and not wrapt's: both modules are imported already when ``obskit.init()`` runs, and
importing wrapt would double its time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from obskit.instrumentation.carried import starting_with_nothing, submitting
from obskit.instrumentation.patching import Patches
from obskit.tracing.current import attach, get_context


def install(module: ModuleType, patches: Patches) -> None:
    """Carry the context into what ``module`` (one of TARGETS) starts."""
    _INSTALL[module.__name__](module, patches)


def _threads(module: ModuleType, patches: Patches) -> None:
    _replace(module.Thread, "start", _start, patches)


def _executor(module: ModuleType, patches: Patches) -> None:
    for name in vars(module).keys() & {"ThreadPoolExecutor", "ProcessPoolExecutor"}:
        _replace(vars(module)[name], "submit", submitting, patches)


def _pool(module: ModuleType, patches: Patches) -> None:
    """Submitting is public; so is ``_map_async``'s part in it, which all of the ``map`` family but ``imap`` shares."""
    _replace(module.Pool, "__init__", starting_with_nothing, patches)
    for name in ("apply_async", "_map_async", "imap", "imap_unordered"):
        _replace(module.Pool, name, submitting, patches)


def _interpreter_pool(module: ModuleType, patches: Patches) -> None:
    """Leave calls of other interpreters as they are: not every function can be pickled that they take."""
    pool = module.InterpreterPoolExecutor
    if "submit" not in vars(pool):
        pool.submit = getattr(pool.submit, "__wrapped__", pool.submit)
        patches.on_remove(lambda: delattr(pool, "submit"))


_INSTALL = {
    "threading": _threads,
    "concurrent.futures.thread": _executor,
    "concurrent.futures.process": _executor,
    "concurrent.futures.interpreter": _interpreter_pool,
    "multiprocessing.pool": _pool,
}


def _replace(owner: Any, name: str, make: Callable[[Any], Any], patches: Patches) -> None:
    original = getattr(owner, name)
    if getattr(original, "carries_context", False):
        return
    replacement: Any = functools.wraps(original)(make(original))
    replacement.carries_context = True
    setattr(owner, name, replacement)

    def restore() -> None:
        if getattr(owner, name) is replacement:
            setattr(owner, name, original)

    patches.on_remove(restore)


def _start(original: Any) -> Any:
    def start(thread: Any) -> Any:
        context = get_context()
        if context and not vars(thread).get("run"):
            run = thread.run

            def run_in_context() -> None:
                del thread.run  # the class's own shows again, and the reference cycle is gone
                attach(context)
                run()

            thread.run = run_in_context
        return original(thread)

    return start
