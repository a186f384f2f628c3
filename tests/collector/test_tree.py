"""A trace as rows, however incomplete it is."""

import pytest

from obskit.collector.tree import arrange, extent
from obskit.zipkin.model import Endpoint, Span

from .costs import grows_linearly


def span(span_id, parent_id=None, service="a", **fields):
    return Span(trace_id="1", id=span_id, parent_id=parent_id, local_endpoint=Endpoint(service), **fields)


def shape(spans):
    return [(row.depth, row.span.id + (row.span.kind or "")[:1], row.orphan) for row in arrange(spans)]


def test_children_follow_their_parent_by_start_time():
    spans = [span("3", "1", timestamp=30), span("2", "1", timestamp=20), span("1", timestamp=10), span("4", "2")]
    assert shape(spans) == [(0, "1", False), (1, "2", False), (2, "4", False), (1, "3", False)]


def test_the_server_half_of_a_shared_id_stands_below_the_client_half_with_its_children():
    spans = [
        span("2", "1", "b", kind="SERVER", shared=True),
        span("3", "2", "b"),
        span("4", "2", "a"),
        span("1"),
        span("2", "1", "a", kind="CLIENT"),
    ]
    assert shape(spans) == [(0, "1", False), (1, "2C", False), (2, "2S", False), (3, "3", False), (2, "4", False)]


def test_a_server_half_without_its_client_half_is_below_the_parent():
    assert shape([span("1"), span("2", "1", "b", kind="SERVER", shared=True)]) == [(0, "1", False), (1, "2S", False)]


def test_spans_whose_parent_is_missing_come_after_the_root_and_are_marked():
    assert shape([span("5", "9", timestamp=1), span("1", timestamp=5)]) == [(0, "1", False), (0, "5", True)]


@pytest.mark.parametrize(
    "spans",
    [
        [span("1", "2"), span("2", "1")],
        [span("1", "1")],
        [span("1"), span("1"), span("1", "1")],
        [span("1", "2", kind="SERVER"), span("1", "2", kind="CLIENT"), span("2", "1", kind="CLIENT")],
        [span("1", kind="CLIENT"), span("1", kind="CLIENT"), span("1", kind="SERVER", shared=True)],
    ],
)
def test_every_span_has_exactly_one_row_even_in_a_circle(spans):
    rows = arrange(spans)
    assert sorted(id(row.span) for row in rows) == sorted(map(id, spans))


def test_a_trace_may_be_deeper_than_python_recurses():
    spans = [span("1"), *(span(f"{number:x}", f"{number - 1:x}") for number in range(2, 5000))]
    assert arrange(spans)[-1].depth == 4998


@pytest.mark.parametrize(
    "make",
    [
        lambda number: span("1", kind="SERVER", timestamp=number),
        lambda number: span("1", kind=("CLIENT", "SERVER")[number % 2], shared=bool(number % 2)),
        lambda number: span(f"{number + 2}", "1", kind="SERVER"),
        lambda number: span("1", "1", timestamp=number),
        lambda number: span(f"{number + 1}", f"{number + 2}"),
    ],
    ids=["one id", "two halves of one id", "children of one span", "children of themselves", "deep"],
)
def test_rows_cost_what_their_spans_cost(make):
    assert grows_linearly(lambda count: arrange([make(number) for number in range(count)]), 1500)


def test_the_extent_ignores_spans_without_a_time():
    assert extent([span("1"), span("2", timestamp=5, duration=10), span("3", timestamp=9)]).duration == 10
    assert extent([span("1")]).duration == 0
