"""Trace and span ids, as lower-case hex text: 32 or 16 characters for a trace, 16 for a span.

They are the system's random bytes, so that an application's ``random.seed()`` neither fixes our ids nor is disturbed
by them, and every process asks for its own, so that forked workers never share an id.

OpenTelemetry's SpanContext, built only when somebody asks for one (it costs as much as the rest of a span).
"""

from __future__ import annotations

from os import urandom
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


_ZERO = "0" * 16
_AT_ONCE = 64  # to make each alone takes four times as long
_span_ids: list[str] = []  # 16 characters each, which no span has yet
_tails: list[str] = []  # 24 characters each: what follows the time in a trace id
_take_span_id = _span_ids.pop  # one step, so that no two threads get the same
_take_tail = _tails.pop
_second, _next_second, _hex_second = 0.0, 0.0, ""  # floats, as the clock's: CPython compares two of a kind faster
on_fork(_span_ids.clear)
on_fork(_tails.clear)


def new_trace_id() -> str:
    """Return a 128-bit trace id whose first 32 bits are the epoch seconds, as Brave makes them."""
    try:
        now = time()
        if not _second <= now < _next_second:
            _begin_second(int(now))
        return _hex_second + _take_tail()
    except IndexError:
        _make_more(_tails, 12)
        return new_trace_id()


def _begin_second(second: int) -> None:
    """Write the time once for all traces of this second.

    The text goes first: another thread that sees the new second already must not find the text missing.
    """
    global _second, _next_second, _hex_second  # noqa: PLW0603 - kept for all traces of this second
    _hex_second = f"{second & 0xFFFFFFFF:08x}"
    _second, _next_second = float(second), second + 1.0


def new_span_id() -> str:
    """Return a 64-bit span id that is not zero."""
    try:
        return _take_span_id()
    except IndexError:
        _make_more(_span_ids, 8)
        return new_span_id()


def _make_more(ids: list[str], size: int) -> None:
    """Add random ``ids`` of ``size`` bytes; the last eight, which are or become a span's, are never all zero."""
    text = urandom(size * _AT_ONCE).hex(" ", size)
    made = text.split()
    ids += [one for one in made if not one.endswith(_ZERO)] if _ZERO in text else made
