"""Starts spans: decides first whether a trace is recorded, and builds a span only if it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import getpid
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind
from opentelemetry.util.types import Attributes, AttributeValue

from obskit.base import process
from obskit.base.failures import misused
from obskit.base.records import NamedTuple
from obskit.base.values import text, truth
from obskit.tracing.attributes import clean_all
from obskit.tracing.current import SPAN_KEY, SUPPRESS_KEY, AnySpan, get_context
from obskit.tracing.details import moment
from obskit.tracing.ids import new_span_id, new_trace
from obskit.tracing.limits import limits
from obskit.tracing.propagated import NOOP_SPAN, PropagatedSpan, propagated
from obskit.tracing.sampling.rate import Verdict
from obskit.tracing.scope import Ending, SpanScope
from obskit.tracing.span import Span, begin_span

if TYPE_CHECKING:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from obskit.base.redaction import Redactor
    from obskit.tracing.provider import TracerProvider

Tags = dict[str, AttributeValue]
_INTERNAL = SpanKind.INTERNAL

OWN_SCOPE = "obskit"
"""The name of the tracer that the integrations and ``obskit.span`` use."""


class Tracer(otel.Tracer):
    """Makes the spans of one instrumenting library, as ``opentelemetry.trace.Tracer``."""

    def __init__(
        self,
        provider: TracerProvider,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.provider = provider
        self.name = name
        self.version = version
        self.schema_url = schema_url
        self.attributes = attributes or {}
        self._scope: tuple[Redactor, InstrumentationScope] | None = None

    @property
    def scope(self) -> InstrumentationScope:
        """The library, as the SDK's exporters want it, with secrets masked."""
        redactor = self.provider.redactor
        if self._scope is None or self._scope[0] is not redactor:
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope

            attributes = redactor.tags(self.attributes, mixed=True)
            self._scope = redactor, InstrumentationScope(self.name, self.version, self.schema_url, attributes)
        return self._scope[1]

    def start(
        self,
        name: str,
        kind: SpanKind,
        parent: object,
        tags: Tags,
        context: Context | None = None,
        given: Given | None = None,
    ) -> AnySpan:
        """Start a span below ``parent``: a span of ours or of another OpenTelemetry provider, or None for a new trace.

        An unsampled trace is not built: its ids alone stand for all its spans. Attached processors see the span with
        all it was ``given``, and the ``context`` that it was started in.
        """
        span: AnySpan
        if type(parent) is PropagatedSpan:
            span = self._continue(name, kind, tags, parent)
        elif type(parent) is Span:
            clock = parent.clock
            now = perf_counter_ns() + clock
            span = begin_span(self, name, kind, parent.trace_id, new_span_id(), parent.span_id, now, clock, tags)
            if parent.inherits:
                span.inherit(parent)
        elif parent is None:
            span = self._root(name, kind, tags, None)
        else:
            span = self._continue(name, kind, tags, propagated(parent))
        if given is not None and type(span) is Span:
            given.complete(span)
        if self.provider.processors:
            self.provider.started(span, get_context() if context is None else context)
        return span

    def passes_on(self, parent: PropagatedSpan) -> bool:
        """Return whether ``parent``, which is not sampled, stands for all spans below it: nothing needs to be started.

        It does unless spans are held for the case that their trace fails, or the message carried the decision alone.
        """
        return parent.trace_id is not None and self.provider.tail is None

    def _root(self, name: str, kind: SpanKind, tags: Tags, verdict: Verdict | None) -> AnySpan:
        """Start a trace; as in Brave, its first span id is the low half of the trace id."""
        if getpid() != process.pid:  # a call saved: this is asked for each trace
            process.check_fork()
        provider, now = self.provider, time_ns()
        trace_id, span_id = new_trace(now)
        if verdict is None:
            try:
                verdict = provider.sampler(trace_id, name, kind, tags) or provider.sampled_out
            except Exception:
                verdict = provider.undecided()
        if verdict is True:
            return begin_span(self, name, kind, trace_id, span_id, None, now, now - perf_counter_ns(), tags)
        tail = provider.tail
        if tail is not None:
            span = begin_span(self, name, kind, trace_id, span_id, None, now, now - perf_counter_ns(), tags)
            if tail.hold(span, verdict):
                return span
        if verdict:
            verdict.add()
        return PropagatedSpan(trace_id, span_id, sampled=False)

    def _continue(self, name: str, kind: SpanKind, tags: Tags, parent: PropagatedSpan) -> AnySpan:
        """Start the first span of a known trace here. A decision that came with it stands; else it is made here."""
        provider, tail, trace_id = self.provider, self.provider.tail, parent.trace_id
        verdict: Verdict | None = parent.sampled
        if verdict is False and self.passes_on(parent):
            return parent
        if getpid() != process.pid:
            process.check_fork()
        if verdict and provider.inbound is not None and parent.remote:
            verdict = provider.inbound()
        if trace_id is None:
            root = self._root(name, kind, tags, verdict)
            if parent.debug and verdict is True and type(root) is Span:
                root.debug = root.inherits = root.mixed = True
            return root
        if verdict is None:
            try:
                verdict = provider.sampler(trace_id, name, kind, tags) or provider.sampled_out
            except Exception:
                verdict = provider.undecided()
        if verdict is True or (tail is not None and (verdict or parent.remote)):
            now = time_ns()
            clock = now - perf_counter_ns()
            span = begin_span(self, name, kind, trace_id, new_span_id(), parent.span_id, now, clock, tags)
            if parent.debug:
                span.debug = span.inherits = span.mixed = True
            span.remote_parent = parent.remote
            if parent.trace_state is not None or parent.random:
                span.trace_state = parent.trace_state
                span.random = parent.random
                span.inherits = True
            if verdict is True or (tail is not None and tail.hold(span, verdict)):
                return span
            parent = _unrecorded(parent)
        if verdict:
            verdict.add()
        return parent.denied()

    def start_with(
        self,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
        given: Given | None,
        context: Context,
    ) -> AnySpan:
        """Start a span in ``context`` with what the application chose, whatever it is. Never raises."""
        try:
            current = None
            if context or type(context) is not Context:  # as within a request or another span
                if context.get(SUPPRESS_KEY):
                    return NOOP_SPAN
                current = context.get(SPAN_KEY)
            if type(name) is not str or (kind is not _INTERNAL and type(kind) is not SpanKind):
                name, kind = text(name), kind if type(kind) is SpanKind else SpanKind.INTERNAL
            if attributes:
                short = limits.short
                for key, value in attributes.items():
                    if not type(value) is type(key) is str or len(value) > short:
                        break
                else:
                    if len(attributes) <= limits.attributes:
                        return self.start(name, kind, current, {**attributes}, context, given)
                return self._start_mixed(name, kind, context, attributes, given or Given())
            if current is None and given is None and not self.provider.processors:
                return self._root(name, kind, {}, None)  # as ``start`` would
            return self.start(name, kind, current, {}, context, given)
        except Exception:
            misused("a new span")
            return self._start_bare(name, kind, context, given)

    def _start_mixed(
        self, name: str, kind: SpanKind, context: Context, attributes: Mapping[str, Any], given: Given
    ) -> AnySpan:
        tags, dropped = clean_all(attributes, limits.attributes, limits.length)
        return self.start(name, kind, context.get(SPAN_KEY), tags, context, given._replace(mixed=True, dropped=dropped))

    def _start_bare(self, name: object, kind: SpanKind, context: Context, given: Given | None) -> AnySpan:
        """Start a span without attributes, in the current context where the given one is none."""
        try:
            kind = kind if type(kind) is SpanKind else SpanKind.INTERNAL
            if not issubclass(type(context), Context):  # isinstance would ask the object itself
                context = get_context()
            return self.start(text(name), kind, context.get(SPAN_KEY), {}, context, given)
        except Exception:
            return NOOP_SPAN

    # opentelemetry.trace.Tracer

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> otel.Span:
        """Start a span that is not made current; times are epoch nanoseconds."""
        given = None
        if not (links is None and start_time is None and record_exception is True and set_status_on_exception is True):
            given = Given(links, start_time, record_exception, set_status_on_exception)
        return self.start_with(name, kind, attributes, given, get_context() if context is None else context)

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
        scope = SpanScope(self, name, kind, attributes)
        if (
            context is None
            and links is None
            and start_time is None
            and record_exception is True
            and set_status_on_exception is True
            and end_on_exit is True
        ):
            return scope
        given = None if links is None and start_time is None else Given(links, start_time)
        ending = Ending(truth(record_exception), truth(set_status_on_exception), truth(end_on_exit))
        scope.specify(given, context, ending)
        return scope


class Given(NamedTuple):
    """What few spans are started with, to be set before anybody sees the span."""

    links: Sequence[Link] | None = None
    start_time: int | None = None
    records_exception: bool = True
    sets_status: bool = True
    mixed: bool = False
    dropped: int = 0

    def complete(self, span: Span) -> None:
        """Set it, as far as it can be used. Never raises."""
        span.mixed = self.mixed or span.mixed
        span.dropped_attributes = self.dropped
        try:
            span.records_exception, span.sets_status = truth(self.records_exception), truth(self.sets_status)
            start = None if self.start_time is None else moment(self.start_time)
            span.start_ns = span.start_ns if start is None else start
            for link in self.links or ():
                if issubclass(type(link), Link):
                    span.add_link(link.context, link.attributes)
        except Exception:
            misused("a new span")


def _unrecorded(parent: PropagatedSpan) -> PropagatedSpan:
    """Return the state of a trace that is not recorded here; its next span is not taken for the first one here."""
    found = PropagatedSpan(parent.trace_id, parent.span_id, parent.parent_id, False, trace_state=parent.trace_state)
    found.random = parent.random
    return found
