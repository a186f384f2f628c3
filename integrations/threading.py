"""Threads and thread pools: work starts with the current span and log fields of where it was handed over.

Plain functions stand in here, and not wrapt's: both modules are imported already when ``obskit.init()`` runs, and
importing wrapt would double its time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from obskit.instrumentation.patching import Patches
from obskit.tracing.current import attach, detach, get_context


def install(module: ModuleType, patches: Patches) -> None:
    """Carry the context into threads. ``module`` is ``threading`` or ``concurrent.futures.thread``."""
    if module.__name__ == "threading":
        _replace(module.Thread, "start", _start, patches)
    else:
        _replace(module.ThreadPoolExecutor, "submit", _submit, patches)


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


def _submit(original: Any) -> Any:
    def submit(executor: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        context = get_context()

        def call(*args: Any, **kwargs: Any) -> Any:
            token = attach(context)
            try:
                return function(*args, **kwargs)
            finally:
                detach(token)

        return original(executor, call, *args, **kwargs)

    return submit
