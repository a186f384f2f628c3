"""opentelemetry-sdk with its batch processor and its Zipkin JSON exporter, as its documentation sets them up."""

from __future__ import annotations

import os
from typing import Any

from log_file import log_to_file
from opentelemetry import trace
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

log_to_file("opentelemetry")
_provider = TracerProvider()
_provider.add_span_processor(BatchSpanProcessor(ZipkinExporter(endpoint=os.environ["BATTERY_URL"])))
trace.set_tracer_provider(_provider)
_tracer = trace.get_tracer("battery")


def span(name: str, **tags: Any) -> Any:
    return _tracer.start_as_current_span(name, attributes=tags)


def flush(timeout: float) -> bool:
    return _provider.force_flush(int(timeout * 1000))


def _refuse(*_: object, **__: object) -> None:
    raise RuntimeError("the application's hook")


def raising_hook() -> None:
    from opentelemetry.instrumentation.requests import RequestsInstrumentor

    RequestsInstrumentor().instrument(request_hook=_refuse)


def raising_processor() -> None:
    processor = SpanProcessor()
    for method in ("on_start", "on_end", "force_flush", "shutdown"):
        setattr(processor, method, _refuse)
    _provider.add_span_processor(processor)
