"""A server span that shares its client's id gets one of its own, and keeps its place in the trace."""

from __future__ import annotations

from typing import Any

from obskit.export.cloud_trace.translation import separate
from obskit.zipkin.model import Endpoint, Span

OWN = f"{0x2222222222222222 ^ 0x3F6A2EC3C810C2AB:016x}"


def span(**fields: Any) -> Span:
    given = {"trace_id": "1" * 32, "id": "2" * 16, "parent_id": "3" * 16, "local_endpoint": Endpoint("orders")}
    return Span(**{**given, **fields})


def test_the_server_half_becomes_the_child_of_the_client_half():
    client = span(kind="CLIENT", local_endpoint=Endpoint("web"))
    first, second = separate([client, span(kind="SERVER", shared=True)])
    assert first == client
    assert (second.id, second.parent_id, second.shared) == (OWN, "2" * 16, False)


def test_what_the_server_did_follows_it_and_what_the_client_did_does_not():
    spans = [
        span(id="4" * 16, parent_id="2" * 16, kind="CLIENT"),
        span(id="5" * 16, parent_id="2" * 16, local_endpoint=Endpoint("web")),
        span(id="6" * 16, parent_id="2" * 16, kind="SERVER"),
        span(id="7" * 16, parent_id="2" * 16, trace_id="9" * 32),
        span(kind="SERVER", shared=True),
    ]
    assert [one.parent_id for one in separate(spans)] == [OWN, "2" * 16, "2" * 16, "2" * 16, "2" * 16]


def test_the_same_span_gets_the_same_id_each_time_it_is_sent():
    assert separate([span(shared=True)]) == separate([span(shared=True)])


def test_an_id_is_never_zero():
    [only] = separate([span(id="3f6a2ec3c810c2ab", shared=True)])
    assert only.id == f"{1:016x}"


def test_nothing_changes_where_nothing_is_shared():
    spans = [span(), span(id="4" * 16, parent_id="2" * 16, local_endpoint=None)]
    assert separate(spans) is spans
