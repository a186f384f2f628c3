"""Deliveries where a process ends in a way of its own: without ``atexit`` functions, or by a signal raised again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

from obskit.instrumentation.patching import Patches, guarded

_STARTED = os.getpid()
_WITH_LOCKS = ("obskit.export.", "obskit.logs.", "obskit.profiling.", "obskit.runtime.", "obskit.tracing.sampling.")
"""Other parts may be below: they call the application."""


def watch_children(deliver: Callable[[], object], module: ModuleType) -> None:
    """Call ``deliver`` when a child of multiprocessing ends: by ``os._exit``, after its finalizers, without atexit.

    A forked child drops its parent's finalizers; the lowest priority runs last.
    """

    def register(_: object) -> None:  # keeps ``deliver`` alive, which multiprocessing knows by a weak reference
        module.Finalize(None, deliver, exitpriority=-1000)

    module.register_after_fork(deliver, register)
    if module.process.parent_process() is not None:
        register(None)


def watch_celery(deliver: Callable[[], object], module: ModuleType) -> None:
    """Call ``deliver`` when a process of Celery's pool ends: by ``os._exit``, without finalizers or atexit."""

    def end(**_: object) -> None:
        deliver()

    module.worker_process_shutdown.connect(end, weak=False)


def watch_uvicorn(deliver: Callable[[], object], patches: Patches, module: ModuleType) -> None:
    """Call ``deliver`` when a server of uvicorn's has stopped by a signal.

    It then raises the signal again for what handled it before. In its workers that is nothing, since they load the
    application, and obskit with it, after the server has set its own handler.
    """

    async def stop(shutdown: Any, server: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        await shutdown(*args, **kwargs)
        if getattr(server, "_captured_signals", None):
            guarded("delivering before uvicorn ends", deliver)

    guarded("watching uvicorn", patches.wrap, module.Server, "shutdown", stop)


def watch_forked(deliver: Callable[[], object], patches: Patches) -> None:
    """Call ``deliver`` before ``os._exit`` in forked children, whose usual end it is (RQ's jobs, ``ForkingMixIn``).

    In the process that was started it is an emergency exit, which waits for nothing.
    """

    def end(leave: Any, _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            if os.getpid() != _STARTED and not _in_the_middle(sys._getframe(2)):
                guarded("delivering before os._exit", deliver)
        finally:
            leave(*args, **kwargs)

    guarded("watching os._exit", patches.wrap, os, "_exit", end)


def _in_the_middle(frame: FrameType | None) -> bool:
    """Return whether obskit is at work below ``frame``: a signal handler may have interrupted it with a lock held."""
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(_WITH_LOCKS):
            return True
        frame = frame.f_back
    return False


def keep_interrupted() -> None:
    """Make sure that a program interrupted by Ctrl-C ends by SIGINT.

    CPython does that unless source text was evaluated since the exception, which each namedtuple does in the modules
    that the delivery may have imported.
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        try:
            exec("raise KeyboardInterrupt")
        except KeyboardInterrupt:
            return
