"""A recorded span: cheap to make, held as plain values until the worker encodes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter_ns, time_ns
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.util.types import Attributes, AttributeValue

from obskit.tracing.span_context import span_context
from obskit.tracing.values import SMALL, clean, error_text, heaviness, text

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from obskit.tracing.sampling.tail import Held
    from obskit.tracing.tracer import Tracer


def new_clock() -> int:
    """Return the offset in nanoseconds that turns the monotonic clock into epoch time, as of now.

    The spans of one trace in one process share it: their starts line up, and no step of the wall clock makes a
    duration wrong.
    """
    return time_ns() - perf_counter_ns()


class Span(OtelSpan):
    """One timed operation of a recorded trace; implements ``opentelemetry.trace.Span``.

    Ids are lower-case hex text, times epoch nanoseconds. ``tags`` holds what OpenTelemetry calls attributes,
    ``events`` its events and Zipkin's annotations, as ``(epoch nanoseconds, name, attributes or None)``.
    Nothing changes after ``end()``: from then on the span belongs to the exporters. ``sampled`` is False while it is
    ``held``: its trace is recorded for the case that it fails. Children take over what ``inherit`` says. ``heavy``
    counts the characters of what is not a small tag, for whoever bounds a queue of spans. ``mixed`` tells whether a
    tag is not text, ``status_set`` whether OpenTelemetry's status says anything.
    """

    # Slots for what every span sets, class attributes for what few do: half the time of nineteen slots. A span whose
    # __dict__ is empty has none of the latter.
    __slots__ = (
        "clock", "debug", "end_ns", "kind", "name", "parent_id", "span_id", "start_ns", "tags", "trace_id", "tracer",
        "unended",
    )  # fmt: skip
    sampled = True
    heavy = 2 * SMALL  # its name and ids
    mixed = False
    held: Held | None = None
    inherits = False
    events: Sequence[tuple[int, str, Attributes]] = ()
    links: Sequence[Link] = ()
    remote_endpoint: tuple[str, int | None] | None = None
    remote_parent = False
    status = Status()
    status_set = False
    trace_state: str | None = None

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        kind: SpanKind,
        trace_id: str,
        span_id: str,
        parent_id: str | None,
        clock: int,
        debug: bool,
        tags: dict[str, AttributeValue],
    ) -> None:
        self.tracer = tracer
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.clock = clock
        self.debug = debug
        self.tags = tags
        self.unended = True
        self.end_ns: int | None = None
        self.start_ns = perf_counter_ns() + clock

    # What applications call

    def tag(self, key: str, value: object) -> None:
        """Set a tag. The value is kept as it is if it is a string, number or boolean, else as its text."""
        self.set_attribute(key, value)

    def annotate(self, text: str) -> None:
        """Record that something happened now, as a Zipkin annotation."""
        self.add_event(text)

    def error(self, error: BaseException | str) -> None:
        """Mark the span as failed: Zipkin's ``error`` tag, with the exception's class and message."""
        if self.end_ns is None:
            self.tags["error"] = error_text(error)

    def inherit(self, parent: Span) -> None:
        """Take over what few traces have: only where ``parent.inherits``, so that the others do not look for it."""
        self.inherits = True
        self.trace_state = parent.trace_state
        self.sampled = parent.sampled
        self.held = parent.held

    # opentelemetry.trace.Span

    def end(self, end_time: int | None = None) -> None:
        """End the span now, or at ``end_time`` (epoch nanoseconds), and hand it over; later calls do nothing."""
        try:
            del self.unended  # one step, so that of two threads that end a span only one goes on
        except AttributeError:
            return
        self.end_ns = perf_counter_ns() + self.clock if end_time is None else end_time
        self.tracer.provider.report(self)

    def get_span_context(self) -> SpanContext:
        """Return the ids as OpenTelemetry's SpanContext."""
        return span_context(self.trace_id, self.span_id, False, self.sampled, self.trace_state)

    def is_recording(self) -> bool:
        """Return True until the span has ended."""
        return self.end_ns is None

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute (a tag)."""
        if self.end_ns is None:
            if type(value) is str and len(value) <= SMALL:
                self.tags[key] = value
            else:
                self.tags[key] = kept = clean(value)
                self.note(kept)

    def note(self, value: AttributeValue) -> None:
        """Take into account that a tag's ``value`` may not be a short text."""
        if type(value) is not str:
            self.mixed = True
        if weight := heaviness(value):
            self.heavy += weight

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes (tags)."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Record an event now, or at ``timestamp`` (epoch nanoseconds)."""
        if self.end_ns is None:
            when = perf_counter_ns() + self.clock if timestamp is None else timestamp
            kept = {key: clean(value) for key, value in attributes.items()} if attributes else None
            self.events = (*self.events, (when, name, kept))
            self.heavy += SMALL + len(name) + sum(SMALL + heaviness(value) for value in (kept or {}).values())

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Link the span to another one; Zipkin has no links, OpenTelemetry exporters receive them."""
        if self.end_ns is None:
            self.links = (*self.links, Link(context, attributes))

    def update_name(self, name: str) -> None:
        """Rename the span."""
        if self.end_ns is None:
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set OpenTelemetry's status; as its specification says, OK is final and UNSET changes nothing."""
        if isinstance(status, StatusCode):
            status = Status(status, description if status is StatusCode.ERROR else None)
        final = self.end_ns is not None or self.status.status_code is StatusCode.OK
        if not final and status.status_code is not StatusCode.UNSET:
            self.status = status
            self.status_set = True

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record ``exception`` as OpenTelemetry's ``exception`` event, with its traceback."""
        import traceback

        details: dict[str, Any] = {
            "exception.type": _qualified_name(type(exception)),
            "exception.message": text(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", {**details, **(attributes or {})}, timestamp)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """End the span, marked as failed if the block raised."""
        if isinstance(exc_val, Exception):
            self.error(exc_val)
        self.end()

    # opentelemetry.sdk.trace.ReadableSpan, for processors

    context = property(get_span_context)

    @property
    def parent(self) -> SpanContext | None:
        """The parent's SpanContext, or None for the root of a trace."""
        if self.parent_id is None:
            return None
        return span_context(self.trace_id, self.parent_id, self.remote_parent, self.sampled, self.trace_state)

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


def _qualified_name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
