"""Links between services: those of Zipkin, for its own traces and for others."""

import json
from pathlib import Path

import msgspec
import pytest

from obskit.collector.links import links
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.model import Endpoint, Span
from tests.collector import reference_traces
from tests.collector.costs import grows_linearly

SHOP = Endpoint("shop")
DATA = Path(__file__).parents[1] / "data"
CASES = json.loads((DATA / "dependency_links.json").read_text(encoding="utf-8"))


def traces_of(case):
    """The traces of a case; skips where they are in a file that is not at hand."""
    return case["traces"] if "traces" in case else [reference_traces.load(Path(case["trace_file"]).stem)]


def by_name(found):
    return sorted(msgspec.to_builtins(found), key=lambda link: (link["parent"], link["child"]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(CASES.index(case)))
def test_the_links_are_those_of_zipkin(case):
    traces = [decode_list(json.dumps(trace).encode()) for trace in traces_of(case)]
    assert by_name(links(traces)) == by_name(case["links"])


def deep(count, kind, *, shared=False):
    """A chain of inner work (or of shared spans), and as many calls below its end."""
    parents = [None, *(f"{n}" for n in range(count - 1))]
    chain = [Span(trace_id="1", id=f"{n}", parent_id=parents[n], local_endpoint=SHOP) for n in range(count)]
    if shared:
        chain += [msgspec.structs.replace(span, shared=True) for span in chain]
    end = {"parent_id": f"{count - 1}", "kind": kind, "local_endpoint": SHOP, "remote_endpoint": Endpoint("stock")}
    return [*chain, *(Span(trace_id="1", id=f"c{n}", **end) for n in range(count))]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"])
def test_calls_below_a_deep_chain_cost_what_the_spans_cost(kind, shared):
    assert grows_linearly(lambda count: links([deep(count, kind, shared=shared)]), 1000)


def test_a_shared_half_without_parent_has_that_of_its_other_half_whatever_its_kind():
    failed = Span(trace_id="1", id="1", kind="CLIENT", local_endpoint=Endpoint("b"), tags={"error": ""})
    inner = Span(trace_id="1", id="6", parent_id="1")
    served = Span(trace_id="1", id="6", kind="SERVER", shared=True, local_endpoint=Endpoint("d"))
    assert by_name(links([[failed, inner, served]])) == [{"parent": "b", "child": "d", "callCount": 1, "errorCount": 1}]


NOW = 1_700_000_000_000  # milliseconds
CALL = [
    {"id": "1", "kind": "CLIENT", "localEndpoint": {"serviceName": "shop"}, "timestamp": NOW * 1000},
    {"id": "1", "kind": "SERVER", "localEndpoint": {"serviceName": "stock"}, "shared": True, "tags": {"error": ""}},
]
LINK = {"parent": "shop", "child": "stock", "callCount": 1, "errorCount": 1}


def call(*trace_ids):
    return [{"traceId": trace_id, **span} for trace_id, span in zip(trace_ids, CALL, strict=True)]


def test_the_api_counts_the_calls_of_the_traces_in_the_window(client):
    client.post(call("a", "a") + call("b", "b"))
    twice = {"parent": "shop", "child": "stock", "callCount": 2, "errorCount": 2}
    for path in ("/api/v2/dependencies", "/zipkin/api/v2/dependencies"):
        assert client.get(f"{path}?endTs={NOW}").json == [twice]
        assert client.get(f"{path}?endTs={NOW}&lookback=1").json == [twice]
        assert client.get(f"{path}?endTs={NOW - 1}").json == []
        assert client.get(f"{path}?endTs={NOW + 10}&lookback=5").json == []


def test_spans_whose_trace_id_was_cut_to_64_bits_belong_to_the_trace(client):
    client.post(call("463ac35c9f6413ad48485a3953bb6124", "48485a3953bb6124"))
    assert client.get(f"/api/v2/dependencies?endTs={NOW}").json == [LINK]


@pytest.mark.parametrize("query", ["", "endTs=", "endTs=0", "endTs=x", "endTs=1&lookback=0", "endTs=1&lookback=x"])
def test_a_window_that_makes_no_sense_is_refused_with_the_parameter(shared, query):
    answer = shared.get(f"/api/v2/dependencies?{query}")
    assert answer.status == 400
    assert ("lookback" if "lookback" in query else "endTs") in answer.text
