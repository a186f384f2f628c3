"""Traces recorded though not sampled: kept if they fail or take long, else forgotten, and counted either way."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections import deque

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from obskit.export.otel import to_readable
from obskit.propagation import b3
from obskit.tracing.propagated import PropagatedSpan
from obskit.tracing.provider import TracerProvider
from obskit.tracing.sampling.head import SamplingOptions
from obskit.tracing.sampling.tail import Tail
from obskit.tracing.span import Span

TRACE, SPAN = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312"
MB = 1024 * 1024
ROOM = 10_000
PER_TRACE = 1000


class Service:
    """A provider that samples nothing unless told, and the names of the spans that were reported."""

    def __init__(self, **options) -> None:
        self.provider = TracerProvider()
        self.ended: list[Span] = []
        self.provider.report_to(self.ended.append)
        self.provider.sample(SamplingOptions(**{"rate": 0.0, "keep_errors": True, **options}), lambda: 0.0)
        self.tracer = self.provider.get_tracer("test")

    def start(self, name: str, parent: object = None, kind: SpanKind = SpanKind.SERVER) -> Span:
        return self.tracer.start(name, kind, parent, {})

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.ended]

    @property
    def left_out(self) -> int:
        return self.provider.sampled_out.value

    @property
    def stats(self) -> dict:
        return self.provider.sampling_stats()


@pytest.fixture
def service() -> Service:
    return Service()


def by_tag(span):
    span.error("broken")


def by_exception(span):
    span.error(ValueError("broken"))


def by_status(span):
    span.set_status(Status(StatusCode.ERROR))


def by_500(span):
    span.tags.update({"http.status_code": "500", "error": "500"})


def by_exception_behind_404(span):
    span.tags.update({"http.status_code": "404", "error": "KeyError: 7"})


def by_404(span):
    span.tags.update({"http.status_code": "404", "error": "404"})


def by_ok(span):
    span.tags["http.status_code"] = "200"


@pytest.mark.parametrize("fail", [by_tag, by_exception, by_status, by_500, by_exception_behind_404])
def test_a_trace_whose_root_fails_is_reported_whole(service, fail):
    root = service.start("root")
    child = service.start("child", root)
    service.start("grandchild", child).end()
    child.end()
    assert service.names == []
    fail(root)
    root.end()
    assert service.names == ["grandchild", "child", "root"]
    assert {span.trace_id for span in service.ended} == {root.trace_id}
    assert [span.parent_id for span in service.ended] == [child.span_id, root.span_id, None]
    assert (service.left_out, service.stats["kept"], service.stats["held"]) == (0, {"error": 1}, 0)


@pytest.mark.parametrize("fail", [by_404, by_ok])
def test_a_trace_whose_root_does_well_or_whose_caller_errs_is_forgotten_and_counted(service, fail):
    root = service.start("root")
    child = service.start("child", root)
    child.error("a child's error is handled within the request")
    child.end()
    fail(root)
    root.end()
    assert service.names == []
    assert (service.left_out, service.stats["kept"], service.stats["held"]) == (1, {}, 0)


def test_a_4xx_that_a_client_was_answered_is_an_error(service):
    root = service.start("call", kind=SpanKind.CLIENT)
    by_404(root)
    root.end()
    assert service.names == ["call"]


@pytest.mark.parametrize(("seconds", "kept"), [(0.5, True), (0.499, False)])
def test_a_trace_whose_root_takes_keep_slow_seconds_is_kept(seconds, kept):
    service = Service(keep_errors=False, keep_slow=0.5)
    root = service.start("root")
    service.start("child", root).end()
    root.end(root.start_ns + int(seconds * 1e9))
    assert service.names == (["child", "root"] if kept else [])
    assert service.stats["kept"] == ({"slow": 1} if kept else {})
    assert service.left_out == (not kept)


def test_errors_and_slowness_are_asked_for_separately():
    errors, slow = Service(), Service(keep_errors=False, keep_slow=10.0)
    for service in (errors, slow):
        failing, lasting = service.start("failing"), service.start("lasting")
        failing.error("broken")
        failing.end()
        lasting.end(lasting.start_ns + 60 * 10**9)
    assert (errors.names, slow.names) == (["failing"], ["lasting"])


def test_meanwhile_the_trace_is_passed_on_as_not_sampled(service):
    root = service.start("root")
    child = service.start("child", root)
    for span in (root, child):
        headers = dict(b3.multi(span))
        assert headers["X-B3-Sampled"] == "0"
        assert headers["X-B3-SpanId"] == span.span_id
        assert not span.get_span_context().trace_flags.sampled
        assert span.is_recording()
    root.error("broken")
    child.end()
    root.end()
    assert all(span.get_span_context().trace_flags.sampled for span in service.ended)
    assert service.ended[0].parent.trace_flags.sampled


def test_children_that_end_after_the_root_share_its_fate(service):
    for error in ("broken", None):
        root = service.start("root")
        child, other = service.start("late", root), service.start("later", root)
        if error:
            root.error(error)
        root.end()
        child.end()
        service.start("latest", other).end()
        other.end()
    assert service.names == ["root", "late", "latest", "later"]
    assert (service.left_out, service.stats["held"]) == (1, 0)


def test_a_sampled_trace_is_reported_at_once(service):
    service.provider.sampler = lambda *_: True
    root = service.start("root")
    service.start("child", root).end()
    assert service.names == ["child"]
    root.end()
    assert service.stats["kept"] == {}


def test_a_failure_is_kept_even_where_the_caller_denied_the_trace(service):
    for parent in (
        PropagatedSpan(TRACE, SPAN, sampled=False, remote=True),
        PropagatedSpan(None, None, sampled=False, remote=True),
    ):
        root = service.start("root", parent)
        assert not root.sampled
        root.error("broken")
        root.end()
        service.start("fine", parent).end()
    assert [(span.trace_id == TRACE, span.parent_id) for span in service.ended] == [(True, SPAN), (False, None)]
    assert service.left_out == 0  # the decision was not made here


def test_a_deferred_decision_and_a_refused_flood_may_fail_too():
    service = Service(rate=1.0, limit=0, inbound_limit=0)
    forced = PropagatedSpan(TRACE, SPAN, None, True, True, True)
    for parent, reason in ((PropagatedSpan(TRACE, SPAN, remote=True), "sample_limit"), (forced, "inbound_limit")):
        before = service.stats["limited"].get(reason, 0)
        root = service.start("root", parent)
        assert not root.debug
        root.error("broken")
        root.end()
        assert service.stats["limited"].get(reason, 0) == before
        service.start("fine", parent).end()
        assert service.stats["limited"][reason] == before + 1
    assert service.names == ["root", "root"]


def test_a_spans_own_state_of_the_trace_survives(service):
    parent = PropagatedSpan(TRACE, SPAN, sampled=False, remote=True, trace_state="vendor=x")
    child = service.start("child", service.start("root", parent))
    assert child.trace_state == "vendor=x"
    assert child.get_span_context().trace_state["vendor"] == "x"


def test_links_and_times_given_through_opentelemetrys_api_are_kept(service):
    link = Link(PropagatedSpan(TRACE, SPAN, sampled=True).get_span_context())
    span = service.tracer.start_span("job", links=[link], start_time=5)
    span.set_status(StatusCode.ERROR)
    span.end()
    (kept,) = service.ended
    assert (kept.start_ns, [each.context for each in kept.links]) == (5, [link.context])


# Bounds


def test_a_trace_holds_a_thousand_spans_and_its_root_and_counts_the_others(service):
    root = service.start("root")
    for number in range(PER_TRACE + 7):
        service.start(str(number), root).end()
    assert service.stats["spans_lost"] == 7
    root.error("broken")
    root.end()
    assert service.names == [*map(str, range(PER_TRACE)), "root"]
    assert service.stats["held"] == 0


def test_all_traces_together_hold_so_many_spans_and_further_ones_are_not_held(service):
    roots = [service.start("root") for _ in range(ROOM)]
    assert service.stats["held"] == ROOM
    over = service.start("over")
    assert isinstance(over, PropagatedSpan)
    assert not over.sampled
    service.start("child", roots[0]).end()
    assert (service.stats["not_held"], service.stats["spans_lost"], service.left_out) == (1, 1, 1)
    for root in roots:
        root.end()
    assert (service.stats["held"], service.left_out) == (0, ROOM + 1)
    assert isinstance(service.start("again"), Span)


def end_heavy(service: Service, root: Span, size: int) -> None:
    child = service.start("child", root)
    child.tag("payload", "x" * size)
    child.end()


def test_all_traces_together_hold_32_mb_however_few_spans_that_are(service):
    """Memory as Python's allocator counts it: a hundred megabytes of tags end while their roots are open."""
    roots = [service.start("root") for _ in range(100)]
    tracemalloc.start()
    try:
        for root in roots * 10:
            end_heavy(service, root, 100_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 30 * MB < held < 34 * MB
    assert service.stats["spans_lost"] == 1000 - (service.stats["held"] - 100)
    for root in roots:
        root.error("broken")
        root.end()
    assert service.names.count("root") == 100, "a trace without room for its spans reports its root at least"
    assert len(service.ended) == 1100 - service.stats["spans_lost"]
    assert (service.stats["held"], service.provider.tail.bytes) == (0, 0)


def test_one_trace_holds_4_mb_and_leaves_room_to_others(service):
    root, other = service.start("root"), service.start("other")
    for _ in range(10):
        end_heavy(service, root, MB)
    assert (service.stats["held"], service.stats["spans_lost"]) == (2 + 3, 7)
    end_heavy(service, other, MB)
    assert (service.stats["held"], service.stats["spans_lost"]) == (2 + 4, 7)


def test_a_trace_of_a_thousand_spans_with_ten_tags_is_not_too_heavy(service):
    root = service.start("root")
    for _ in range(PER_TRACE):
        child = service.start("child", root)
        child.set_attributes({f"key{number}": "value" * 50 for number in range(10)})
        child.end()
    assert service.stats["spans_lost"] == 0


@pytest.mark.parametrize("ending", ["kept", "forgotten", "never ended"])
def test_the_bytes_of_a_trace_are_given_back_whatever_its_end(service, ending):
    for _ in range(20):  # 60 MB
        root = service.start("root")
        for _ in range(3):
            end_heavy(service, root, MB)
        if ending == "kept":
            root.error("broken")
        if ending != "never ended":
            root.end()
        del root
        gc.collect()  # spans that wait, and what they wait in, hold each other
    assert (service.stats["spans_lost"], service.provider.tail.bytes) == (0, 0)


@pytest.mark.parametrize(
    "parent", [PropagatedSpan(TRACE, SPAN, sampled=False, remote=True), PropagatedSpan(TRACE, SPAN, remote=True)]
)
def test_children_of_a_trace_that_found_no_room_are_not_held_as_if_they_were_first(service, parent):
    places = service.provider.tail.room
    taken = [places.pop() for _ in range(ROOM)]
    root = service.start("root", parent)
    assert (root.trace_id, root.span_id, root.sampled) == (TRACE, SPAN, False)
    places.extend(taken)
    child = service.start("child", root)
    assert isinstance(child, PropagatedSpan)
    assert service.stats["held"] == 0


def test_a_trace_that_nobody_ends_gives_back_its_room_and_is_counted(service):
    root = service.start("root")
    service.start("child", root).end()
    assert service.stats["held"] == 2
    del root
    gc.collect()
    assert (service.stats["held"], service.left_out, service.names) == (0, 1, [])


def test_a_trace_that_ended_is_no_work_for_the_garbage_collector(service):
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            root = service.start("root")
            service.start("child", root).end()
            root.end()
        del root
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_spans_that_end_on_many_threads_as_the_root_does_are_each_reported_once(service):
    for _ in range(200):
        root = service.start("root")
        root.error("broken")
        children = [service.start("child", root) for _ in range(4)]
        barrier = threading.Barrier(5)

        def end(span: Span, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            span.end()

        threads = [threading.Thread(target=end, args=[span]) for span in (root, *children)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(service.ended) == len({span.span_id for span in service.ended}) == 1000
    assert (service.stats["held"], service.stats["kept"]) == (0, {"error": 200})
    assert service.provider.tail.bytes == 0


def test_a_span_that_ends_just_as_another_thread_decides_is_not_left_behind(service):
    """The root ends after the child has seen that the trace is held still, and before it is put down."""
    root = service.start("root")
    child = service.start("child", root)
    root.error("broken")

    class Overtaken(deque):
        def append(self, span: Span) -> None:
            if span is child:
                root.end()
            super().append(span)

    root.held._spans = Overtaken()
    child.end()
    assert service.names == ["root", "child"]
    assert (service.stats["held"], service.provider.tail.bytes) == (0, 0)


def test_switched_off_meanwhile_a_held_trace_is_still_decided_at_its_end(service):
    fine, failing = service.start("fine"), service.start("failing")
    service.provider.sample(SamplingOptions(rate=0.0), lambda: 0.0)
    failing.error("broken")
    fine.end()
    failing.end()
    assert service.names == ["failing"]
    assert not isinstance(service.start("new"), Span)


class Seen(SpanProcessor):
    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[tuple[str, bool]] = []

    def on_start(self, span, parent_context=None) -> None:
        self.started.append(span.name)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append((span.name, span.context.trace_flags.sampled))


def test_a_processor_sees_each_span_start_and_end_and_which_were_kept(service):
    """OpenTelemetry's processors pass over ended spans that are not sampled: a held one is like its RECORD_ONLY."""
    seen = Seen()
    service.provider.to_readable = lambda span: to_readable(span, service.provider.resource)
    service.provider.add_span_processor(seen)
    for error in ("broken", None):
        root = service.start("root")
        service.start("child", root).end()
        if error:
            root.error(error)
        root.end()
    assert seen.started == ["root", "child"] * 2
    assert seen.ended == [("child", True), ("root", True), ("child", False), ("root", False)]


def test_nothing_is_held_unless_asked_for():
    assert not isinstance(Service(keep_errors=False).start("root"), Span)
    assert Service(keep_errors=False).provider.tail is None
    assert isinstance(Service(keep_errors=False, keep_slow=0.0).provider.tail, Tail)
