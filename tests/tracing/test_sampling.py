"""A rate keeps its share, and the same traces in every service."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from opentelemetry.trace import SpanKind

from obskit.base.failures import Tally, failures
from obskit.tracing.ids import new_trace
from obskit.tracing.propagated import PropagatedSpan
from obskit.tracing.provider import TracerProvider
from obskit.tracing.sampling import rate_sampler
from obskit.tracing.sampling.head import SamplingOptions
from obskit.tracing.sampling.limiter import Limiter, Pressure
from obskit.tracing.sampling.rate import lowered_sampler
from obskit.tracing.sampling.rules import Rule

TRACE, SPAN = "463ac35c9f6413ad48485a3953bb6124", "a2fb4a1d1a96d312"
SECOND, TENTH = 1_000_000_000, 100_000_000
IDS = [new_trace(0)[0] for _ in range(100_000)]


class Service:
    """A provider with sampling options, its queue as full as told, and the spans that ended."""

    def __init__(self, **options) -> None:
        self.fill = 0.0
        self.provider = TracerProvider()
        self.ended: list = []
        self.provider.report_to(self.ended.append)
        self.provider.sample(SamplingOptions(**options), lambda: self.fill)
        self.tracer = self.provider.get_tracer("test")

    def trace(self, parent: object = None, kind: SpanKind = SpanKind.SERVER) -> bool:
        """Make one trace; return whether it was recorded."""
        before = len(self.ended)
        self.tracer.start("work", kind, parent, {}).end()
        return len(self.ended) > before

    @property
    def stats(self) -> dict:
        return self.provider.sampling_stats()


def test_rates_of_zero_and_one_are_exact():
    assert not rate_sampler(0.0)(IDS[0])
    assert rate_sampler(1.0)(IDS[0])


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9])
def test_a_rate_keeps_its_share_of_100_000_ids(rate):
    """Within five standard deviations: one run in two million fails by chance."""
    sampler = rate_sampler(rate)
    kept = sum(bool(sampler(trace_id)) for trace_id in IDS)
    assert abs(kept - len(IDS) * rate) < 5 * (len(IDS) * rate * (1 - rate)) ** 0.5


@pytest.mark.parametrize(
    ("low_half", "kept"),
    [
        ("0000000000000000", True),
        ("3fffffffffffffff", True),
        ("4000000000000000", True),
        ("4000000000000001", False),
        ("7fffffffffffffff", False),
        ("8000000000000000", False),
        ("8000000000000001", False),
        ("c000000000000001", True),
        ("ffffffffffffffff", True),
    ],
)
def test_the_boundary_is_that_of_zipkins_collector(low_half, kept):
    """The low 64 bits count as a signed number, by absolute value; the high half says nothing."""
    sampler = rate_sampler(0.5)
    assert sampler(low_half) is sampler("f" * 16 + low_half) is kept


def test_a_lower_rate_keeps_a_part_of_what_a_higher_one_keeps():
    rates = [0.0, 0.01, 0.1, 0.3, 0.9, 1.0]
    kept = [{trace_id for trace_id in IDS if rate_sampler(rate)(trace_id)} for rate in rates]
    assert all(lower < higher for lower, higher in pairwise(kept))


@pytest.mark.parametrize(("rate", "factor"), [(1.0, 0.5), (0.5, 0.25), (0.1, 1 / 512)])
def test_a_lowered_rate_keeps_what_the_product_keeps_and_counts_the_rest_of_the_rate(rate, factor):
    refused = Tally()
    answers = {trace_id: lowered_sampler(rate, factor, refused)(trace_id) for trace_id in IDS}
    assert {one for one in IDS if answers[one] is True} == {one for one in IDS if rate_sampler(rate * factor)(one)}
    assert {one for one in IDS if answers[one] is False} == {one for one in IDS if not rate_sampler(rate)(one)}
    assert {one for one in IDS if answers[one] is refused}


# The limit


class Clock:
    """Nanoseconds that pass when told."""

    def __init__(self) -> None:
        self.now = 5_000_000_123

    def __call__(self) -> int:
        return self.now


def yeses(limiter: Callable[[], bool], tries: int = 1000) -> int:
    return sum(limiter() for _ in range(tries))


@pytest.mark.parametrize(
    ("limit", "by_tenths"),
    [
        (0, [0] * 10),
        (1, [1] + [0] * 9),
        (9, [9] + [0] * 9),
        (10, [1] * 10),
        (103, [13] + [10] * 9),
    ],
)
def test_a_limit_is_spread_over_tenths_of_a_second_as_brave_spreads_it(limit, by_tenths):
    clock = Clock()
    limiter = Limiter(limit, clock)
    for _ in range(3):
        found = []
        for _ in range(10):
            found.append(yeses(limiter))
            clock.now += TENTH
        assert found == by_tenths


def test_what_a_tenth_leaves_over_is_good_until_the_second_ends():
    clock = Clock()
    limiter = Limiter(100, clock)
    assert yeses(limiter, 3) == 3
    clock.now += 4 * TENTH
    assert yeses(limiter) == 47
    clock.now += 6 * TENTH
    assert yeses(limiter) == 10
    clock.now += 5 * TENTH
    assert yeses(limiter, 1) == 1  # 49 are left
    clock.now += 5 * TENTH
    assert yeses(limiter) == 10
    clock.now += 60 * SECOND + 9 * TENTH
    assert yeses(limiter) == 100


def test_a_limiter_refuses_without_waiting_where_a_finaliser_interrupts_its_refill():
    """The clock is read amid a refill: a trace that starts right then gets an answer, and the refill goes on."""
    answers: list[bool] = []

    class Interrupting(Clock):
        def __call__(self) -> int:
            self.readings = getattr(self, "readings", 0) + 1
            if self.readings == 3:  # the first made the limiter, the second saw that tokens are due
                answers.append(limiter())
            return self.now

    limiter = Limiter(5, Interrupting())
    assert limiter()
    assert answers == [False]
    assert yeses(limiter) == 4


def test_a_token_that_another_thread_takes_first_is_no_token():
    class Raced(deque):
        def __len__(self) -> int:
            return 1

    limiter = Limiter(5, Clock())
    assert limiter()
    limiter._tokens = Raced()
    assert not limiter()


def test_eight_threads_together_get_no_more_than_the_limit_and_all_of_it():
    clock = Clock()
    limiter = Limiter(1000, clock)
    totals = []
    for _ in range(20):
        clock.now += SECOND - clock.now % SECOND + 9 * TENTH + 123
        barrier, found = threading.Barrier(8), []

        def work(barrier: threading.Barrier = barrier, found: list[int] = found) -> None:
            barrier.wait()
            found.append(yeses(limiter, 2000))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        totals.append(sum(found))
    assert totals == [1000] * 20


def test_the_limit_comes_after_the_rate_and_its_refusals_are_counted():
    service = Service(rate=0.5, limit=7)
    recorded = sum(service.trace() for _ in range(1000))
    assert 7 <= recorded <= 14  # a second may pass meanwhile
    left_out, limited = service.provider.sampled_out.value, service.stats["limited"]["sample_limit"]
    assert recorded + left_out + limited == 1000
    assert 400 < left_out < 600


# Decisions that arrive


def test_an_inbound_limit_bounds_what_callers_have_recorded():
    service = Service(inbound_limit=5)
    forced = [
        PropagatedSpan(TRACE, SPAN, sampled=True, debug=True, remote=True),
        PropagatedSpan(TRACE, SPAN, sampled=True, remote=True),
        PropagatedSpan(None, None, sampled=True, debug=True, remote=True),
    ]
    recorded = sum(service.trace(forced[number % 3]) for number in range(300))
    assert 5 <= recorded <= 10
    assert service.stats["limited"] == {"inbound_limit": 300 - recorded}
    assert service.provider.sampled_out.value == 0


def test_a_forced_trace_over_the_limit_is_passed_on_as_denied_and_no_longer_debug():
    service = Service(inbound_limit=0)
    span = service.tracer.start("a", SpanKind.SERVER, PropagatedSpan(TRACE, SPAN, None, True, True, True), {})
    assert (span.trace_id, span.span_id, span.sampled, span.debug) == (TRACE, SPAN, False, False)


def test_the_inbound_limit_leaves_alone_what_is_decided_here():
    service = Service(inbound_limit=0)
    assert service.trace()
    assert service.trace(PropagatedSpan(TRACE, SPAN, remote=True))
    assert service.trace(PropagatedSpan(TRACE, SPAN, sampled=True))
    assert not service.trace(PropagatedSpan(TRACE, SPAN, sampled=False, remote=True))
    assert service.stats["limited"] == {}


@pytest.mark.parametrize("parent", [None, PropagatedSpan(TRACE, SPAN, remote=True)])
def test_a_sampler_that_raises_leaves_the_trace_out_and_is_counted(parent):
    service = Service()
    before = failures.value
    service.provider.sampler = lambda *_: 1 // 0
    assert not service.trace(parent)
    assert failures.value == before + 1
    assert service.provider.sampled_out.value == 1


# Back-pressure


def test_rates_fall_by_halves_as_the_queue_fills_and_return_as_it_drains():
    service = Service(rate=0.8, backpressure=True)
    for fill, factor in [
        (0.49, 1), (0.5, 1 / 2), (0.56, 1 / 2), (0.5625, 1 / 4), (1.0, 1 / 512), (0.6, 1 / 4), (0.3, 1 / 2),
        (0.26, 1 / 2), (0.24, 1), (0.49, 1), (0.5, 1 / 2), (0.0, 1),
    ]:  # fmt: skip
        service.fill = fill
        found = service.stats
        assert (found["rate"], found["effective_rate"]) == (0.8, 0.8 * factor)
        assert found["reason"] == ("backpressure" if factor < 1 else None)


def test_rates_are_changed_only_when_the_level_does():
    fill, applied = iter([0.1, 0.6, 0.6, 0.61, 0.9, 0.1, 0.1]), []
    pressure = Pressure(lambda: next(fill), applied.append)
    for _ in range(7):
        pressure.look()
    assert applied == [1 / 4, 1 / 128, 1.0]


def test_new_traces_notice_a_filling_queue_by_themselves_and_each_one_a_draining_queue():
    service = Service(backpressure=True)
    service.fill = 1.0
    recorded = sum(service.trace() for _ in range(1000))
    assert recorded <= 40
    assert service.provider.counts.limited["backpressure"].value == 1000 - recorded
    service.fill = 0.0
    service.trace()
    assert all(service.trace() for _ in range(1000))


def test_back_pressure_lowers_the_rates_of_rules_too_and_what_arrives_decided_stands():
    service = Service(rules=(Rule(kind=("server",), rate=1.0),), rate=0.0, backpressure=True)
    assert all(service.trace() for _ in range(100))
    service.fill = 1.0
    assert service.stats["effective_rate"] == 0
    assert sum(service.trace() for _ in range(1000)) < 40
    assert all(service.trace(PropagatedSpan(TRACE, SPAN, sampled=True, remote=True)) for _ in range(100))


def test_without_backpressure_nobody_looks_at_the_queue():
    service = Service()
    service.fill = 1.0
    assert all(service.trace() for _ in range(1000))
    assert service.stats["effective_rate"] == 1


def test_each_trace_is_counted_once_under_limits_and_pressure_from_eight_threads():
    service = Service(rate=0.7, limit=50, inbound_limit=20, backpressure=True)
    parents = [None, PropagatedSpan(TRACE, SPAN, sampled=True, remote=True), PropagatedSpan(None, None)]

    def work() -> None:
        for number in range(600):
            service.fill = (number % 100) / 100
            service.trace(parents[number % 3])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    limited = sum(service.stats["limited"].values())
    assert len(service.ended) + service.provider.sampled_out.value + limited == 4800
    assert set(service.stats["limited"]) == {"sample_limit", "inbound_limit", "backpressure"}
