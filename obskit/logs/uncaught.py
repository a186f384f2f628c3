"""Exceptions nobody caught, and warnings, as log records."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from obskit.logs.handler import ConsoleHandler, writes_to_console, written
from obskit.tracing.failures import failed

_logger = logging.getLogger("uncaught")


def install() -> None:
    """Log uncaught exceptions and warnings.

    Hooks that the application set are called as before; Python's own, where no record of it reaches the console.
    """
    global _previous, _previous_thread, _captured
    if sys.excepthook is not _hook:
        _previous, sys.excepthook = sys.excepthook, _hook
    if threading.excepthook is not _thread_hook:
        _previous_thread, threading.excepthook = threading.excepthook, _thread_hook
    logging.captureWarnings(True)
    if warnings.showwarning is not _show_warning:
        _captured, warnings.showwarning = warnings.showwarning, _show_warning


def remove() -> None:
    """Put the hooks back, where nobody has set others since."""
    if sys.excepthook is _hook:
        sys.excepthook = _previous
    if threading.excepthook is _thread_hook:
        threading.excepthook = _previous_thread
    if warnings.showwarning is _show_warning:
        warnings.showwarning = _captured
    logging.captureWarnings(False)


def _hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    shown = _log(logging.CRITICAL, "uncaught exception", (), (kind, error, traceback))
    if not shown or _previous is not sys.__excepthook__:
        _previous(kind, error, traceback)


def _thread_hook(args: Any) -> None:
    if args.exc_type is SystemExit:
        return
    name = args.thread.name if args.thread is not None else "?"
    error = (args.exc_type, args.exc_value, args.exc_traceback)
    shown = _log(logging.ERROR, "uncaught exception in thread %s", (name,), error)
    if not shown or _previous_thread is not threading.__excepthook__:
        _previous_thread(args)


def _show_warning(*args: Any, **kwargs: Any) -> None:
    logging.getLogger("py.warnings").disabled = False  # by dictConfig: the warning would be seen nowhere
    _captured(*args, **kwargs)


def _log(level: int, message: str, args: tuple[object, ...], error: Any) -> bool:
    """Log an exception; return whether it was written to the console. Never raises."""
    _logger.disabled = False  # dictConfig disables what it does not name, and was not asked about this one
    if not _logger.isEnabledFor(level):
        return False
    before = written.value
    try:
        file, line, function = _raised_at(error[2])
        record = _logger.makeRecord(_logger.name, level, file, line, message, args, error, function)
        _logger.handle(record)
        return any(_shows(handler, record, before) for handler in _handlers())
    except Exception:  # of a handler or a filter of the application's
        failed("logging an uncaught exception")
        return False


def _raised_at(traceback: TracebackType | None) -> tuple[str, int, str | None]:
    """Return the file, line and function that raised."""
    if traceback is None:
        return "", 0, None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return code.co_filename, traceback.tb_lineno, code.co_name


def _handlers() -> Iterator[logging.Handler]:
    """Yield the handlers that are offered our records, as ``logging.Logger.callHandlers`` finds them."""
    logger: logging.Logger | None = _logger
    found = False
    while logger is not None:
        found = found or bool(logger.handlers)
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None
    if not found and logging.lastResort is not None:
        yield logging.lastResort


def _shows(handler: logging.Handler, record: logging.LogRecord, before: int) -> bool:
    """Return whether ``handler`` wrote ``record`` to the console; ``before`` it, so many lines were written."""
    ours = isinstance(handler, ConsoleHandler) and written.value > before
    return (ours or writes_to_console(handler)) and record.levelno >= handler.level and bool(handler.filter(record))


_previous: Any = sys.__excepthook__
_previous_thread: Any = threading.__excepthook__
_captured: Any = warnings.showwarning
