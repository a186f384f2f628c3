"""Threads and locks of the operating system, also where gevent or eventlet have replaced Python's by their own.

A worker that is a greenlet runs only when no other does, and a lock made before their patching would block them all.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def original(module: str, name: str) -> Any:
    """Return the attribute ``name`` of a standard ``module`` as it was before gevent or eventlet patched it."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None:
        return gevent.get_original(module, name)
    if eventlet is not None:
        return getattr(eventlet.original(module), name)
    return getattr(__import__(module), name)


def allocate_lock() -> Any:
    """Return a new lock of the operating system's."""
    return original("_thread", "allocate_lock")()


def reentrant_lock() -> Any:
    """Return a new reentrant lock of the operating system's."""
    return original("_thread", "RLock")()


def start_thread(function: Callable[..., object], *arguments: Any) -> None:
    """Run ``function`` on a new thread, which ends with the process; ``threading`` would take a lock of its own.

    SIGTERM is left to the application's threads: caught by one that only just begins, it would wake none of them.

    Raises RuntimeError where there can be no more threads, or the interpreter is ending.
    """
    if in_subinterpreter():  # its end waits for such threads, and aborts the process where there is another
        thread = threading.Thread(target=function, args=arguments, daemon=False)
        thread.start()
        _of_subinterpreter.append(thread)
        return
    with no_sigterm():
        original("_thread", "start_new_thread")(function, arguments)


_of_subinterpreter: list[threading.Thread] = []


def join_threads() -> None:
    """Wait for the threads of a subinterpreter, which have been told to end; elsewhere there are none to wait for."""
    for thread in _of_subinterpreter:
        thread.join()


@contextmanager
def no_sigterm() -> Iterator[None]:
    """Keep SIGTERM from this thread, and from those it starts meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_subinterpreter() -> bool:
    """Return whether this is not the interpreter that the process began with."""
    try:
        interpreters = __import__("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
        return bool(interpreters.get_current() != interpreters.get_main())
    except (ImportError, AttributeError):
        return False


def forks_later() -> bool:
    """Return whether this is uWSGI, about to fork its workers.

    It forks without Python's knowledge: a worker that is born while another thread holds the interpreter waits for
    it for ever.
    """
    uwsgi = _uwsgi()
    return uwsgi is not None and uwsgi.worker_id() == 0 and uwsgi.masterpid() in (0, os.getpid())


def is_mere_master() -> bool:
    """Return whether this is uWSGI's master process, which runs no Python once it has forked its workers."""
    uwsgi = _uwsgi()
    return uwsgi is not None and bool(uwsgi.masterpid() == os.getpid())


def _uwsgi() -> Any:
    """Return uWSGI's module: there from the beginning, though built in only where uWSGI runs Python itself."""
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi if hasattr(uwsgi, "worker_id") else None


class Wakeup:
    """Like an Event that ``wait`` clears; ``set`` is one C call, so it cannot be interrupted while it holds a lock.

    ``threading.Event`` can: a finaliser that runs inside its ``set`` and ends a span would wait for itself.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let the next (or the present) ``wait`` return at once."""
        try:
            self._lock.release()
        except RuntimeError:  # set already
            return

    def wait(self, timeout: float = -1) -> bool:
        """Wait until set, at most ``timeout`` seconds where it is not negative; return whether it was set."""
        return bool(self._lock.acquire(timeout=timeout))
