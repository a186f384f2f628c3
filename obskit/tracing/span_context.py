"""OpenTelemetry's SpanContext, built only when somebody asks for one (it costs as much as the rest of a span)."""

from __future__ import annotations

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

RANDOM = 2
"""The flag of W3C Trace Context, level 2, that says that the trace id was made at random."""

_FLAGS = tuple(map(TraceFlags, range(4)))


def span_context(
    trace_id: str, span_id: str, remote: bool, sampled: bool, trace_state: str | None = None, random: bool = False
) -> SpanContext:
    """Return the SpanContext for hex ids; a 64-bit trace id keeps its value."""
    state = TraceState.from_header([trace_state]) if trace_state else None
    flags = _FLAGS[(1 if sampled else 0) + (RANDOM if random else 0)]
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, flags, state)
