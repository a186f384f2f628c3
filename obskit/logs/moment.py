"""What a record that waits in a queue or a buffer belongs to: the trace and the fields of where it was logged.

It is formatted on another thread, or when a later record empties the buffer.
"""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

from obskit.base.failures import failed
from obskit.base.plain import Renderer
from obskit.logs.context import current_trace, log_fields

TRACE, FIELDS = "obskit_trace", "obskit_fields"
"""Attributes of a record: its trace as a tuple, None outside a trace; the fields of ``log_context`` as plain values."""


def note_moment(record: logging.LogRecord) -> None:
    """Note the current trace and fields on ``record``, as values that a queue between processes can pickle."""
    known = vars(record)
    if TRACE in known:
        return
    trace = current_trace()
    known[TRACE] = None if trace is None else tuple(trace)
    fields = log_fields()
    if fields:
        known[FIELDS] = Renderer().plain(fields)


def waiting_handlers(module: ModuleType) -> list[type[logging.Handler]]:
    """Return the classes of ``logging.handlers`` whose records wait."""
    return [module.QueueHandler, module.BufferingHandler]


def filter_noting(handler: logging.Handler, record: logging.LogRecord) -> Any:
    """Stand in for the ``filter`` of handlers whose records wait: all that is called for each of them at once.

    ``prepare``, ``emit`` and ``enqueue`` are what applications replace, and call a formatter.
    """
    try:
        note_moment(record)
    except Exception:
        failed("noting the trace of a log record")
    return logging.Filterer.filter(handler, record)
