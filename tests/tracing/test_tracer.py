"""Spans start where they should, are recorded only if sampled, and keep OpenTelemetry's interface."""

from __future__ import annotations

import threading
import time

import pytest
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)

from obskit.base.failures import Tally
from obskit.tracing.current import attach, current_span, detach, suppressed
from obskit.tracing.propagated import NOOP_SPAN, PropagatedSpan
from obskit.tracing.provider import TracerProvider
from obskit.tracing.sampling import rate_sampler
from obskit.tracing.span import Span

TRACE = "463ac35c9f6413ad48485a3953bb6124"
SPAN = "a2fb4a1d1a96d312"


@pytest.fixture
def ended():
    return []


@pytest.fixture
def provider(ended):
    provider = TracerProvider()
    provider.report = ended.append
    return provider


@pytest.fixture
def tracer(provider):
    return provider.get_tracer("tests", "1.0")


def start(tracer, parent=None, name="work"):
    return tracer.start(name, SpanKind.INTERNAL, parent, {})


def test_a_new_trace_has_a_128_bit_id_whose_low_half_is_the_root_span(tracer):
    root = start(tracer)
    assert len(root.trace_id) == 32
    assert root.span_id == root.trace_id[16:]
    assert root.parent_id is None


def test_a_child_continues_its_parent_with_the_same_clock(tracer):
    root = start(tracer)
    child = start(tracer, root)
    assert (child.trace_id, child.parent_id, child.clock) == (root.trace_id, root.span_id, root.clock)
    assert child.span_id != root.span_id


def test_a_remote_parent_is_continued_with_its_width_and_debug(tracer):
    span = start(tracer, PropagatedSpan(TRACE[:16], SPAN, sampled=True, debug=True, remote=True))
    assert (span.trace_id, span.parent_id, span.debug) == (TRACE[:16], SPAN, True)
    assert start(tracer, span).debug
    assert span.parent.is_remote
    assert not start(tracer, span).parent.is_remote


@pytest.mark.parametrize(("rate", "recorded"), [(0.0, False), (1.0, True)])
def test_a_deferred_decision_is_made_here(provider, tracer, rate, recorded):
    provider.sampler = rate_sampler(rate)
    span = start(tracer, PropagatedSpan(TRACE, SPAN, remote=True))
    assert span.is_recording() is recorded
    assert span.trace_id == TRACE
    assert provider.sampled_out.value == (not recorded)


@pytest.mark.parametrize(("sampled", "rate"), [(True, 0.0), (False, 1.0)])
def test_a_decision_that_arrived_stands_with_or_without_ids(provider, tracer, sampled, rate):
    provider.sampler = rate_sampler(rate)
    for parent in (PropagatedSpan(TRACE, SPAN, sampled=sampled), PropagatedSpan(None, None, sampled=sampled)):
        span = start(tracer, parent)
        assert span.is_recording() is span.sampled is sampled
    assert provider.sampled_out.value == 0


def test_an_unsampled_trace_keeps_its_ids_for_all_its_spans(provider, tracer, ended):
    provider.sampler = rate_sampler(0.0)
    root = start(tracer)
    child = start(tracer, root)
    assert (child.trace_id, child.span_id) == (root.trace_id, root.span_id)
    assert len(root.trace_id) == 32
    child.end()
    root.end()
    assert ended == []
    assert provider.sampled_out.value == 1


def test_a_trace_id_without_a_span_id_begins_with_a_root(tracer):
    span = start(tracer, PropagatedSpan(TRACE, None, sampled=True, remote=True))
    assert (span.trace_id, span.parent_id) == (TRACE, None)


def test_another_providers_span_is_a_parent_too(tracer):
    context = SpanContext(int(TRACE, 16), int(SPAN, 16), False, TraceFlags(1))
    span = start(tracer, NonRecordingSpan(context))
    assert (span.trace_id, span.parent_id) == (TRACE, SPAN)
    unsampled = start(tracer, NonRecordingSpan(SpanContext(int(TRACE, 16), int(SPAN, 16), False, TraceFlags(0))))
    assert (unsampled.trace_id, unsampled.is_recording()) == (TRACE, False)


def test_an_invalid_parent_begins_a_trace(tracer):
    for parent in (NonRecordingSpan(SpanContext(0, 0, False)), "nonsense"):
        assert start(tracer, parent).parent_id is None


def test_a_step_of_the_wall_clock_cannot_make_a_duration_wrong(tracer, monkeypatch):
    span = start(tracer)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    span.end()
    assert 0 <= span.end_ns - span.start_ns < 10**10


def test_a_span_ends_once_and_changes_no_more(tracer, ended):
    span = start(tracer)
    span.end()
    first = span.end_ns
    span.end()
    span.set_attribute("late", 1)
    span.tag("late", 1)
    span.annotate("late")
    span.error("late")
    span.update_name("late")
    span.set_status(StatusCode.ERROR)
    assert ended == [span]
    assert (span.end_ns, dict(span.attributes), span.events, span.name) == (first, {}, (), "work")
    assert not span.is_recording()


