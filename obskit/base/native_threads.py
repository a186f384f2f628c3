"""Native threads and locks, even if gevent or eventlet have replaced Python's by their own.

A worker in a greenlet would run only while no other does, and a lock made before the patching would block all of them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from obskit.base.process import on_fork


def original(module: str, name: str) -> Any:
    """Return the attribute ``name`` of a standard ``module`` as it was before gevent or eventlet patched it."""
    of = getattr(sys.modules.get("gevent.monkey"), "get_original", None)  # not there yet amid its import
    if of is not None:
        return of(module, name)
    of = getattr(sys.modules.get("eventlet.patcher"), "original", None)
    return getattr(__import__(module) if of is None else of(module), name)


def allocate_lock() -> Any:
    """Return a new native lock."""
    return original("_thread", "allocate_lock")()


def reentrant_lock() -> Any:
    """Return a new native reentrant lock."""
    return original("_thread", "RLock")()


def start_thread(name: str, function: Callable[..., object], *arguments: Any) -> None:
    """Run ``function`` on a new native thread, which ends with the process. (``threading`` would take a lock.)

    It is not among the threads of ``threading``: programs join all of them, or wait until there is none but their own.

    SIGTERM is left to the application's threads: caught by a thread that is just starting, it would wake none of them.

    Raises RuntimeError if no thread can be started, or the interpreter is shutting down.
    """
    if in_subinterpreter():  # its end waits for such threads, and aborts the process where there is another
        thread = threading.Thread(target=function, args=arguments, name=name, daemon=False)
        thread.start()
        _of_subinterpreter.append(thread)
        return
    count_own_threads()  # forgets those that have ended
    started = _Started()
    _started.add(started)
    try:
        with no_sigterm():
            original("_thread", "start_new_thread")(_run, (started, name, function, arguments))
    except BaseException:
        _started.discard(started)
        raise


_own: dict[int, str] = {}
"""The names of obskit's threads, by the numbers that ``threading`` has for them."""
on_fork(_own.clear)  # a thread of the application's may get such a number


class _Started:
    """A thread of obskit's: from before it runs until the system has none of its number."""

    native_id = 0


_started: set[_Started] = set()
on_fork(_started.clear)
TASKS = "/proc/self/task"
"""Where Linux has a file for each thread of this process."""


def count_own_threads() -> int:
    """Return how many threads of obskit's there are for Linux: one that has ended for Python may not have yet."""
    for thread in _started.copy():
        if thread.native_id and not os.path.exists(f"{TASKS}/{thread.native_id}"):
            _started.discard(thread)
    return len(_started)


def _run(started: _Started, name: str, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    started.native_id = original("_thread", "get_native_id")()
    here = threading.get_ident()
    _own[here] = name
    try:
        function(*arguments)
    finally:
        hide_own_thread()
        _own.pop(here, None)


def name_of_own_thread(ident: int) -> str | None:
    """Return the name of a thread of obskit's; None for others."""
    return _own.get(ident)


@contextmanager
def named() -> Iterator[None]:
    """Show this thread's name, if it is obskit's, to what is called in the block: lines of the log have it."""
    name = _own.get(threading.get_ident())
    if name is not None:
        threading.current_thread().name = name
    try:
        yield
    finally:
        hide_own_thread()


def hide_own_thread() -> None:
    """Take this thread, if it is obskit's, from those of ``threading``: whatever asks for the current one adds it."""
    here = threading.get_ident()
    if here in _own:
        threading._active.pop(here, None)  # type: ignore[attr-defined]


_of_subinterpreter: list[threading.Thread] = []


def join_threads() -> None:
    """Wait for the threads of a subinterpreter, which were told to end; return at once in the main interpreter."""
    for thread in _of_subinterpreter:
        thread.join()


@contextmanager
def no_sigterm() -> Iterator[None]:
    """Block SIGTERM on this thread, and on threads that it starts in the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_subinterpreter() -> bool:
    """Return whether this is not the main interpreter."""
    try:
        interpreters = __import__("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
        return bool(interpreters.get_current() != interpreters.get_main())
    except (ImportError, AttributeError):
        return False


def forks_later() -> bool:
    """Return whether this is uWSGI, about to fork its workers.

    It forks without Python's knowledge: a worker that is forked while another thread holds the interpreter lock waits
    for it for ever.
    """
    uwsgi = _uwsgi()
    return uwsgi is not None and uwsgi.worker_id() == 0 and uwsgi.masterpid() in (0, os.getpid())


def is_mere_master() -> bool:
    """Return whether this is uWSGI's master process, which runs no Python once it has forked its workers."""
    uwsgi = _uwsgi()
    return uwsgi is not None and bool(uwsgi.masterpid() == os.getpid())


def _uwsgi() -> Any:
    """Return uWSGI's built-in module if uWSGI runs this Python; else None."""
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi if hasattr(uwsgi, "worker_id") else None


class Wakeup:
    """An event that ``wait`` clears; ``set`` is one C call, so it cannot be interrupted while it holds a lock.

    ``threading.Event`` can: a finaliser that runs inside its ``set`` and ends a span would wait for itself.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let the current or next ``wait`` return at once."""
        try:
            self._lock.release()
        except RuntimeError:  # set already
            return

    def wait(self, timeout: float = -1) -> bool:
        """Wait until set, at most ``timeout`` seconds unless negative; return whether it was set."""
        return bool(self._lock.acquire(timeout=timeout))
