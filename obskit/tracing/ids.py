"""Trace and span ids, as lower-case hex text: 32 or 16 characters for a trace, 16 for a span.

The generator is our own, so that an application's ``random.seed()`` neither fixes our ids nor is disturbed
by them, and every process seeds its own, so that forked workers never share an id.

OpenTelemetry's SpanContext, built only when somebody asks for one (it costs as much as the rest of a span).
"""

from __future__ import annotations

import random
from time import time

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from obskit.base.process import on_fork

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


_generator = random.Random()
_random_bits = _generator.getrandbits
_ZERO = "0" * 16


on_fork(_generator.seed)  # from the system's randomness: to seed with bytes would import a module in each child


def new_trace_id() -> str:
    """Return a 128-bit trace id whose first 32 bits are the epoch seconds, as Brave makes them."""
    return (int(time()) << 96 | _random_bits(96)).to_bytes(17, "big").hex()[2:]


def new_span_id() -> str:
    """Return a 64-bit span id that is not zero."""
    span_id = _random_bits(64).to_bytes(8, "big").hex()
    return span_id if span_id != _ZERO else new_span_id()