def test_values_are_kept_snapshots_taken_and_strangers_shown_as_text(tracer):
    class Broken:
        def __str__(self):
            raise RuntimeError

    items = ["a", "b"]
    span = start(tracer)
    span.set_attributes({"s": "x", "i": 1, "f": 1.5, "b": True, "list": items, "none": None, "broken": Broken()})
    items.append("c")
    assert dict(span.attributes) == {
        "s": "x",
        "i": 1,
        "f": 1.5,
        "b": True,
        "list": ("a", "b"),
        "none": None,
        "broken": "<unprintable Broken>",
    }


def test_error_tags_name_class_and_message(tracer):
    span = start(tracer)
    for error, text in ((KeyError("id"), "KeyError: 'id'"), (ValueError(), "ValueError"), ("told", "told")):
        span.error(error)
        assert span.tags["error"] == text
    span.error(ValueError("x" * 10_000))
    assert len(span.tags["error"]) == 1024


def test_opentelemetrys_calls_work(tracer, ended):
    link = Link(SpanContext(1, 2, False))
    with tracer.start_as_current_span(
        "work", kind=SpanKind.CONSUMER, attributes={"k": (1, 2)}, links=[link], start_time=5
    ) as span:
        assert get_current_span() is span is current_span()
        span.add_event("seen", {"n": 1}, timestamp=7)
        span.add_link(SpanContext(3, 4, False))
        span.set_status(Status(StatusCode.ERROR, "bad"))
        span.update_name("better")
    assert current_span() is NOOP_SPAN
    assert ended == [span]
    assert (span.name, span.kind, span.start_time, len(span.links)) == ("better", SpanKind.CONSUMER, 5, 2)
    assert span.events[0] == (7, "seen", {"n": 1}, 0)
    assert span.status.description == "bad"
    assert span.instrumentation_scope.name == "tests"
    assert span.context.trace_flags.sampled


def test_ok_is_a_final_status(tracer):
    span = start(tracer)
    span.set_status(StatusCode.OK)
    span.set_status(StatusCode.ERROR, "late")
    assert span.status.status_code is StatusCode.OK


def test_an_exception_in_a_current_span_is_recorded_and_raised_unchanged(tracer, ended):
    error = ValueError("bad")
    with pytest.raises(ValueError, match="bad") as raised, tracer.start_as_current_span("work"):
        raise error
    assert raised.value is error
    (span,) = ended
    assert span.status.status_code is StatusCode.ERROR
    attributes = span.events[0][2]
    assert (attributes["exception.type"], attributes["exception.message"]) == ("ValueError", "bad")
    assert "test_tracer.py" in attributes["exception.stacktrace"]


def test_a_span_as_context_manager_ends_with_its_error(tracer, ended):
    with pytest.raises(ValueError, match="bad"), tracer.start_span("work"):
        raise ValueError("bad")
    assert (ended[0].status.status_code, ended[0].status.description) == (StatusCode.ERROR, "ValueError: bad")
    assert [event.name for event in ended[0].events] == ["exception"]


def test_decorating_makes_a_span_for_each_call(tracer, ended):
    @tracer.start_as_current_span("work")
    def work():
        return current_span().trace_id

    assert work() != work()
    assert len(ended) == 2


def test_nothing_is_traced_where_instrumentation_is_suppressed(tracer, ended):
    token = attach(suppressed())
    try:
        tracer.start_span("work").end()
    finally:
        detach(token)
    assert ended == []


def test_a_given_context_wins_over_the_current_one(tracer):
    parent = tracer.start_span("parent")
    with use_span(tracer.start_span("other")):
        child = tracer.start_span("child", context=set_span_in_context(parent))
    assert child.parent_id == parent.span_id


def test_a_span_is_what_opentelemetry_calls_readable(tracer, ended):
    root = tracer.start_span("root")
    child = tracer.start_span("child", context=set_span_in_context(root))
    child.end()
    assert child.parent.span_id == int(root.span_id, 16)
    assert child.context.trace_id == int(root.trace_id, 16)
    assert root.parent is None
    assert child.end_time >= child.start_time
    assert child.resource.attributes["telemetry.sdk.language"] == "python"


def test_tracestate_reaches_children(tracer):
    parent = PropagatedSpan(TRACE, SPAN, sampled=True, remote=True, trace_state="vendor=x")
    child = start(tracer, start(tracer, parent))
    assert child.get_span_context().trace_state["vendor"] == "x"


def test_a_tally_counts_exactly_from_many_threads():
    tally = Tally()

    def count():
        for _ in range(20_000):
            tally.add()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tally.value, tally.value) == (80_000, 80_000)


def test_a_span_ended_by_two_threads_at_once_is_reported_once(tracer, ended):
    for _ in range(200):
        span = start(tracer)
        barrier = threading.Barrier(2)

        def end(span=span, barrier=barrier):
            barrier.wait()
            span.end()

        threads = [threading.Thread(target=end) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(ended) == 200
    assert all(isinstance(span, Span) for span in ended)
