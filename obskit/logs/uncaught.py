"""Logs uncaught exceptions and warnings."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from obskit.base.failures import failed
from obskit.logs.consoles import shows
from obskit.logs.frames import like_loggings
from obskit.logs.handler import ConsoleHandler, handlers_of
from obskit.logs.writer import written

_logger = logging.getLogger("uncaught")


def install() -> None:
    """Log uncaught exceptions and warnings.

    Exception hooks that the application set are called as before; Python's own hook only if no record reaches the
    console. Warnings are left alone if the application shows them in its own way.
    """
    global _previous, _previous_thread
    if sys.excepthook is not _hook:
        _previous, sys.excepthook = sys.excepthook, _hook
    if threading.excepthook is not _thread_hook:
        _previous_thread, threading.excepthook = threading.excepthook, _thread_hook
    _capture_warnings()


def remove() -> None:
    """Restore the hooks, unless the application has set others since."""
    if sys.excepthook is _hook:
        sys.excepthook = _previous
    if threading.excepthook is _thread_hook:
        threading.excepthook = _previous_thread
    if warnings.showwarning is _show_warning:
        warnings.showwarning = _of_logging
        if _capturing:
            logging.captureWarnings(False)


def _capture_warnings() -> None:
    global _capturing, _show_warning  # noqa: PLW0603 - a process has one such hook
    if getattr(warnings.showwarning, "__module__", None) in _PYTHONS_OWN:
        logging.captureWarnings(True)  # now, so that a later call by the application does not replace our hook
        _capturing = True
    if warnings.showwarning is _of_logging:
        _show_warning = warnings.showwarning = _warning_logger()


def _hook(kind: Any, error: Any, traceback: Any) -> None:
    """Accept whatever Python's own hook does: None, an exception without traceback, another object."""
    logged = _is_exception(kind, error, traceback) and not issubclass(kind, KeyboardInterrupt)
    shown = logged and _log(logging.CRITICAL, "uncaught exception", (), (kind, error, traceback))
    if not shown or _previous is not sys.__excepthook__:
        _previous(kind, error, traceback)


def _thread_hook(args: Any) -> None:
    if not _shows_of_thread(args) or _previous_thread is not threading.__excepthook__:
        _previous_thread(args)


def _shows_of_thread(args: Any) -> bool:
    try:
        kind, error, traceback, thread = args.exc_type, args.exc_value, args.exc_traceback, args.thread
        if not _is_exception(kind, error, traceback) or issubclass(kind, SystemExit):
            return False
        name = thread.name if thread is not None else "?"
    except Exception:  # an object that Python's own hook does not accept either
        return False
    return _log(logging.ERROR, "uncaught exception in thread %s", (name,), (kind, error, traceback))


def _is_exception(kind: Any, error: Any, traceback: Any) -> bool:
    try:
        exception = isinstance(kind, type) and issubclass(kind, BaseException) and isinstance(error, BaseException)
        return exception and isinstance(traceback, TracebackType | None)
    except Exception:
        return False


def _log(level: int, message: str, args: tuple[object, ...], error: Any) -> bool:
    """Log an exception; return whether it was written to the console. Never raises."""
    _logger.disabled = False  # dictConfig disables loggers that it does not name
    before = written.value
    try:
        if not _logger.isEnabledFor(level):
            return False
        file, line, function = _raised_at(error[2])
        record = _logger.makeRecord(_logger.name, level, file, line, message, args, error, function)
        _logger.handle(record)
        return any(_shows(handler, record, before) for handler in _handlers())
    except Exception:  # raised by the application's handler or filter
        failed("logging an uncaught exception")
        return False


def _warning_logger() -> Callable[..., None]:
    """Return a ``warnings.showwarning`` that logs the location of the warning; logging's own logs that of its call."""
    py_warnings = logging.getLogger("py.warnings")

    def show(message: Any, category: Any, filename: Any, lineno: Any, file: Any = None, line: Any = None) -> None:
        py_warnings.disabled = False  # disabled by dictConfig: the warning would be lost
        if file is not None:
            _of_logging(message, category, filename, lineno, file, line)
            return
        text = warnings.formatwarning(message, category, filename, lineno, line)
        if not py_warnings.handlers:
            py_warnings.addHandler(logging.NullHandler())
        if py_warnings.isEnabledFor(logging.WARNING):
            record = py_warnings.makeRecord("py.warnings", logging.WARNING, filename, lineno, "%s", (text,), None)
            py_warnings.handle(record)

    return like_loggings(show)


def _raised_at(traceback: TracebackType | None) -> tuple[str, int, str | None]:
    """Return file, line and function that raised."""
    if traceback is None:
        return "", 0, None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return code.co_filename, traceback.tb_lineno, code.co_name


def _handlers() -> Iterator[logging.Handler]:
    """Yield the handlers that get the records of this module."""
    found = list(handlers_of(_logger.name))
    yield from found
    if not found and logging.lastResort is not None:
        yield logging.lastResort


def _shows(handler: logging.Handler, record: logging.LogRecord, before: int) -> bool:
    """Return whether ``handler`` wrote ``record`` to the console; ``before`` is the number of lines before."""
    ours = isinstance(handler, ConsoleHandler) and written.value > before
    return (ours or shows(handler)) and record.levelno >= handler.level and bool(handler.filter(record))


_previous: Any = sys.__excepthook__
_previous_thread: Any = threading.__excepthook__
_PYTHONS_OWN = ("warnings", "_py_warnings")
_of_logging: Any = logging._showwarning  # type: ignore[attr-defined]
_capturing = False
_show_warning: Any = None
