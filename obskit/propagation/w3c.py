"""W3C Trace Context (https://www.w3.org/TR/trace-context/): ``traceparent`` and ``tracestate``."""

from __future__ import annotations

from obskit.base.patterns import pattern
from obskit.propagation.headers import Fields, Get, HeaderNames, sendable
from obskit.tracing.current import AnySpan
from obskit.tracing.propagated import PropagatedSpan, received

_VERSION_0 = pattern(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_LATER = pattern(r"(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_LONGEST_VERSION_0 = 55
_LONGEST = 512
_ZERO = "0" * 16  # the high half of a 64-bit id
_RANDOM = 2  # flag of level 2: the trace id is random, which stays true in each service that continues the trace


def extract(get: Get, names: HeaderNames) -> PropagatedSpan | None:
    """Return the context in ``traceparent``; None if it is absent or malformed."""
    text = get(names.traceparent)
    if text is None or len(text) > _LONGEST:
        return None
    match = _VERSION_0.fullmatch(text) if len(text) <= _LONGEST_VERSION_0 else None
    match = match or _LATER.fullmatch(text)
    if match is None:
        return None
    trace_id, span_id, flags = match[1], match[2], int(match[3], 16)
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    found = received(trace_id.removeprefix(_ZERO), span_id, None, bool(flags & 1), False)
    state = (get(names.tracestate) or "").strip(" \t")
    if state and len(state) <= _LONGEST and sendable(state):
        found.trace_state = state
    found.random = bool(flags & _RANDOM)
    return found


def fields(span: AnySpan) -> Fields:
    """Return ``traceparent`` (64-bit trace ids padded), and ``tracestate`` where one came in."""
    if span.trace_id is None or span.span_id is None:
        return []
    flags = (1 if span.sampled else 0) | (_RANDOM if span.random else 0)
    parent = "traceparent", f"00-{span.trace_id:0>32}-{span.span_id}-{flags:02x}"
    return [parent, ("tracestate", span.trace_state)] if span.trace_state else [parent]
