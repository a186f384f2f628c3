"""Threads and pools: work starts with the current span and log fields of where it was handed over.

A thread has them until the request is over that starts it (see ``Life``); work submitted to a pool, until it
is done. A pool's own threads and processes start with nothing: they are not the first request's.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from opentelemetry.context import Context

from obskit.base.process import on_fork
from obskit.instrumentation.carried import starting_with_nothing, submitting
from obskit.instrumentation.patching import Patches, guarded
from obskit.tracing.current import attach, get_context, inherited, stored_context


def install(module: ModuleType, patches: Patches) -> None:
    """Carry the context into what ``module`` (one of MODULES) starts."""
    _INSTALL[module.__name__](module, patches)


def _threads(module: ModuleType, patches: Patches) -> None:
    """Leave the thread's own attributes alone: a class may freeze them, and ``run`` may be anything."""
    _replace(module.Thread, "start", _start, patches)
    _replace(module.Thread, "_bootstrap_inner", _bootstrap, patches)


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
    "joblib.externals.loky.process_executor": _executor,
    "loky.process_executor": _executor,
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


_starting: dict[int, Context] = {}
"""In which context a thread is to run that has not begun yet, by its object's id."""

on_fork(_starting.clear)


def _start(original: Any) -> Any:
    def start(thread: Any) -> Any:
        context = inherited(get_context())
        if not context:
            return original(thread)
        _starting[id(thread)] = context
        try:
            return original(thread)  # the thread has begun by then, perhaps not by way of ours
        finally:
            _starting.pop(id(thread), None)

    return start


def _bootstrap(original: Any) -> Any:
    def bootstrap(thread: Any) -> Any:
        context = _starting.pop(id(thread), None)
        return original(thread) if context is None else run_in_context(original, thread, context)

    return bootstrap


def run_in_context(run: Any, thread: Any, context: Context) -> Any:
    """Run a thread from its beginning. By this frame the profiler knows the request that a thread works for."""
    guarded("carrying the context into a thread", _attach_in, thread, context)
    return run(thread)


def _attach_in(thread: Any, context: Context) -> None:
    """Make ``context`` current for the thread: since 3.14 it runs in a context that may be the program's own."""
    own = thread._context if sys.version_info >= (3, 14) else None
    if own is None:
        attach(context)
    elif not own.run(stored_context):
        own.run(attach, context)
