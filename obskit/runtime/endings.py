"""Deliveries where a process ends in a way of its own: without ``atexit`` functions, or by a signal raised again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from obskit.instrumentation.patching import Patches, guarded

_server: ContextVar[int | None] = ContextVar("obskit-forking-server", default=None)
"""The process of the server that forks a child for the current request."""


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


def watch_forking_servers(deliver: Callable[[], object], patches: Patches, module: ModuleType) -> None:
    """Call ``deliver`` when a child of ``socketserver.ForkingMixIn`` has served its request: it ends by ``_exit``."""

    def process(process_request: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        token = _server.set(os.getpid())
        try:
            return process_request(*args, **kwargs)
        finally:
            _server.reset(token)

    def close(shutdown_request: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return shutdown_request(*args, **kwargs)
        finally:
            if _server.get() not in (None, os.getpid()):
                guarded("delivering before a server's child ends", deliver)

    if not hasattr(module, "ForkingMixIn"):  # nor does the system have forks
        return
    patches.wrap(module.ForkingMixIn, "process_request", process)
    for server in (module.TCPServer, module.UDPServer):
        patches.wrap(server, "shutdown_request", close)


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
