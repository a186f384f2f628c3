"""loguru: a sink that writes Cloud Logging's JSON; use it by ``logger.add(obskit.logs.loguru.sink)``.

With ``enqueue=True`` loguru calls its sinks on a thread of its own, where trace and fields of the log call are unknown
and the traceback, which cannot be pickled, is missing. So the line is made when the record is put into the queue.
"""

from __future__ import annotations

import logging
from functools import wraps
from typing import Any

from obskit.base.failures import failed
from obskit.logs.formatter import CloudLoggingFormatter
from obskit.logs.writer import standard_output

_LINE = "obskit_line"
_formatter = CloudLoggingFormatter()


def sink(message: Any) -> None:
    """Write a loguru message to standard output as one line of strict JSON."""
    standard_output.write(render(message.record) + "\n")


def render(record: dict[str, Any]) -> str:
    """Return a loguru record as one line; values bound to the logger become fields."""
    line = record.get(_LINE)
    return line if isinstance(line, str) else _render(record)


def _render(record: dict[str, Any]) -> str:
    exception = record["exception"]
    return _formatter.format(
        logging.makeLogRecord(
            {
                "msg": "%s",
                "args": (record["message"],),
                "levelno": record["level"].no,
                "name": record["name"] or "loguru",
                "pathname": record["file"].path,
                "lineno": record["line"],
                "funcName": record["function"],
                "threadName": record["thread"].name,
                "created": record["time"].timestamp(),
                "exc_info": tuple(exception) if exception else None,
                "json_fields": record["extra"],
            }
        )
    )


class _LineOf:
    """A record's line, made when it is pickled: loguru pickles on the logging thread, after its filters."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        try:
            return str, (_render(self.record),)
        except Exception:
            failed("rendering a record of loguru's")
            return str, (_formatter.format(logging.makeLogRecord({"msg": "[not rendered]"})),)


def _keep_lines_in_queues() -> None:
    """Add the line to records that loguru queues for sinks that are functions. Does nothing if its internals differ."""
    try:
        from loguru import _handler
        from loguru._simple_sinks import CallableSink
    except ImportError:
        return
    owner: Any = _handler.Handler
    original = owner.emit
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def emit(handler: Any, record: dict[str, Any], *args: Any, **named: Any) -> Any:
        if getattr(handler, "_enqueue", False) and isinstance(getattr(handler, "_sink", None), CallableSink):
            record = {**record, _LINE: _LineOf(record)}
        return original(handler, record, *args, **named)

    owner.emit = emit


_keep_lines_in_queues()
