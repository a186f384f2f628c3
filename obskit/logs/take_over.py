"""Takes over the application's handlers that write to the console: obskit formats their lines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import MethodType
from typing import Any

from obskit.base.failures import failed
from obskit.logs.consoles import takes_over
from obskit.logs.events import processed
from obskit.logs.frames import like_loggings
from obskit.logs.handler import handlers_of, note_written

_Format = Callable[[Any, logging.LogRecord], str]


class TakeOver:
    """A descriptor in place of ``logging.Handler.format``: chooses the formatter on look-up, not on call.

    So no frame of obskit is between logging and the application's formatter, which may search for its caller; and
    ``logging.Handler.format``, read from the class, is the original.
    """

    def __init__(self, original: _Format, formatter: logging.Formatter) -> None:
        self._original = original

        def form(handler: logging.Handler, record: logging.LogRecord) -> str:
            line = formatter.format(processed(handler.formatter, record))
            note_written(record, line)
            _leave_traces(handler, record)
            return line

        self._form = like_loggings(form)

    def __get__(self, handler: logging.Handler | None, _owner: object = None) -> Any:
        if handler is None:
            return self._original
        try:
            ours = takes_over(handler)
        except Exception:  # raised by an attribute of the application's handler
            ours = False
        return MethodType(self._form if ours else self._original, handler)


def _leave_traces(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Set the attributes that the handler's own formatter would have set, as other handlers may rely on them."""
    own = handler.formatter or logging._defaultFormatter  # type: ignore[attr-defined]
    if sum(1 for _ in handlers_of(record.name)) < 2:
        return
    try:
        if own.usesTime():
            record.asctime = own.formatTime(record, own.datefmt)
        if record.exc_info and not record.exc_text:
            record.exc_text = own.formatException(record.exc_info)
    except Exception:
        failed("setting the attributes of a log record")
