"""Ends of a process that nothing registered with ``atexit`` sees."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, ModuleType

from obskit.tracing.failures import failed

_INIT = 1  # a process that the system shields from signals it does not handle: it would live on


class Termination:
    """Answers SIGTERM as the system does by default, but ``deliver`` comes first.

    An application that handles the signal itself, before or after, is left alone: its handler ends the process in a
    way that runs what is registered for the end, or means it not to end.
    """

    def __init__(self, deliver: Callable[[], object]) -> None:
        self._deliver = deliver

    def watch(self) -> None:
        """Handle SIGTERM from now on; possible on the main thread only, elsewhere this does nothing."""
        ours_to_take = threading.current_thread() is threading.main_thread() and os.getpid() != _INIT
        if ours_to_take and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._handle)

    def leave(self) -> None:
        """Give SIGTERM back to the system, unless somebody else has taken it."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == self._handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        """Deliver, then end as if this had never been: another signal meanwhile ends the process at once."""
        signal.signal(number, signal.SIG_DFL)
        try:
            self._deliver()
        except BaseException:  # Ctrl-C meanwhile, too: the process ends by the first signal
            failed("delivering before SIGTERM")
        os.kill(os.getpid(), number)


def watch_children(deliver: Callable[[], object], module: ModuleType) -> None:
    """Have a child of multiprocessing deliver: it ends by ``os._exit`` after finalizers of its own, without atexit.

    A forked child forgets its parent's finalizers; the least priority runs last.
    """

    def register(_: object) -> None:  # keeps ``deliver`` alive, which multiprocessing knows by a weak reference
        module.Finalize(None, deliver, exitpriority=-1000)

    module.register_after_fork(deliver, register)
    if module.process.parent_process() is not None:
        register(None)


def watch_celery(deliver: Callable[[], object], module: ModuleType) -> None:
    """Have a process of Celery's pool deliver: it ends by ``os._exit``, with neither finalizers nor atexit."""

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
