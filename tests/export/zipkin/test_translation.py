"""What few spans have besides short tags is in what is sent, and counts in the queue."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

from obskit.export.zipkin.translation import converter, to_zipkin
from obskit.instrumentation.tracer import tracer
from obskit.testing import recording
from obskit.tracing.propagated import PropagatedSpan
from obskit.tracing.span import span_weight
from obskit.zipkin.model import Endpoint
from tests.export.conftest import fresh  # noqa: F401 - a fixture

TRACE, SPAN = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312"
DEBUG = PropagatedSpan(TRACE, SPAN, sampled=True, debug=True, remote=True)
DEBUG_ALONE = PropagatedSpan(None, None, sampled=True, debug=True, remote=True)


@pytest.mark.parametrize("attributes", [{}, {"a": "text"}, {"a": 1}])
@pytest.mark.parametrize(("parent", "debug"), [(DEBUG, True), (DEBUG_ALONE, True), (None, False)])
def test_a_span_of_a_trace_that_somebody_debugs_says_so_and_so_do_those_below_it(parent, debug, attributes):
    with recording() as recorder:
        context = Context() if parent is None else set_span_in_context(parent)
        first = tracer.start_span("a", context, attributes=attributes, links=[])
        second = tracer.start_span("b", set_span_in_context(first), attributes=attributes, start_time=5)
        third = tracer.start("c", SpanKind.INTERNAL, second, {})
        for span in (third, second, first):
            span.end()
        made = [to_zipkin(recorder.take(), Endpoint("shop")) for _ in range(3)]
    assert [span.debug for span in made] == [debug] * 3
    assert [span.tags for span in made] == [{}, *[{key: str(value) for key, value in attributes.items()}] * 2]


def test_a_status_is_sent_and_its_description_counts_in_the_queue():
    with recording() as recorder:
        for length in (0, 10_000):
            span = tracer.start("a", SpanKind.INTERNAL, None, {})
            span.set_status(StatusCode.ERROR, "x" * length)
            span.end()
        short, long = recorder.take(), recorder.take()
    assert to_zipkin(short, Endpoint("shop")).tags == {"otel.status_code": "ERROR", "error": ""}
    assert span_weight(long) - span_weight(short) == pytest.approx(10_000 / 256, abs=1)


@pytest.mark.parametrize("own", [{}, {"b": "own"}])
def test_what_a_span_says_goes_before_what_the_process_says_and_that_before_the_place(own):
    process, place = {"a": "process", "b": "process"}, dict.fromkeys("abc", "place")
    asked = []
    convert = converter("shop", process, lambda: asked.append(1) or place)
    with recording() as recorder:
        root = tracer.start("a", SpanKind.INTERNAL, None, dict(own))
        child = tracer.start("b", SpanKind.INTERNAL, root, dict(own))
        continued = tracer.start("c", SpanKind.SERVER, DEBUG, {})
        for span in (child, root, continued):
            span.end()
        tags = [convert(recorder.take()).tags for _ in range(3)]
    assert tags == [process | own, place | process | own, place | process]
    assert asked == [1]
