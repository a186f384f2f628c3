"""structlog: a processor that adds the trace, and a renderer that writes Cloud Logging's JSON.

``structlog.configure(processors=[..., CloudLoggingRenderer()])`` needs no more; ``add_trace`` is for those who keep a
renderer of their own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from obskit.logs.correlation import current_trace
from obskit.logs.formatter import CloudLoggingFormatter

EventDict = MutableMapping[str, Any]

_LEVELS = {"warn": "WARNING", "exception": "ERROR", "fatal": "CRITICAL", "msg": "INFO"}


def add_trace(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Add ``trace_id``, ``span_id`` and ``trace_sampled`` of the current span; nothing outside a trace."""
    trace = current_trace()
    if trace is not None:
        event.update(trace._asdict())
    return event


class CloudLoggingRenderer:
    """Renders an event as one line of strict JSON, as ``CloudLoggingFormatter`` does a log record.

    It takes ``event``, ``level``, ``logger``, ``exc_info`` and what CallsiteParameterAdder adds to their places.
    The loggers that structlog makes by itself have no name: bind one as ``logger``, or use the standard library's.
    """

    def __init__(self, formatter: CloudLoggingFormatter | None = None) -> None:
        self._formatter = formatter or CloudLoggingFormatter()

    def __call__(self, logger: Any, method: str, event: EventDict) -> str:
        """Return the line."""
        fields = dict(event)
        level = str(fields.pop("level", method))
        record = {
            "msg": "%s",
            "args": (fields.pop("event", ""),),
            "levelno": _number(fields.pop("level_number", None), level),
            "name": fields.pop("logger", None) or getattr(logger, "name", None) or "structlog",
            "pathname": fields.pop("pathname", None) or fields.pop("filename", ""),
            "lineno": fields.pop("lineno", 0),
            "funcName": fields.pop("func_name", None),
            "exc_info": _exc_info(fields.pop("exc_info", None)),
            "exc_text": fields.pop("exception", None),
        }
        fields.pop("timestamp", None)
        return self._formatter.format(logging.makeLogRecord({**record, "json_fields": fields}))


def _number(given: Any, name: str) -> int:
    if isinstance(given, int):
        return given
    number = logging.getLevelName(_LEVELS.get(name.lower(), name.upper()))
    return number if isinstance(number, int) else logging.INFO


def _exc_info(given: Any) -> Any:
    """Return what structlog accepts as ``exc_info`` (True, an exception, a tuple) as logging's tuple."""
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if given is True:
        found = sys.exc_info()
        return found if found[0] is not None else None
    return given if isinstance(given, tuple) else None
