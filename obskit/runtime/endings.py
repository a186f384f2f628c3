"""Deliveries at the end of processes that do not run ``atexit`` functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType


def watch_children(deliver: Callable[[], object], module: ModuleType) -> None:
    """Call ``deliver`` when a child of multiprocessing ends: by ``os._exit``, after its own finalizers, without atexit.

    A forked child forgets its parent's finalizers; the least priority runs last.
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


def keep_interrupted() -> None:
    """See that a program ended by Ctrl-C still looks so to its parent.

    CPython then ends by SIGINT, unless some text was evaluated since, as is for each namedtuple of the modules
    that delivery may have imported just now.
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        try:
            exec("raise KeyboardInterrupt")
        except KeyboardInterrupt:
            return
