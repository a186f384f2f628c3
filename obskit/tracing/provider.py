"""What all tracers share, and OpenTelemetry's entrance to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.util.types import Attributes

from obskit.base.failures import failed, misused, raised
from obskit.base.redaction import Redactor
from obskit.base.values import encodable, text
from obskit.tracing.attributes import clean_all
from obskit.tracing.current import AnySpan
from obskit.tracing.details import moment
from obskit.tracing.limits import UNLIMITED, limits
from obskit.tracing.sampling.head import Head, SamplingOptions, inbound_limiter
from obskit.tracing.sampling.rate import Sampler, SamplingCounts, Verdict
from obskit.tracing.span import Span
from obskit.tracing.tracer import Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

    from obskit.tracing.sampling.tail import Tail

Report = Callable[[Span], None]

_LONGEST_FLUSH = 3600.0


class TracerProvider(otel.TracerProvider):
    """How traces are sampled, where ended spans go, and attached OpenTelemetry span processors.

    Everything is replaced in place when the program reconfigures, so that tracers handed out earlier follow.
    ``to_readable`` turns an ended span into the SDK's own for the processors; ``on_flush`` (seconds) and
    ``on_shutdown`` do what OpenTelemetry's calls of these names ask for. The runtime sets all three, and ``redactor``,
    which exporters ask what of a span may leave the process.
    """

    sampler: Sampler
    inbound: Callable[[], Verdict] | None
    tail: Tail | None

    def __init__(self) -> None:
        self._holds = False
        self._receivers: tuple[Report, ...] = ()
        self.processors: tuple[SpanProcessor, ...] = ()
        self.resource_attributes: Mapping[str, str] = {}
        self.redactor = Redactor()
        self.to_readable: Callable[[Span], ReadableSpan] | None = None
        self.on_flush: Callable[[float], bool] = lambda _timeout: True
        self.on_shutdown: Callable[[], object] = lambda: None
        self._resource: tuple[Mapping[str, str], Resource] | None = None
        self._count_anew()
        self.sample(SamplingOptions(), lambda: 0.0)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """Return a tracer for one instrumenting library. Zipkin has no place for ``attributes``; others have."""
        named = (instrumenting_module_name, instrumenting_library_version, schema_url)
        name, version, schema = (None if one is None else encodable(text(one)) for one in named)
        try:
            kept, _ = clean_all(attributes, UNLIMITED, limits.other_length) if attributes else ({}, 0)
        except Exception:
            misused("TracerProvider.get_tracer()")
            kept = {}
        return Tracer(self, name or "", version, schema, kept)

    @property
    def resource(self) -> Resource:
        """The process as OpenTelemetry's SDK describes it, built when an exporter asks."""
        if self._resource is None or self._resource[0] is not self.resource_attributes:
            self._resource = self.resource_attributes, _make_resource(dict(self.resource_attributes))
        return self._resource[1]

    def report_to(self, *receivers: Report) -> None:
        """Hand ended spans to ``receivers`` from now on, and to the attached processors."""
        self._receivers = receivers
        report = _together([*receivers, self._ended] if self.processors else receivers)
        self.report: Report = _holding(report, self._discarded) if self._holds else report

    # Sampling

    def sample(self, options: SamplingOptions, fill: Callable[[], float]) -> None:
        """Sample new traces by ``options`` from now on. ``fill`` says how full the queue of spans is, 0 to 1."""
        self._sampling = options, fill
        self.head = Head(options, self.counts, fill, self._use_sampler)
        self.inbound = inbound_limiter(options.inbound_limit, self.counts)
        keeps = options.keep_errors or options.keep_slow is not None
        self.tail = self._new_tail(options) if keeps else None
        self._holds = self._holds or keeps  # for good: spans that are held now may end at any time
        self.report_to(*self._receivers)

    def _new_tail(self, options: SamplingOptions) -> Tail:
        from obskit.tracing.sampling.tail import Tail

        return Tail(options.keep_errors, options.keep_slow, self.counts)

    def renew_sampling(self) -> None:
        """Count anew, with full limits and nothing held, as a forked child must."""
        self._count_anew()
        self.sample(*self._sampling)

    def _count_anew(self) -> None:
        self.counts = SamplingCounts()
        self.sampled_out = self.counts.sampled_out

    def sampling_stats(self) -> dict[str, object]:
        """Return the rates that apply, and what became of the traces that are not simply recorded."""
        return {**self.head.snapshot(), **self.counts.snapshot(), "held": 0 if self.tail is None else self.tail.held}

    def undecided(self) -> Verdict:
        """Return the decision on a trace where the sampler failed: it is not recorded."""
        failed("the sampler")
        return self.sampled_out

    def _use_sampler(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def _discarded(self, span: Span) -> None:
        """Show a held span that is not kept to the processors: as not sampled, which exporting ones pass over."""
        if self.processors:
            self._ended(span)

    # opentelemetry.sdk.trace.TracerProvider

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Attach an OpenTelemetry SpanProcessor: it sees every sampled span start and end."""
        self.processors = (*self.processors, span_processor)
        self.report_to(*self._receivers)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver everything so far, within the timeout; return whether all was delivered."""
        milliseconds = moment(timeout_millis)
        return self.on_flush(30.0 if milliseconds is None else min(milliseconds / 1000, _LONGEST_FLUSH))

    def shutdown(self) -> None:
        """Deliver what is queued and stop."""
        self.on_shutdown()

    # The attached processors: what they raise is not the application's problem

    def started(self, span: AnySpan, context: Context) -> None:
        """Show a new span, and the context it was started in, to the attached processors."""
        if isinstance(span, Span):
            for processor in self.processors:
                _guarded(processor, "on_start", span, context)

    def _ended(self, span: Span) -> None:
        if self.to_readable is None:
            return
        try:
            readable = self.to_readable(span)
        except Exception:
            failed("preparing a span for span processors")
            return
        for processor in self.processors:
            _guarded(processor, "on_end", readable)

    def flush_processors(self, deadline: float) -> bool:
        """Have each processor flush within what is left until ``deadline`` (of ``time.monotonic``)."""
        done = [_guarded(one, "force_flush", _milliseconds(deadline)) for one in self.processors]
        return False not in done

    def shut_processors_down(self) -> None:
        """Shut each processor down, and forget it."""
        processors, self.processors = self.processors, ()
        self.report_to(*self._receivers)
        for processor in processors:
            _guarded(processor, "shutdown")


def _make_resource(attributes: dict[str, Any]) -> Resource:
    from opentelemetry.sdk.resources import Resource

    attributes = {key: encodable(text(value)) for key, value in attributes.items()}
    attributes |= {"telemetry.sdk.name": "obskit", "telemetry.sdk.version": _version()}
    try:
        return Resource.create(attributes)
    except RuntimeError:  # it uses a thread pool, which the end of a program refuses
        return Resource(attributes)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("obskit")
    except PackageNotFoundError:  # in a frozen program, say
        return "unknown"


def _together(receivers: Any) -> Report:
    """Return what hands a span to all ``receivers``: the only one itself, where there is one."""
    if len(receivers) == 1:
        only: Report = receivers[0]
        return only

    def report(span: Span) -> None:
        for receive in receivers:
            receive(span)

    return report


def _holding(report: Report, discard: Report) -> Report:
    """Return ``report`` for all spans but those that are held until their trace's fate is known."""

    def keep(span: Span) -> None:
        span.sampled = True
        report(span)

    def report_or_hold(span: Span) -> None:
        if span.held is None:
            report(span)
        else:
            span.held.take(span, keep, discard)

    return report_or_hold


def _guarded(processor: SpanProcessor, method: str, *arguments: Any) -> Any:
    """Call a processor. SystemExit is left alone: on an application's thread a signal handler may have raised it."""
    try:
        return getattr(processor, method)(*arguments)
    except Exception:
        raised(f"{method}() of the OpenTelemetry span processor {type(processor).__name__}")
        return False


def _milliseconds(deadline: float) -> int:
    return max(0, int((deadline - monotonic()) * 1000))
