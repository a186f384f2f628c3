"""The handler that writes records to standard output unless a handler of the application does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from obskit.base.failures import failed
from obskit.logs.consoles import shows, takes_over
from obskit.logs.writer import lost, standard_output

_loggers = logging.root.manager.loggerDict
_last = threading.local()
_taken_over_write = False
_shipped: Callable[[logging.LogRecord, str], object] | None = None


def ship_to(take: Callable[[logging.LogRecord, str], object] | None) -> None:
    """Call ``take`` with each record that is written to the console, and its line; None ends this."""
    global _shipped  # noqa: PLW0603 - set by init(), for the handlers of all loggers
    _shipped = take


def note_written(record: logging.LogRecord, line: str) -> None:
    """Note that a handler of the application has just written ``record`` on this thread.

    The record is identified by its time: a handler's filter may replace it by a copy, which shares that object.
    """
    global _taken_over_write  # noqa: PLW0603 - most programs have no such handler, and can skip the thread-local
    _last.created = vars(record).get("created")
    _taken_over_write = True
    if _shipped is not None:
        _shipped(record, line)


class ConsoleHandler(logging.Handler):
    """Writes each record to standard output, unless a handler of the application does.

    It blocks as ``print`` does: a slow reader slows the program, and nothing is lost. If standard output is closed or
    its reader is gone, lines are counted as lost and the program goes on. Without a formatter it uses that of
    ``obskit.init()``, or JSON.
    """

    yields = False
    """Whether other handlers of this class take precedence: the one that ``obskit.init()`` adds yields to them."""

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._alone: list[logging.Handler] = [self]
        standard_output.follow()

    def handle(self, record: logging.LogRecord) -> Any:
        """Write one line, unless a filter rejects the record. Takes no handler lock, as the writer has its own."""
        if self.filters:
            kept: Any = self.filter(record)  # from 3.12 on a filter may replace the record
            if not kept:
                return kept
            record = kept if isinstance(kept, logging.LogRecord) else record
        try:
            if _taken_over_write and getattr(_last, "created", None) is record.created:
                return True
            if self._is_shown_elsewhere(record):
                return True
            line = (self.formatter or default_formatter()).format(record) + "\n"
        except Exception:
            failed("formatting a log record")
            lost.add()
            return True
        if _shipped is not None:
            _shipped(record, line)
        standard_output.write(line)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line. Never raises."""
        self.handle(record)

    def flush(self) -> None:
        """Write lines that had to wait."""
        standard_output.flush()

    def _is_shown_elsewhere(self, record: logging.LogRecord) -> bool:
        """Return whether another handler, of the root logger or the record's own loggers, shows it on the console.

        Nothing is cached: handlers, their levels and streams, and ``propagate`` change at any time. This runs for each
        record, so the loop over loggers is written out: a generator would cost 0.8 % of a line.
        """
        alone, root = self._alone, logging.root
        if root.handlers != alone:
            for one in root.handlers:
                if one is not self and self._comes_first(one):
                    return True
        logger: Any = _loggers.get(record.name)
        if type(logger) is logging.PlaceHolder:
            return False
        while logger is not None and logger is not root:
            if logger.handlers and logger.handlers != alone:
                for one in logger.handlers:
                    if one is not self and record.levelno >= one.level and self._shows_unnoted(one):
                        return True
            logger = logger.parent if logger.propagate else None
        return False

    def _shows_unnoted(self, handler: logging.Handler) -> bool:
        return self._comes_first(handler) and not takes_over(handler)

    def _comes_first(self, handler: logging.Handler) -> bool:
        if isinstance(handler, ConsoleHandler):
            return self.yields
        return shows(handler)


def handlers_of(name: str) -> Iterator[logging.Handler]:
    """Yield the handlers that get a logger's records, as ``logging.Logger.callHandlers`` finds them."""
    logger: Any = logging.root.manager.loggerDict.get(name)
    if not isinstance(logger, logging.Logger):
        logger = logging.root
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def default_formatter() -> logging.Formatter:
    """Return the formatter for handlers without one."""
    global _default  # noqa: PLW0603 - made on demand, or by init()
    if _default is None:
        from obskit.logs.formatter import CloudLoggingFormatter

        _default = CloudLoggingFormatter()
    return _default


def share_formatter(formatter: logging.Formatter | None) -> None:
    """Set the formatter for handlers without one."""
    global _default  # noqa: PLW0603 - handlers made by dictConfig can get it only from here
    _default = formatter


_default: logging.Formatter | None = None
