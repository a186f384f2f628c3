"""OpenTelemetry's SpanContext, built only when somebody asks for one (it costs as much as the rest of a span)."""

from __future__ import annotations

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)


def span_context(
    trace_id: str, span_id: str, remote: bool, sampled: bool, trace_state: str | None = None
) -> SpanContext:
    """Return the SpanContext for hex ids; a 64-bit trace id keeps its value."""
    state = TraceState.from_header([trace_state]) if trace_state else None
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, _SAMPLED if sampled else _NOT_SAMPLED, state)
