"""A span of which only the propagated state is known: a remote parent, or one that is not recorded."""

from __future__ import annotations

from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanContext
from opentelemetry.trace import Span as OtelSpan

from obskit.tracing.ids import RANDOM, span_context


class PropagatedSpan(NonRecordingSpan):
    """Ids and a sampling decision without a recording; every recording method does nothing.

    ``trace_id`` and ``span_id`` are hex text, both None where a message carried a decision alone.
    ``sampled`` is True, False, or None where the decision is left to the receiver; ``debug`` implies True.
    ``trace_state`` is the W3C ``tracestate`` header's text, where there was one; ``random`` is the flag of a
    ``traceparent`` that says how the trace id was made.
    """

    __slots__ = ("debug", "parent_id", "random", "remote", "sampled", "span_id", "trace_id", "trace_state")

    def __init__(
        self,
        trace_id: str | None,
        span_id: str | None,
        parent_id: str | None = None,
        sampled: bool | None = None,
        debug: bool = False,
        remote: bool = False,
        trace_state: str | None = None,
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.sampled = sampled
        self.debug = debug
        self.remote = remote
        self.trace_state = trace_state
        self.random = False

    def denied(self) -> PropagatedSpan:
        """Return the state of the same trace, not sampled."""
        if self.sampled is False:
            return self
        found = PropagatedSpan(
            self.trace_id, self.span_id, self.parent_id, False, remote=self.remote, trace_state=self.trace_state
        )
        found.random = self.random
        return found

    def get_span_context(self) -> SpanContext:
        """Return the state as OpenTelemetry sees it; a deferred decision appears as not sampled."""
        if self.trace_id is None or self.span_id is None:
            return INVALID_SPAN_CONTEXT
        return span_context(self.trace_id, self.span_id, self.remote, bool(self.sampled), self.trace_state, self.random)

    def tag(self, key: str, value: object) -> None:
        """Do nothing: this span is not recorded."""

    def annotate(self, text: str) -> None:
        """Do nothing: this span is not recorded."""

    def error(self, error: BaseException | str) -> None:
        """Do nothing: this span is not recorded."""

    def fail(self, error: BaseException | None, records_exception: bool, sets_status: bool) -> None:
        """Do nothing: this span is not recorded."""

    def __repr__(self) -> str:
        return f"PropagatedSpan(trace_id={self.trace_id!r}, span_id={self.span_id!r}, sampled={self.sampled})"


NOOP_SPAN = PropagatedSpan(None, None)
_new = PropagatedSpan.__new__


def received(
    trace_id: str | None, span_id: str | None, parent_id: str | None, sampled: bool | None, debug: bool
) -> PropagatedSpan:
    """Return the state that a message carried. CPython calls a function more cheaply than an ``__init__``."""
    self = _new(PropagatedSpan)
    self.trace_id = trace_id
    self.span_id = span_id
    self.parent_id = parent_id
    self.sampled = sampled
    self.debug = debug
    self.remote = True
    self.trace_state = None
    self.random = False
    return self


def propagated(span: object) -> PropagatedSpan:
    """Return what ``span`` propagates: obskit's spans themselves, another provider's by its SpanContext."""
    if isinstance(span, PropagatedSpan):
        return span
    if not isinstance(span, OtelSpan):
        return NOOP_SPAN
    context = span.get_span_context()
    if not context.is_valid:
        return NOOP_SPAN
    found = PropagatedSpan(
        trace_id_text(context.trace_id),
        f"{context.span_id:016x}",
        sampled=context.trace_flags.sampled,
        remote=context.is_remote,
        trace_state=context.trace_state.to_header() or None,
    )
    found.random = bool(context.trace_flags & RANDOM)
    return found


def trace_id_text(trace_id: int) -> str:
    """Return a trace id as B3 writes it: 16 characters where the high half is zero, else 32."""
    return f"{trace_id:016x}" if trace_id < 2**64 else f"{trace_id:032x}"
