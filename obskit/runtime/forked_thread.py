"""The end of a child that was forked on another thread than the main one.

The thread that forked is the child's first, but it ends as threads do: without what ``atexit`` has, and the process
goes on until its last thread has ended. obskit's would keep it for ever.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from obskit.base.native_threads import original, start_thread
from obskit.instrumentation.patching import guarded


class ForkedThread:
    """Calls ``end`` in such a child, or in a child of it, once the last thread of the application has ended."""

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end
        self._on_thread = False
        self._here = original("_thread", "_local")()

    def before_fork(self) -> None:
        """See which thread forks."""
        self._on_thread = self._on_thread or threading.get_ident() != threading.main_thread().ident

    def after_fork(self) -> None:
        """Go on in the parent."""
        self._on_thread = hasattr(self._here, "end")

    def after_fork_in_child(self) -> None:
        """Wait for the end of this thread, if it is not the main one for the system."""
        if self._on_thread and not hasattr(self._here, "end"):
            self._here.end = _End(self._after_the_others)

    def _after_the_others(self) -> None:
        ended = threading.main_thread()  # this one counts as main now
        for thread in threading.enumerate():
            own = isinstance(thread, threading._DummyThread) or thread.name.startswith("obskit-")
            if thread is not ended and not own:
                thread.join()
        guarded("the end of a child forked on a thread", self._end)


class _End:
    """Starts ``function`` on a thread of its own when the thread ends whose local variable this is."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def __del__(self) -> None:
        if sys.is_finalizing():  # it was the main thread after all, as below gevent, and its exit handlers have run
            return
        guarded("seeing the end of a forked thread", start_thread, "obskit-end", self._function)
