"""What all tracers share, and OpenTelemetry's entrance to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from opentelemetry import trace as otel
from opentelemetry.util.types import Attributes

from obskit.tracing.current import AnySpan, get_context
from obskit.tracing.sampling import Sampler, rate_sampler
from obskit.tracing.span import Span
from obskit.tracing.tally import Tally
from obskit.tracing.tracer import Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor


def _discard(_span: Span) -> None:
    """Take a span nobody exports."""


class TracerProvider(otel.TracerProvider):
    """The sampler, where ended spans go, and attached OpenTelemetry span processors.

    Everything is replaced in place when the program reconfigures, so that tracers handed out earlier follow.
    """

    def __init__(self) -> None:
        self.sampler: Sampler = rate_sampler(1.0)
        self.report: Callable[[Span], None] = _discard
        self.processors: tuple[SpanProcessor, ...] = ()
        self.resource_attributes: Mapping[str, str] = {}
        self.sampled_out = Tally()

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,  # noqa: ARG002 - Zipkin has no place for them
    ) -> Tracer:
        """Return a tracer for one instrumenting library."""
        return Tracer(self, instrumenting_module_name, instrumenting_library_version, schema_url)

    @property
    def resource(self) -> Resource:
        """The process as OpenTelemetry's SDK describes it, built when an exporter asks."""
        from opentelemetry.sdk.resources import Resource

        return Resource.create(dict(self.resource_attributes))

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Attach an OpenTelemetry SpanProcessor: it sees every sampled span start and end."""
        self.processors = (*self.processors, span_processor)

    def started(self, span: AnySpan) -> None:
        """Show a new span to the attached processors."""
        if isinstance(span, Span):
            for processor in self.processors:
                processor.on_start(span, get_context())  # type: ignore[arg-type]
