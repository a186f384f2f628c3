"""Google's ``X-Cloud-Trace-Context``, ``TRACE_ID/SPAN_ID;o=OPTIONS``, read if there is neither B3 nor W3C.

Google's front ends add it. Rules as in zipkin-gcp's propagation: the trace id is 32 hex characters whose halves
are not zero, the span id decimal (zero or absent: none), ``o`` the decision (absent: deferred). Never injected.
"""

from __future__ import annotations

from obskit.base.patterns import pattern
from obskit.propagation.headers import Get, HeaderNames
from obskit.tracing.propagated import PropagatedSpan

_PATTERN = pattern(r"([0-9a-f]{32})(?:/([0-9]{1,20}))?(?:;o=([01]))?")
_LONGEST = 57
_ZERO = "0" * 16


def extract(get: Get, names: HeaderNames) -> PropagatedSpan | None:
    """Return the context in the header; None if it is absent or malformed."""
    text = get(names.cloud_trace_context)
    match = _PATTERN.fullmatch(text) if text is not None and len(text) <= _LONGEST else None
    if match is None or _ZERO in (match[1][:16], match[1][16:]):
        return None
    span_id = int(match[2] or 0)
    if span_id >= 2**64:
        return None
    sampled = None if match[3] is None else match[3] == "1"
    return PropagatedSpan(match[1], f"{span_id:016x}" if span_id else None, sampled=sampled, remote=True)
