"""Formatters, usable from any logging configuration by dotted name."""

from __future__ import annotations

import logging
from functools import lru_cache
from operator import itemgetter
from time import gmtime, strftime
from typing import Any

from opentelemetry.context import Context

from obskit.base.interruptions import let_through
from obskit.instrumentation.server import keep_latest
from obskit.logs import insert_ids
from obskit.logs.context import TraceFields, trace_of
from obskit.logs.entry import INSERT_ID, EntryBuilder, formatted_completed, not_formatted
from obskit.logs.jsonline import dumps
from obskit.logs.moment import TRACE
from obskit.logs.served import ACCESS_LOGGERS
from obskit.tracing.current import FIELDS_KEY, LIFE_KEY, SPAN_KEY, Life, get_context, stored_context

_MOST_PLACES = 10_000
_place_of = itemgetter("pathname", "lineno", "funcName", "name", "threadName", "levelno")


_Now = tuple[Context | None, Life | None, bool, str, str]
"""What a context says of the records that are logged in it: the context, its life, whether it has fields of
``log_context``, and the trace as text with its prefix. A plain tuple, which CPython unpacks fastest."""


class CloudLoggingFormatter(logging.Formatter):
    """One line of strict JSON a record, in the format of Cloud Logging's agents.

    Without a ``builder`` it uses that of ``obskit.init()``, or one without service and project. Recurring parts
    (severity, second, source location) are cached as text, so that a line costs little more than its message.
    """

    def __init__(self, *_format: Any, builder: EntryBuilder | None = None, **_options: Any) -> None:
        """Accept, and ignore, the arguments that ``logging.config`` passes: a format, a style and so on."""
        super().__init__()
        keep_latest()  # for what a server logs after a request
        self._builder = next((given for given in _format if isinstance(given, EntryBuilder)), builder)
        self._places: dict[tuple[Any, ...], tuple[str, bool]] = {}
        self._second = (float("inf"), "")
        self._now: _Now = (None, None, False, "", "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Never raises: for a value that cannot be shown its type is shown."""
        try:
            builder = self._builder or _shared
            known = record.__dict__
            context, life, has_scope, trace, prefix = self._now
            if (
                stored_context() is not context
                or (life is not None and life.ended)
                or prefix is not builder.trace_prefix
            ):
                _, _, has_scope, trace, prefix = self._new_now(builder.trace_prefix)
            place, is_access = self._places.get(_place_of(known)) or self._new_place(record, known)
            quick = "" if has_scope or is_access else builder.quick(record, known)
            fields = quick or _fields(builder.read(record))
            if TRACE in known:  # also where ``read`` has just found it
                trace = _trace_text(prefix, known[TRACE])
            second, time = self._second
            since = known["created"] - second
            if not 0.0 <= since < 1.0:
                since, time = self._new_second(known["created"])
            digits = "%09d" % (since * 1e9)  # noqa: UP031 - takes a third less time than a format specifier
            return f'{place}{time}{digits}Z"{trace}{builder.origin}{fields}}}'
        except Exception:
            let_through()
            return self._format_anyhow(record)

    def _format_anyhow(self, record: logging.LogRecord) -> str:
        """Return the line of a record from which a filter has removed attributes; else one that names its type."""
        line = formatted_completed(record, self.format)
        return line or dumps({"severity": "DEFAULT", "message": not_formatted(record)}).decode()

    def _new_second(self, created: float) -> tuple[float, str]:
        """Return an epoch time's fraction of a second, and the start of its field up to the decimal point."""
        second = created // 1
        text = strftime('"time":"%Y-%m-%dT%H:%M:%S.', gmtime(second))
        self._second = second, text
        return created - second, text

    def _new_now(self, prefix: str) -> _Now:
        """Return what the current context says, cached for the last one, as a span often logs more than once."""
        now, context = self._now, get_context()
        if context is not now[0] or prefix is not now[-1]:
            trace = _trace_text(prefix, trace_of(context.get(SPAN_KEY)))
            life: Any = context.get(LIFE_KEY)
            self._now = now = (context, life, FIELDS_KEY in context, trace, prefix)
        return now  # not what another thread may have put there

    def _new_place(self, record: logging.LogRecord, known: dict[str, Any]) -> tuple[str, bool]:
        """Return the line's beginning (severity, source location, logger and thread), and if it is an access line."""
        begin: dict[str, Any] = {"severity": severity(record.levelno)}
        if record.pathname:
            source = {"file": record.pathname, "line": str(record.lineno), "function": record.funcName}
            begin["logging.googleapis.com/sourceLocation"] = source
        text = dumps({**begin, "logger": record.name, "thread": record.threadName})[:-1].decode() + ","
        place = text, record.name in ACCESS_LOGGERS
        if len(self._places) < _MOST_PLACES:
            self._places[_place_of(known)] = place
        return place


def _fields(entry: dict[str, Any]) -> str:
    """Return an entry as the end of a line, without the closing brace."""
    insert_id = "" if INSERT_ID in entry else f',"{INSERT_ID}":"{insert_ids.new()}"'
    return f"{insert_id},{dumps(entry)[1:-1].decode()}"


def _trace_text(prefix: str, trace: TraceFields | None) -> str:
    """Return the trace's fields as text; none outside a trace."""
    if not trace:
        return ""
    trace_id, span_id, sampled = trace
    return (
        f',"logging.googleapis.com/trace":"{prefix}{trace_id}","logging.googleapis.com/spanId":"{span_id}"'
        f',"logging.googleapis.com/trace_sampled":{"true" if sampled else "false"}'
    )


_shared = EntryBuilder()


def shared_builder() -> EntryBuilder:
    """Return the builder of all formatters that were made without one."""
    return _shared


def share_builder(builder: EntryBuilder) -> None:
    """Set the builder of all formatters that were made without one."""
    global _shared  # noqa: PLW0603 - formatters made by dictConfig can get it only from here
    _shared = builder


_NAMES = (
    (60, "ALERT"),
    (50, "CRITICAL"),
    (40, "ERROR"),
    (30, "WARNING"),
    (25, "NOTICE"),
    (20, "INFO"),
    (1, "DEBUG"),
)


@lru_cache(maxsize=128)
def severity(level: int | None) -> str:
    """Return the severity of a level: DEFAULT for None and up to 0, NOTICE for 25, ALERT from 60."""
    return next((name for lowest, name in _NAMES if (level or 0) >= lowest), "DEFAULT")
