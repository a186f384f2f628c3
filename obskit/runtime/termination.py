"""Deliveries when a process ends by SIGTERM or without ``atexit`` functions; its exit status is as without obskit."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from obskit.base.failures import failed
from obskit.base.native_threads import in_subinterpreter, reentrant_lock, start_thread
from obskit.instrumentation.patching import Patches, guarded
from obskit.runtime.alarm import Alarm, caught_natively, default_natively, rest

_INIT = 1  # the system ignores signals that this process does not handle, so it would not end
_PAUSES = (0.02, 0.05, 0.1, 0.3)  # seconds


class _Default(int):
    """Calls ``handle``, and shows as SIG_DFL, whose number it has: as which the application may test or restore it.

    One that finds another handler takes it for a part of the application: it calls that, or leaves its own out.
    """

    handle: Callable[[int, FrameType | None], None]

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.handle(number, frame)

    def __int__(self) -> int:
        raise TypeError("signal.signal would set the number, which is the default")


class Termination:
    """Handles SIGTERM: calls ``deliver``, then lets the signal end the process as by default.

    At the latest after ``longest()`` seconds: an application's span processor may flush without end.

    An application that handles the signal itself, before or after, is left alone: its handler either ends the process
    so that exit handlers run, or intends it not to end.

    A forked child starts with the system's default: CPython loses a signal that it catches while the child starts,
    which is when ``Process.terminate()`` is often called. The handler is set again once there is something to deliver.
    """

    def __init__(self, deliver: Callable[[], object], longest: Callable[[], float]) -> None:
        self._handler = _Default(0)
        self._handler.handle = self._handle
        self._deliver = deliver
        self._longest = longest
        self._alarm = Alarm(self._see_to_it, self._ours)
        self._one_at_a_time = reentrant_lock()
        self._begun = self._taken_over = self._watched = False
        self._shielded = threading.local()

    def watch(self) -> None:
        """Handle SIGTERM from now on, on the main thread, unless the application or an embedding program does."""
        if not _on_main_thread() or not self._free():
            return
        try:
            signal.signal(signal.SIGTERM, self._handler)
        except ValueError:  # `threading` was imported on another thread first, which it takes for the main one
            return
        except Exception:  # the application's or mod_wsgi's own signal.signal
            failed("watching for SIGTERM")
        self._watched = self._watching()

    def watch_closely(self) -> None:
        """Handle SIGTERM, now that there is something to deliver, on whatever thread this runs."""
        self.watch()
        if self._watching():
            self._alarm.set(chain=True)
        elif not _on_main_thread() and self._free():
            self._alarm.set(chain=False)

    def watch_setting(self, patches: Patches) -> None:
        """Handle SIGTERM again where the application sets the default: that is what it takes obskit's handler for.

        Servers restore so what they found, before they raise the signal that they have caught once more.
        """
        guarded("watching for handlers", patches.wrap, signal, "signal", self._set)
        guarded("watching for interrupts", patches.wrap, _thread, "interrupt_main", self._interrupt)

    def _set(self, wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before = wrapped(*args, **kwargs)
        if self._watched and not self._watching() and _is_default():
            guarded("watching for SIGTERM again", self.watch)
        return before

    def _interrupt(self, wrapped: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args == (signal.SIGTERM,) and self._watching():  # it calls handlers of Python, of which there is none
            return None
        return wrapped(*args, **kwargs)

    def leave(self) -> None:
        """Restore the system's default for SIGTERM, unless the handler was replaced."""
        self._watched = False
        self._alarm.unset()
        if self._watching() and _on_main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _free(self) -> bool:
        return _is_default() and os.getpid() != _INIT and not (in_subinterpreter() or caught_natively())

    def _watching(self) -> bool:
        return _signal.getsignal(signal.SIGTERM) is self._handler

    def _ours(self) -> bool:
        return self._watching() or _is_default()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        with self._one_at_a_time:
            again, self._begun = self._begun, True
            self.leave()
        if not again:
            self._end()
        while self._taken_over:
            rest(1.0)

    def _end(self) -> None:
        """Deliver, then let the signal end the process; a second signal meanwhile ends it at once."""
        guarded("limiting the delivery before SIGTERM", start_thread, "obskit-sigterm-end", self._end_late)
        try:
            self._deliver()
        except BaseException:  # Ctrl-C meanwhile, too: the process ends by the first signal
            failed("delivering before SIGTERM")
        if self._taken_over:
            self._alarm.unset()
            default_natively()
        os.kill(os.getpid(), signal.SIGTERM)

    def _end_late(self) -> None:
        rest(self._longest())
        default_natively()
        os.kill(os.getpid(), signal.SIGTERM)

    def _see_to_it(self) -> None:
        """Make sure that a caught signal is handled: interrupt the main thread's blocking call, or handle it here."""
        for pause in _PAUSES if self._watching() else ():
            rest(pause)
            with self._one_at_a_time:
                if self._begun or not self._watching():
                    return
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        rest(_PAUSES[0])
        with self._one_at_a_time:
            if self._begun or not self._ours():
                return
            self._begun = self._taken_over = True
            if _is_default():
                self._alarm.unset()
        self._end()

    # A fork, during which SIGTERM waits

    def before_fork(self) -> None:
        """Block SIGTERM during the fork if obskit handles it: CPython loses a signal caught while a child starts."""
        blocks = self._watching() or self._alarm.is_set
        self._shielded.now = blocks and signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def after_fork(self) -> None:
        """Let SIGTERM in again."""
        if getattr(self._shielded, "now", False):
            self._shielded.now = False
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])

    def after_fork_in_child(self) -> None:
        """Restore SIGTERM's default in a forked child, then unblock it."""
        self._one_at_a_time, self._begun, self._taken_over = reentrant_lock(), False, False
        self._alarm.unset_in_child()
        self.leave()
        self.after_fork()


def _is_default() -> bool:
    """Return whether Python has no handler, not even obskit's."""
    found = _signal.getsignal(signal.SIGTERM)
    return type(found) is int and found == signal.SIG_DFL


def _on_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident
