"""The handler that writes lines to standard output where none of the application's does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from obskit.base.failures import failed
from obskit.logs.consoles import shows, takes_over
from obskit.logs.writer import lost, standard_output

_last = threading.local()
_taken_over_write = False
_shipped: Callable[[logging.LogRecord, str], object] | None = None


def ship_to(take: Callable[[logging.LogRecord, str], object] | None) -> None:
    """Have ``take`` called with each record that is written to the console, and its line; None ends that."""
    global _shipped  # noqa: PLW0603 - set by init(), for the handlers of all loggers
    _shipped = take


def note_written(record: logging.LogRecord, line: str) -> None:
    """Remember that a handler of the application's has just written ``record`` on this thread.

    It is known again by its time: a handler's filter may put a copy in its place, which shares that very object.
    """
    global _taken_over_write  # noqa: PLW0603 - most programs have no such handler, and need not ask each thread
    _last.created = vars(record).get("created")
    _taken_over_write = True
    if _shipped is not None:
        _shipped(record, line)


class ConsoleHandler(logging.Handler):
    """Writes each record to standard output, unless a handler of the application's does.

    It writes as ``print`` does: a reader that is slow slows the program, and nothing is lost. Where standard output
    is closed or its reader is gone, lines are counted as lost and the program goes on. Without a formatter it writes
    as ``obskit.init()`` has it, or JSON.
    """

    yields = False
    """Whether other handlers of this kind come first: the one that ``obskit.init()`` adds writes what no other does."""

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        standard_output.follow()

    def handle(self, record: logging.LogRecord) -> Any:
        """Write one line, unless a filter objects. Without the handler's lock: the writer has its own."""
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
        """Write what had to wait."""
        standard_output.flush()

    def _is_shown_elsewhere(self, record: logging.LogRecord) -> bool:
        """Return whether a handler shows records on the console that the root logger or the record's own has.

        Nothing is remembered: handlers, their levels and streams, and what a logger passes on change at any time.
        Each record comes here, so it goes through the loggers itself: a generator would cost 0.8 % of a line.
        """
        for one in logging.root.handlers:
            if one is not self and self._comes_first(one):
                return True
        logger: Any = logging.root.manager.loggerDict.get(record.name)
        while isinstance(logger, logging.Logger) and logger is not logging.root:
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
    """Yield the handlers that are offered a logger's records, as ``logging.Logger.callHandlers`` finds them."""
    logger: Any = logging.root.manager.loggerDict.get(name)
    if not isinstance(logger, logging.Logger):
        logger = logging.root
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def default_formatter() -> logging.Formatter:
    """Return the formatter of handlers that have none."""
    global _default  # noqa: PLW0603 - made when it is needed, and by init()
    if _default is None:
        from obskit.logs.formatter import CloudLoggingFormatter

        _default = CloudLoggingFormatter()
    return _default


def share_formatter(formatter: logging.Formatter | None) -> None:
    """Make ``formatter`` the one of handlers that have none."""
    global _default  # noqa: PLW0603 - handlers made by dictConfig have no other way to it
    _default = formatter


_default: logging.Formatter | None = None
