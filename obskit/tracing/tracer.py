"""Starts spans: decides first whether a trace is recorded, and builds a span only if it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.util.types import Attributes, AttributeValue

from obskit.tracing.current import SPAN_KEY, SUPPRESS_KEY, AnySpan, get_context
from obskit.tracing.ids import new_span_id, new_trace_id
from obskit.tracing.process import check_fork
from obskit.tracing.propagated import NOOP_SPAN, PropagatedSpan, propagated
from obskit.tracing.sampling.rate import Verdict
from obskit.tracing.scope import CallScope, SpanScope
from obskit.tracing.span import Span, new_clock
from obskit.tracing.values import SMALL, clean, error_text

if TYPE_CHECKING:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from obskit.tracing.provider import TracerProvider

Tags = dict[str, AttributeValue]


class Tracer(otel.Tracer):
    """Makes the spans of one instrumenting library, as ``opentelemetry.trace.Tracer``."""

    def __init__(
        self, provider: TracerProvider, name: str, version: str | None = None, schema_url: str | None = None
    ) -> None:
        self.provider = provider
        self.name = name
        self.version = version
        self.schema_url = schema_url

    @property
    def scope(self) -> InstrumentationScope:
        """The library, as the SDK's exporters want it."""
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        return InstrumentationScope(self.name, self.version, self.schema_url)

    def start(self, name: str, kind: SpanKind, parent: object, tags: Tags) -> AnySpan:
        """Start a span below ``parent``: a span of ours or of another OpenTelemetry provider, or None for a new trace.

        An unsampled trace is not built: its ids alone stand for all its spans.
        """
        span: AnySpan
        if type(parent) is Span:
            span = self._child(name, kind, parent, tags)
        elif parent is None:
            span = self._root(name, kind, tags, None, False)
        else:
            span = self._continue(name, kind, tags, propagated(parent))
        if self.provider.processors:
            self.provider.started(span)
        return span

    def _child(self, name: str, kind: SpanKind, parent: Span, tags: Tags) -> Span:
        span = Span(self, name, kind, parent.trace_id, new_span_id(), parent.span_id, parent.clock, parent.debug, tags)
        if parent.inherits:
            span.inherit(parent)
        return span

    def _root(self, name: str, kind: SpanKind, tags: Tags, verdict: Verdict | None, debug: bool) -> AnySpan:
        """Start a trace; as in Brave, its first span id is the low half of the trace id."""
        check_fork()
        provider, trace_id = self.provider, new_trace_id()
        if verdict is None:
            try:
                verdict = provider.sampler(trace_id, name, kind, tags) or provider.sampled_out
            except Exception:
                verdict = provider.undecided()
        if verdict is True:
            return Span(self, name, kind, trace_id, trace_id[16:], None, new_clock(), debug, tags)
        tail = provider.tail
        if tail is not None:
            span = Span(self, name, kind, trace_id, trace_id[16:], None, new_clock(), debug, tags)
            if tail.hold(span, verdict):
                return span
        if verdict:
            verdict.add()
        return PropagatedSpan(trace_id, trace_id[16:], sampled=False)

    def _continue(self, name: str, kind: SpanKind, tags: Tags, parent: PropagatedSpan) -> AnySpan:
        """Start the first span of a known trace here. A decision that came with it stands; else it is made here."""
        provider, tail, trace_id = self.provider, self.provider.tail, parent.trace_id
        verdict: Verdict | None = parent.sampled
        if verdict is False and tail is None and trace_id is not None:
            return parent.denied()
        check_fork()
        if verdict and provider.inbound is not None and parent.remote:
            verdict = provider.inbound()
        if trace_id is None:
            return self._root(name, kind, tags, verdict, parent.debug)
        if verdict is None:
            try:
                verdict = provider.sampler(trace_id, name, kind, tags) or provider.sampled_out
            except Exception:
                verdict = provider.undecided()
        if verdict is True or (tail is not None and (verdict or parent.remote)):
            span = Span(self, name, kind, trace_id, new_span_id(), parent.span_id, new_clock(), parent.debug, tags)
            if parent.remote:
                span.remote_parent = True
            if parent.trace_state is not None:
                span.trace_state = parent.trace_state
                span.inherits = True
            if verdict is True or (tail is not None and tail.hold(span, verdict)):
                return span
            parent = _unrecorded(parent)
        if verdict:
            verdict.add()
        return parent.denied()

    def start_with(self, name: str, kind: SpanKind, parent: object, attributes: Mapping[str, Any] | None) -> AnySpan:
        """Start a span with tags of the application's, whatever they hold."""
        if not attributes:
            return self.start(name, kind, parent, {})
        for value in attributes.values():
            if type(value) is not str or len(value) > SMALL:
                return self._start_mixed(name, kind, parent, attributes)
        return self.start(name, kind, parent, dict(attributes))

    def _start_mixed(self, name: str, kind: SpanKind, parent: object, attributes: Mapping[str, Any]) -> AnySpan:
        tags = {key: clean(value) for key, value in attributes.items()}
        span = self.start(name, kind, parent, tags)
        if isinstance(span, Span):
            for value in tags.values():
                span.note(value)
        return span

    # opentelemetry.trace.Tracer

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002 - part of the interface; use_span acts on it
        set_status_on_exception: bool = True,  # noqa: ARG002
    ) -> otel.Span:
        """Start a span that is not made current; times are epoch nanoseconds."""
        current = get_context() if context is None else context
        return self._start_span(name, current, kind, attributes, links, start_time)

    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> SpanScope:
        """Return a span that is current for a ``with`` block, or for each call of the function it decorates."""

        def start(current: Context) -> AnySpan:
            return self._start_span(name, current if context is None else context, kind, attributes, links, start_time)

        def end(span: AnySpan, error: BaseException | None) -> None:
            if isinstance(error, Exception) and span.is_recording():
                if record_exception:
                    span.record_exception(error)
                if set_status_on_exception:
                    span.set_status(Status(StatusCode.ERROR, error_text(error)))
            if end_on_exit:
                span.end()

        return CallScope(start, end)

    def _start_span(
        self,
        name: str,
        context: Context,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link] | None,
        start_time: int | None,
    ) -> AnySpan:
        if context.get(SUPPRESS_KEY):
            return NOOP_SPAN
        span = self.start_with(name, kind, context.get(SPAN_KEY), attributes)
        if (links or start_time is not None) and isinstance(span, Span):
            span.links = tuple(links or ())
            span.start_ns = span.start_ns if start_time is None else start_time
        return span


def _unrecorded(parent: PropagatedSpan) -> PropagatedSpan:
    """Return the state of a trace that is not recorded here; its next span is not taken for the first one here."""
    return PropagatedSpan(parent.trace_id, parent.span_id, parent.parent_id, False, trace_state=parent.trace_state)
