"""Trace and span ids, as lower-case hex text: 32 or 16 characters for a trace, 16 for a span.

They are the system's random bytes, so that an application's ``random.seed()`` neither fixes our ids nor is disturbed
by them, and every process asks for its own, so that forked workers never share an id.

OpenTelemetry's SpanContext, built only when somebody asks for one (it costs as much as the rest of a span).
"""

from __future__ import annotations

from os import urandom

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


_SECOND = 10**9
_ZERO = "0" * 16
_AT_ONCE = 64  # to make each alone takes four times as long
_span_ids: list[str] = []  # which no span has yet
_take_span_id = _span_ids.pop  # one step, so that no two threads get the same
_second, _next_second, _high_half = 0, 0, ""


def new_trace(now: int) -> tuple[str, str]:
    """Return the ids of a trace and of its first span, which starts ``now`` (epoch nanoseconds).

    As Brave makes them, a 128-bit trace id begins with the epoch seconds, and ends with the span's id.
    """
    try:
        if not _second <= now < _next_second:
            _begin_second(now // _SECOND)
        span_id = _take_span_id()
    except IndexError:
        _make_more()
        return new_trace(now)
    return _high_half + span_id, span_id


def _begin_second(second: int) -> None:
    """Make the first half of all trace ids of this second in this process: the time, and 32 random bits.

    The text goes first: another thread that sees the new second already must not find the text missing.
    """
    global _second, _next_second, _high_half  # noqa: PLW0603 - kept for all traces of this second
    _high_half = f"{second & 0xFFFFFFFF:08x}{urandom(4).hex()}"
    _second, _next_second = second * _SECOND, (second + 1) * _SECOND


def new_span_id() -> str:
    """Return a 64-bit span id that is not zero."""
    try:
        return _take_span_id()
    except IndexError:
        _make_more()
        return new_span_id()


def _make_more() -> None:
    text = urandom(8 * _AT_ONCE).hex(" ", 8)
    made = text.split()
    _span_ids.extend([one for one in made if one != _ZERO] if _ZERO in text else made)


def _forget() -> None:
    global _next_second  # noqa: PLW0603 - as above
    _span_ids.clear()
    _next_second = 0


on_fork(_forget)
