"""Exceptions nobody caught, and warnings, as log records."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

_logger = logging.getLogger("uncaught")


def install() -> None:
    """Log uncaught exceptions and warnings. Hooks that the application set are called as before."""
    global _previous, _previous_thread
    if sys.excepthook is not _hook:
        _previous, sys.excepthook = sys.excepthook, _hook
    if threading.excepthook is not _thread_hook:
        _previous_thread, threading.excepthook = threading.excepthook, _thread_hook
    logging.captureWarnings(True)


def remove() -> None:
    """Put the hooks back, where nobody has set others since."""
    if sys.excepthook is _hook:
        sys.excepthook = _previous
    if threading.excepthook is _thread_hook:
        threading.excepthook = _previous_thread
    logging.captureWarnings(False)


def _hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    _logger.critical("uncaught exception", exc_info=(kind, error, traceback))
    if _previous is not sys.__excepthook__:
        _previous(kind, error, traceback)


def _thread_hook(args: Any) -> None:
    if args.exc_type is SystemExit:
        return
    name = args.thread.name if args.thread is not None else "?"
    _logger.error("uncaught exception in thread %s", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))
    if _previous_thread is not threading.__excepthook__:
        _previous_thread(args)


_previous: Any = sys.__excepthook__
_previous_thread: Any = threading.__excepthook__
