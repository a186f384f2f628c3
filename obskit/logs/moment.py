"""Keeps trace and fields on records that wait in a queue or buffer.

They are formatted on another thread, or when a later record flushes the buffer: then the current trace is another.
"""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

from obskit.base.failures import failed
from obskit.base.plain import Renderer
from obskit.logs.context import TraceFields, current_trace, log_fields
from obskit.logs.served import served_trace, trace_of_record

TRACE, FIELDS = "obskit_trace", "obskit_fields"
"""Attributes of a record: its trace as a tuple, or None; the fields of ``log_context`` as plain values."""


def note_moment(record: logging.LogRecord) -> None:
    """Set the current trace and fields on ``record``, as values that can be pickled for another process."""
    if TRACE not in vars(record):
        _note(record, trace_of_record(record))


def note_served(record: logging.LogRecord) -> None:
    """Set the trace on a line that a server logs of a request which it has left."""
    if TRACE not in vars(record) and current_trace() is None:
        trace = served_trace(record)
        if trace is not None:
            _note(record, trace)


def _note(record: logging.LogRecord, trace: TraceFields | None) -> None:
    known = vars(record)
    known[TRACE] = None if trace is None else tuple(trace)
    fields = log_fields()
    if fields:
        known[FIELDS] = Renderer().plain(fields)


def waiting_handlers(module: ModuleType) -> list[type[logging.Handler]]:
    """Return the classes of ``logging.handlers`` that queue or buffer records."""
    return [module.QueueHandler, module.BufferingHandler]


def filter_noting(handler: logging.Handler, record: logging.LogRecord) -> Any:
    """Replace ``filter`` of handlers that queue or buffer: it is called at once for each record.

    ``prepare``, ``emit`` and ``enqueue`` are unsuitable: applications override them, and they call formatters.
    """
    try:
        note_moment(record)
    except Exception:
        failed("noting the trace of a log record")
    return logging.Filterer.filter(handler, record)
