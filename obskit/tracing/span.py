"""A recorded span: cheap to make, held as plain values until the worker encodes it.

How much memory a waiting span takes, about: asked for every span, so an estimate that costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.util.types import Attributes, AttributeValue

from obskit.base.failures import misused
from obskit.base.values import error_text, text
from obskit.tracing.attributes import clean, clean_key, weigh
from obskit.tracing.details import Event, event, exception_attributes, link, moment
from obskit.tracing.ids import span_context
from obskit.tracing.limits import SMALL, LimitSettings, limits

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from obskit.tracing.sampling.tail import Held
    from obskit.tracing.tracer import Tracer


_short, _most_tags = limits.short, limits.attributes  # as globals: looked up in one step for each tag


def keep_to(counts: LimitSettings) -> None:
    """Keep all spans to these limits from now on."""
    global _short, _most_tags
    limits.use(counts)
    _short, _most_tags = limits.short, limits.attributes


class Span(OtelSpan):
    """One timed operation of a recorded trace; implements ``opentelemetry.trace.Span``.

    Ids are lower-case hex text, times epoch nanoseconds. ``clock`` is the offset that turns the monotonic clock into
    epoch time, as of the first span of a trace in this process; the others share it, so that their starts line up, and
    no step of the wall clock makes a duration wrong. ``tags`` holds what OpenTelemetry calls attributes,
    ``events`` its events and Zipkin's annotations.
    Nothing changes after ``end()``: from then on the span belongs to the exporters. ``sampled`` is False while it is
    ``held``: its trace is recorded for the case that it fails. Children take over what ``inherit`` says. ``mixed``
    tells whether a tag is no short text, or there is more than tags; ``heavy``, once it has ended, how much all that
    takes, for whoever bounds a queue of spans. ``failed`` tells whether ``error()`` was called, ``status_set``
    whether OpenTelemetry's status says anything. What there was no room for is counted as ``dropped_...``.

    No call raises, whatever it is given: what cannot be used is left out, and the log says so once.
    """

    # Slots for what every span sets, class attributes for what few do: half the time of nineteen slots. A span whose
    # __dict__ is empty has none of the latter.
    __slots__ = (
        "clock", "end_ns", "heavy", "kind", "mixed", "name", "parent_id", "remote_endpoint", "remote_parent",
        "span_id", "start_ns", "tags", "trace_id", "tracer", "unended",
    )  # fmt: skip
    tracer: Tracer
    name: str
    kind: SpanKind
    trace_id: str
    span_id: str
    parent_id: str | None
    tags: dict[str, AttributeValue]
    unended: bool
    remote_endpoint: tuple[str, int | None] | None
    remote_parent: bool
    start_ns: int
    end_ns: int | None
    clock: int
    heavy: int
    mixed: bool
    sampled = True
    debug = False
    random = False
    failed = False
    held: Held | None = None
    inherits = False
    events: Sequence[Event] = ()
    links: Sequence[Link] = ()
    dropped_attributes = dropped_events = dropped_links = 0
    records_exception = sets_status = True  # where an exception leaves the span's own ``with`` block
    status = Status()
    status_set = False
    trace_state: str | None = None

    # What applications call

    def annotate(self, text: str) -> None:
        """Record that something happened now, as a Zipkin annotation."""
        self.add_event(text)

    def error(self, error: BaseException | str) -> None:
        """Mark the span as failed: Zipkin's ``error`` tag, with the exception's class and message."""
        if self.end_ns is None:
            self.tags["error"] = error_text(error)
            self.failed = True

    def inherit(self, parent: Span) -> None:
        """Take over what few traces have: only where ``parent.inherits``, so that the others do not look for it."""
        self.inherits = True
        self.debug = self.mixed = parent.debug
        self.random = parent.random
        self.trace_state = parent.trace_state
        self.sampled = parent.sampled
        self.held = parent.held

    # opentelemetry.trace.Span

    def end(self, end_time: int | None = None) -> None:
        """End the span now, or at ``end_time`` (epoch nanoseconds), and hand it over; later calls do nothing."""
        unended, self.unended = self.unended, False  # no other thread comes between, as in ``Pipeline.offer``
        if not unended:
            return
        if end_time is not None:
            end_time = moment(end_time)
        self.end_ns = perf_counter_ns() + self.clock if end_time is None else end_time
        if self.mixed:
            self.heavy += _weight(self)
        self.tracer.provider.report(self)

    def get_span_context(self) -> SpanContext:
        """Return the ids as OpenTelemetry's SpanContext."""
        return span_context(self.trace_id, self.span_id, False, self.sampled, self.trace_state, self.random)

    def is_recording(self) -> bool:
        """Return True until the span has ended."""
        return self.end_ns is None

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute (a tag): text, a number, a boolean, bytes, None, or a list or map of these."""
        if self.end_ns is None:
            if type(value) is type(key) is str and len(value) <= _short:
                tags = self.tags
                tags[key] = value
                if len(tags) > _most_tags:
                    self._make_room()
            else:
                self.mixed = True
                self.tags[key if type(key) is str else clean_key(key)] = clean(value, limits.length)
                if len(self.tags) > limits.attributes:
                    self._make_room()

    tag = set_attribute
    """Set a tag; what is no text, number, boolean, bytes, None, list or map is kept as its text."""

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes (tags)."""
        try:
            for key, value in attributes.items():
                self.set_attribute(key, value)
        except Exception:
            misused("Span.set_attributes()")

    def _make_room(self) -> None:
        """Leave out the oldest tags where there are too many, as OpenTelemetry's SDK does."""
        tags = self.tags
        while len(tags) > limits.attributes:
            tags.pop(next(iter(tags), ""), None)  # with a default: another thread may have taken it
            self.dropped_attributes += 1

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Record an event now, or at ``timestamp`` (epoch nanoseconds)."""
        if self.end_ns is None:
            when = None if timestamp is None else moment(timestamp)
            when = perf_counter_ns() + self.clock if when is None else when
            try:
                made = event(when, name, attributes)
            except Exception:
                misused("Span.add_event()")
                made = event(when, name, None)
            if self._keep("events", made, limits.events):
                self.dropped_events += 1

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Link the span to another one; Zipkin has no links, OpenTelemetry exporters receive them."""
        if self.end_ns is None:
            try:
                made = link(context, attributes)
            except Exception:
                misused("Span.add_link()")
                return
            if made is not None and self._keep("links", made, limits.links):
                self.dropped_links += 1

    def _keep(self, where: str, made: object, most: int) -> bool:
        """Append to the span's events or links; return whether the oldest had to go."""
        self.mixed = True
        found: deque[object] = self.__dict__.get(where) or self.__dict__.setdefault(where, deque(maxlen=most))
        full = len(found) == most
        found.append(made)
        return full

    def update_name(self, name: str) -> None:
        """Rename the span."""
        if self.end_ns is None:
            self.name = text(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set OpenTelemetry's status; as its specification says, OK is final and UNSET changes nothing."""
        try:
            code, said = (
                (status, description) if isinstance(status, StatusCode) else (status.status_code, status.description)
            )
            self._set_status(StatusCode(code), said)
        except Exception:
            misused("Span.set_status()")

    def _set_status(self, code: StatusCode, description: object) -> None:
        final = self.end_ns is not None or self.status.status_code is StatusCode.OK
        if not final and code is not StatusCode.UNSET:
            said = text(description) if code is StatusCode.ERROR and description is not None else None
            self.status = Status(code, said)
            self.status_set = self.mixed = True

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record ``exception`` as OpenTelemetry's ``exception`` event, with its traceback."""
        if self.end_ns is None:
            details = exception_attributes(exception, escaped)
            try:
                details.update(attributes or {})
            except Exception:
                misused("Span.record_exception()")
            self.add_event("exception", details, timestamp)

    def fail(self, error: BaseException | None, records_exception: bool, sets_status: bool) -> None:
        """Take down what a ``with`` block raised. What is no Exception ends a program or a task, and is no error."""
        if self.end_ns is None and error is not None and issubclass(type(error), Exception):
            if records_exception:
                self.record_exception(error)
            if sets_status:
                self.set_status(StatusCode.ERROR, error_text(error))

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """End the span, marked as failed if the block raised, unless ``start_span`` was told otherwise."""
        self.fail(exc_val, self.records_exception, self.sets_status)
        self.end()

    # opentelemetry.sdk.trace.ReadableSpan, for processors

    context = property(get_span_context)

    @property
    def parent(self) -> SpanContext | None:
        """The parent's SpanContext, or None for the root of a trace."""
        if self.parent_id is None:
            return None
        return span_context(
            self.trace_id, self.parent_id, self.remote_parent, self.sampled, self.trace_state, self.random
        )

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """The tags."""
        return MappingProxyType(self.tags)

    @property
    def start_time(self) -> int:
        """Epoch nanoseconds."""
        return self.start_ns

    @property
    def end_time(self) -> int | None:
        """Epoch nanoseconds, or None while the span is open."""
        return self.end_ns

    @property
    def resource(self) -> Resource:
        """The process that made the span."""
        return self.tracer.provider.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        """The library that made the span."""
        return self.tracer.scope

    def __repr__(self) -> str:
        return f"Span({self.name!r}, trace_id={self.trace_id!r}, span_id={self.span_id!r})"


_NAME_AND_IDS = 2


def begin_span(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    trace_id: str,
    span_id: str,
    parent_id: str | None,
    start: int,
    clock: int,
    tags: dict[str, AttributeValue],
) -> Span:
    """Return a span that began at ``start``. CPython calls a function more cheaply than an ``__init__``."""
    self = Span()
    self.tracer = tracer
    self.name = name
    self.kind = kind
    self.trace_id = trace_id
    self.span_id = span_id
    self.parent_id = parent_id
    self.start_ns = start
    self.clock = clock
    self.tags = tags
    self.unended = True
    self.remote_endpoint = None
    self.remote_parent = False
    self.end_ns = None
    self.heavy = _NAME_AND_IDS
    self.mixed = False
    return self


def _weight(span: Span) -> int:
    """Return what the span holds besides small tags; its name and ids are counted already."""
    heavy = sum(map(weigh, span.tags.values())) + sum(len(each.name) for each in span.events)
    if span.status_set:
        heavy += len(span.status.description or "")
    for attributes in [each.attributes or {} for each in (*span.events, *span.links)]:  # type: ignore[attr-defined]
        heavy += SMALL + sum(SMALL + weigh(value) for value in attributes.values())
    return -(-heavy // SMALL)


def span_weight(span: Span) -> int:
    """Return an upper bound of a recorded span's size in units of ``SMALL`` characters, which all that is small takes.

    CPython keeps such small numbers ready: it neither makes nor multiplies any for most spans.
    """
    return len(span.tags) + span.heavy
