"""What can be set as in Zipkin: sample rate, trace ids, search, autocomplete."""

import random

import pytest

from obskit.collector.options import Options
from obskit.collector.server import CollectorServer
from obskit.zipkin.model import Span

from .conftest import client_of

LOW = "00000000000000a1"
HIGH = "1" * 16 + LOW
NOW = 1_700_000_000_000


def span(trace_id, **fields):
    return {"traceId": trace_id, "id": "1", "timestamp": NOW * 1000, "localEndpoint": {"serviceName": "web"}, **fields}


@pytest.mark.parametrize(
    ("rate", "trace_id", "kept"),
    [
        (0.0, "0" * 15 + "1", False),
        (0.5, "4" + "0" * 15, True),  # a half of the largest signed number, as a float has it
        (0.5, "4" + "0" * 14 + "1", False),
        (0.1, "0cccccd000000000", True),
        (0.1, "0cccccd000000001", False),
        (0.5, "f" * 16, True),  # -1
        (0.5, "8" + "0" * 15, False),  # the smallest number counts as the largest
        (0.9999, "7" + "f" * 15, False),
        (1.0, "8" + "0" * 15, True),
        (0.5, "f" * 16 + "0" * 15 + "1", True),  # the low half decides
    ],
)
def test_the_sample_rate_keeps_the_traces_that_zipkin_keeps(rate, trace_id, kept):
    options = Options(sample_rate=rate)
    assert options.keeps(Span(trace_id=trace_id, id="1")) is kept
    assert options.keeps(Span(trace_id=trace_id, id="1", debug=True))


def test_what_is_sampled_out_is_counted_as_dropped_and_answered_202():
    source = random.Random(2)
    spans = [span(f"{source.getrandbits(64):016x}") for _ in range(400)]
    with CollectorServer(options=Options(sample_rate=0.25)) as server:
        client = client_of(server)
        assert client.post(spans).status == 202
        counts = client.get("/metrics").json
        stored = len(client.get(f"/api/v2/traces?endTs={NOW}&limit=1000").json)
    assert counts["counter.zipkin_collector.spans.http"] == 400
    assert counts["counter.zipkin_collector.spans_dropped.http"] == 400 - stored
    assert 60 < stored < 140


@pytest.mark.parametrize("strict", [True, False])
def test_ids_that_were_cut_to_64_bits_are_one_trace_unless_strict(strict):
    with CollectorServer(options=Options(strict_trace_id=strict)) as server:
        client = client_of(server)
        client.post([span(HIGH), span(LOW, parentId="1", id="2")])
        assert (
            len(client.get(f"/api/v2/trace/{HIGH}").json) == len(client.get(f"/api/v2/trace/{LOW}").json) == 2 - strict
        )
        found = client.get(f"/api/v2/traces?endTs={NOW}&lookback=1000").json
        assert sorted(map(len, found)) == ([1, 1] if strict else [2])


def test_without_search_traces_are_found_by_their_ids_alone():
    with CollectorServer(options=Options(search_enabled=False, autocomplete_keys=("k",))) as server:
        client = client_of(server)
        call = {"kind": "CLIENT", "remoteEndpoint": {"serviceName": "db"}, "tags": {"k": "v"}}
        client.post([span("1", name="get", **call)])
        for path in ("services", "spans?serviceName=web", "remoteServices?serviceName=web", f"traces?endTs={NOW}"):
            assert client.get(f"/api/v2/{path}").json == []
        assert client.get("/api/v2/autocompleteKeys").json == client.get("/api/v2/autocompleteValues?key=k").json == []
        assert client.get("/api/v2/trace/1").status == 200
        assert len(client.get(f"/api/v2/dependencies?endTs={NOW}&lookback=1000").json) == 1
        assert client.get("/zipkin/config.json").json["searchEnabled"] is False


def test_the_values_of_autocomplete_keys_are_listed():
    with CollectorServer(options=Options(autocomplete_keys=("environment", "tenant"))) as server:
        client = client_of(server)
        for number in range(5):
            client.post([span("1", id=str(number + 1), tags={"environment": f"e{number % 2}", "other": "x"})])
        keys = client.get("/api/v2/autocompleteKeys")
        assert (keys.json, keys.headers["cache-control"]) == (["environment", "tenant"], "max-age=300, must-revalidate")
        assert client.get("/api/v2/autocompleteValues?key=environment").json == ["e0", "e1"]
        for key in ("tenant", "other", "nope"):
            assert client.get(f"/api/v2/autocompleteValues?key={key}").json == []


@pytest.mark.parametrize("query", ["", "?key="])
def test_autocomplete_needs_a_key(shared, query):
    assert shared.get(f"/api/v2/autocompleteValues{query}").status == 400


@pytest.mark.parametrize("path", ["health", "info", "prometheus"])
def test_what_springs_actuator_answers_is_there_too(shared, path):
    assert shared.get(f"/actuator/{path}").status == 200
