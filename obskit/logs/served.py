"""The trace of what a server logs of a request when the request's span is current no more.

Servers write their access line, or that the application raised, after the application: gunicorn and granian always,
uvicorn and hypercorn where they answer 500 themselves. They do so on the thread, greenlet or task that called it.
"""

from __future__ import annotations

from collections.abc import Mapping
from logging import LogRecord
from urllib.parse import unquote

from obskit.base.interruptions import let_through
from obskit.base.patterns import pattern
from obskit.instrumentation.http_tags import decoded
from obskit.instrumentation.server import latest_exchange
from obskit.instrumentation.server_exchange import ServerExchange
from obskit.logs.context import TraceFields, current_trace, trace_of

ACCESS_LOGGERS = frozenset(
    ["uvicorn.access", "gunicorn.access", "hypercorn.access", "granian.access", "werkzeug", "django.server"]
)
"""The loggers of servers whose lines tell of one request each."""

_LINE = pattern(r"([A-Z]+) (\S+) (?:HTTP/)?[0-9.]+\b")  # hypercorn's protocol is a bare version


def trace_of_record(record: LogRecord) -> TraceFields | None:
    """Return the current trace; without one, that of the request which a server's ``record`` is about."""
    return current_trace() or served_trace(record)


def served_trace(record: LogRecord) -> TraceFields | None:
    """Return the trace of the request that a server's line is about, if this thread or task has served it last."""
    if not record.exc_info and record.name not in ACCESS_LOGGERS:
        return None
    is_about = _failed_by if record.exc_info else _is_line_of
    exchange = latest_exchange()
    return trace_of(exchange.span) if exchange is not None and is_about(record, exchange) else None


def _failed_by(record: LogRecord, exchange: ServerExchange) -> bool:
    """Return whether a record shows the exception by which an exchange ended."""
    shown = record.exc_info
    return type(shown) is tuple and shown[1] is not None and id(shown[1]) == exchange.failure


def _is_line_of(record: LogRecord, exchange: ServerExchange) -> bool:
    """Return whether an access line has the method and path of an exchange: the latest may be of another request."""
    try:
        method, target = _request(record)
    except Exception:  # a format or arguments of the application's own
        let_through()
        return False
    return method == exchange.method and decoded(unquote(target.partition("?")[0])) == exchange.path


def _request(record: LogRecord) -> tuple[str, str]:
    """Return method and target, from what the line is made of where that says it: its format is the user's."""
    atoms = record.args
    if isinstance(atoms, Mapping) and "method" in atoms:  # granian's
        return str(atoms["method"]), str(atoms["path"])
    line = str(atoms["r"]) if isinstance(atoms, Mapping) else record.getMessage()
    found = _LINE.search(line)
    return (found[1], found[2]) if found is not None else ("", "")
