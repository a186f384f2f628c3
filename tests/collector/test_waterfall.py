"""A trace as a waterfall: clocks, halves of calls, repeats, the critical path, own time."""

import json

import pytest

from obskit.collector.waterfall import view as views
from obskit.collector.waterfall.view import view
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.model import Endpoint, Span

from . import reference_traces
from .costs import grows_linearly

START = 1_000_000


def span(span_id, parent_id=None, start=0, took=0, service="a", ip=None, **fields):
    endpoint = Endpoint(service, ip)
    times = {"timestamp": START + start, "duration": took}
    return Span(trace_id="1", id=span_id, parent_id=parent_id, local_endpoint=endpoint, **times, **fields)


def call(skew=0, server=60, **server_fields):
    """A client's half of 100 from 10 on, a server's half in the middle by its own clock, and work inside it."""
    begun = 10 + (100 - server) // 2 + skew
    return [
        span("1", None, 0, 200, kind="SERVER"),
        span("2", "1", 10, 100, kind="CLIENT"),
        span("3", "2", begun, server, "b", kind="SERVER", **server_fields),
        span("4", "3", begun + 5, 10, "b"),
    ]


def starts(shown):
    return [(node.span.id, node.start - START, node.shift) for node in shown.rows]


@pytest.mark.parametrize("skew", [500_000, -500_000, 70, -70])
def test_a_server_outside_its_client_is_moved_into_its_middle_with_what_it_did(skew):
    shown = view(call(skew))
    assert starts(shown) == [("1", 0, 0), ("2", 10, 0), ("4", 35, -skew)]
    assert (shown.rows[1].half.start - START, shown.rows[1].half.shift) == (30, -skew)
    assert (shown.moved, shown.furthest) == (2, abs(skew))


@pytest.mark.parametrize(
    "spans",
    [
        call(),
        call(15),
        call(-15),
        [*call(500)[:2], span("3", "2", 530, 60, "b", kind="CONSUMER")],  # not a call: it may come late
        [span("2", None, 0, 100, kind="CLIENT"), span("3", "2", 5, 900, "b", kind="SERVER")],  # the client gave up
    ],
)
def test_what_can_be_true_is_left_alone(spans):
    assert view(spans).moved == 0


def test_one_machine_has_one_clock():
    spans = call(500, ip="10.0.0.1")
    spans[1].local_endpoint = Endpoint("a", "10.0.0.1")
    assert view(spans).moved == 0


def test_raw_times_are_as_they_were_sent():
    shown = view(call(500_000), raw=True)
    assert shown.moved == 0
    assert shown.rows[-1].start - START == 500_035


def test_the_skewed_trace_of_zipkins_repository_is_moved():

    shown = view(decode_list(json.dumps(reference_traces.load("skew")).encode()))
    assert shown.moved
    for node in shown.rows:
        if node.half and node.half.duration <= node.duration:
            assert node.start <= node.half.start <= node.half.end <= node.end


def test_the_halves_of_a_call_are_one_line_with_the_children_of_both():
    shown = view([*call(), span("5", "2", 12, 3)])
    assert [(node.span.id, node.depth, node.half and node.half.span.id) for node in shown.rows] == [
        ("1", 0, None),
        ("2", 1, "3"),
        ("5", 2, None),
        ("4", 2, None),
    ]


def test_equal_siblings_are_one_line_from_five_on_and_a_failed_one_is_seen():
    def repeats(count, **fields):
        return [span("1", None, 0, 999), *(span(f"1{n}", "1", n, 5, name="q", **fields) for n in range(count))]

    assert [node.repeats for node in view(repeats(4)).rows] == [0] * 5
    shown = view([*repeats(5), span("2", "1", 2, 5, name="other"), span("3", "1", 50, 1, name="q", tags={"error": ""})])
    assert [node.repeats for node in shown.rows] == [0, 6, 0, 0, 0, 0, 0, 0, 0]
    assert shown.rows[1].failed
    assert (shown.rows[1].start - START, shown.rows[1].duration) == (0, 51)


def test_the_critical_path_goes_back_through_what_ended_last():
    spans = [
        span("1", None, 0, 100),
        span("2", "1", 10, 30),  # ended before 3 began
        span("3", "1", 50, 40),
        span("4", "1", 55, 20),  # ran beside 3, which ended later
        span("5", "3", 60, 10),
    ]
    waited = {n.span.id: sorted((a - START, b - START) for a, b in n.critical) for n in view(spans).rows}
    assert waited == {
        "1": [(0, 10), (40, 50), (90, 100)],
        "2": [(10, 40)],
        "3": [(50, 60), (70, 90)],
        "4": [],
        "5": [(60, 70)],
    }
    assert sum(end - begin for parts in waited.values() for begin, end in parts) == 100


def test_own_time_is_what_no_child_was_running():
    shown = view(
        [
            span("1", None, 0, 100),
            span("2", "1", 10, 30, "b"),
            span("3", "1", 20, 40, "b"),
            span("4", "1", 90, 50, "c"),
        ]
    )
    assert shown.own == {"b": 70, "c": 50, "a": 40}


def test_a_call_is_the_servers_time_and_on_the_clients_side_the_way():
    assert view(call()).own == {"a": 140, "b": 60}


def test_focus_shows_one_span_and_what_is_below_it():
    assert [node.span.id for node in view(call(), focus="2").rows] == ["2", "4"]
    assert [node.span.id for node in view(call(), focus="nothing").rows] == ["1", "2", "4"]


def test_a_trace_too_large_for_a_browser_keeps_errors_and_what_it_waited_for(monkeypatch):
    monkeypatch.setattr(views, "MOST_ROWS", 20)
    chain = [span(f"{n:x}", f"{n - 1:x}" if n > 1 else None, n, 1000 - 2 * n, name=str(n)) for n in range(1, 31)]
    beside = [span(f"b{n:x}", "1", 2, 1, name=f"b{n}") for n in range(60)]
    late = span("ff", f"{29:x}", 5, 0, name="late", tags={"error": ""})
    shown = view([*chain, *beside, late])
    ids = [node.span.id for node in shown.rows]
    assert "ff" in ids
    assert set(ids) >= {span.id for span in chain}
    assert sum(shown.hidden.values()) + len(ids) == 91
    assert set(shown.hidden) <= set(shown.rows)


@pytest.mark.parametrize(
    "spans",
    [
        [Span(trace_id="1", id="2")],
        [Span(trace_id="1", id="1", parent_id="2"), Span(trace_id="1", id="2", parent_id="1")],
        [span("1", kind="CLIENT"), span("1", kind="SERVER", shared=True), span("1", kind="CLIENT")],
        [span("1", "9", 5, 2**62), span("2", "1", -(10**9), 1)],
    ],
)
def test_every_span_is_somewhere_however_odd(spans):
    shown = view(spans)
    assert sum(2 if node.half else 1 for node in shown.rows) == len(spans)


def test_lines_cost_what_their_spans_cost():
    assert grows_linearly(lambda count: view([span(f"{n:x}", "1", n, 9, name=f"{n}") for n in range(1, count)]), 1500)
    deep = lambda count: view([span(f"{n:x}", f"{n - 1:x}", n, 9000 - n) for n in range(1, count)])  # noqa: E731
    assert grows_linearly(deep, 1500)
