"""The trace that a log record belongs to, and fields that every record in a scope carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context

from obskit.base.records import NamedTuple
from obskit.tracing.current import FIELDS_KEY, SPAN_KEY, attach, detach, get_context
from obskit.tracing.propagated import PropagatedSpan
from obskit.tracing.span import Span


class TraceFields(NamedTuple):
    """Trace id (32 hex characters), span id (16) and whether the trace is sampled, as log entries name them."""

    trace_id: str
    span_id: str
    sampled: bool


def current_trace() -> TraceFields | None:
    """Return the trace of the current span; None outside a trace."""
    return trace_of(get_context().get(SPAN_KEY))


def trace_of(span: object) -> TraceFields | None:
    """Return the trace of a span, of obskit or another OpenTelemetry provider; None for anything else."""
    if isinstance(span, Span | PropagatedSpan):
        if span.trace_id is None or span.span_id is None:
            return None
        return TraceFields(span.trace_id.zfill(32), span.span_id, bool(span.sampled))
    return None if span is None else _foreign(span)


def _foreign(span: object) -> TraceFields | None:
    context = getattr(span, "get_span_context", lambda: None)()
    if context is None or not context.is_valid:
        return None
    return TraceFields(f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled)


_NONE: Mapping[str, Any] = {}


@contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Add ``fields`` to every log record of the block, of its tasks, and of the threads that it submits work to.

    Inner scopes add to outer ones and override them; a record's own ``extra=`` overrides both.
    """
    context = get_context()
    token = attach(Context({**context, FIELDS_KEY: {**log_fields(), **fields}}))
    try:
        yield
    finally:
        detach(token)


def log_fields() -> Mapping[str, Any]:
    """Return the fields of the current scopes."""
    found = get_context().get(FIELDS_KEY, _NONE)
    return found if isinstance(found, Mapping) else _NONE
