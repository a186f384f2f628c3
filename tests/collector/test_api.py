"""The read side of Zipkin's API, with the answers of the reference."""

import json
import re
import time

import pytest

from obskit.collector.server import CollectorServer
from obskit.zipkin.json_v2 import decode_list

from . import reference_traces
from .conftest import client_of

NOW = int(time.time() * 1_000_000)


def span(trace_id="1", span_id="1", service="web", **fields):
    return {"traceId": trace_id, "id": span_id, "localEndpoint": {"serviceName": service}, "timestamp": NOW, **fields}


def ids(answer):
    return [trace[0]["traceId"].lstrip("0") for trace in answer.json]


@pytest.mark.parametrize("name", reference_traces.NAMES)
def test_a_real_trace_is_read_back_span_for_span(client, name):
    spans = reference_traces.load(name)
    assert client.post(spans).status == 202
    sent = decode_list(json.dumps(spans).encode())
    read = decode_list(client.get(f"/api/v2/trace/{spans[0]['traceId']}").body)
    assert read == [span for number, span in enumerate(sent) if span not in sent[:number]]


@pytest.mark.parametrize("asked", ["1", "0000000000000001", "00000000000000000000000000000001", "%20%201%20"])
def test_a_trace_id_is_trimmed_and_normalised(client, asked):
    client.post([span()])
    assert client.get(f"/api/v2/trace/{asked}").status == 200


def test_a_trace_id_of_128_bits_is_not_its_low_half(client):
    client.post([span(trace_id="463ac35c9f6413ad48485a3953bb6124")])
    assert client.get("/api/v2/trace/463ac35c9f6413ad48485a3953bb6124").status == 200
    answer = client.get("/api/v2/trace/48485a3953bb6124")
    assert (answer.status, answer.text) == (404, "48485a3953bb6124 not found\n")


@pytest.mark.parametrize("asked", ["zz", "ABC", "1" * 33, "0", "%00", "..%2f1", "1'--"])
def test_a_bad_trace_id_is_refused_or_unknown(shared, asked):
    assert shared.get(f"/api/v2/trace/{asked}").status in {400, 404}


def test_names_are_sorted_and_of_the_asked_service(client):
    client.post([span(service="b", name="Y"), span(service="b", name="X", span_id="2"), span(service="a", name="z")])
    assert client.get("/api/v2/services").json == ["a", "b"]
    assert client.get("/api/v2/spans?serviceName=B").json == ["x", "y"]
    assert client.get("/api/v2/spans?serviceName=").json == client.get("/api/v2/spans?serviceName=c").json == []
    assert client.get("/api/v2/spans").status == 400


def test_remote_services_are_those_of_the_asked_service(client):
    client.post([span(remoteEndpoint={"serviceName": "MySQL"}), span(span_id="2", remoteEndpoint={"ipv4": "1.2.3.4"})])
    assert client.get("/api/v2/remoteServices?serviceName=web").json == ["mysql"]


def test_name_lists_may_be_cached_with_more_than_three_services(client):
    client.post([span(service=name) for name in "abc"])
    assert "cache-control" not in client.get("/api/v2/services").headers
    client.post([span(service="d")])
    for path in ("/api/v2/services", "/api/v2/spans?serviceName=a", "/api/v2/remoteServices?serviceName=a"):
        assert client.get(path).headers["cache-control"] == "max-age=300, must-revalidate"


def test_searches_give_the_trace_with_the_newest_span_first_and_no_more_than_the_limit(client):
    for number in range(1, 13):
        client.post([span(trace_id=f"{number:x}", timestamp=NOW - number)])
    assert ids(client.get("/api/v2/traces")) == list("123456789a")
    assert ids(client.get("/api/v2/traces?limit=2")) == ["1", "2"]


def test_an_answer_that_would_be_too_large_is_refused_with_the_remedy(client, monkeypatch):
    monkeypatch.setattr("obskit.collector.api.reads._LARGEST_ANSWER", 1000)
    for number in range(1, 4):
        client.post([span(trace_id=str(number), timestamp=NOW - number, tags={"note": "x" * 1000 * (number == 1)})])
    assert ids(client.get("/api/v2/traces?limit=1")) == ["1"]  # one is not too many, whatever its size
    for path in ("/api/v2/traces?limit=2147483647", "/api/v2/traceMany?traceIds=1,2"):
        answer = client.get(path)
        assert answer.status == 400
        assert answer.text.startswith("the first 2 traces are over 1000 bytes; ask for fewer (limit)")
    assert ids(client.get("/api/v2/traceMany?traceIds=2,3")) == ["2", "3"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("serviceName=web", ["1"]),
        ("serviceName=WEB&spanName=GET", ["1"]),
        ("serviceName=web&spanName=query", []),
        ("spanName=query", ["1"]),
        ("remoteServiceName=mysql", ["1"]),
        ("annotationQuery=cache.miss%20and%20http.method=GET", ["1"]),
        ("annotationQuery=http.method=POST", []),
        ("minDuration=100", ["1", "2"]),
        ("minDuration=101", []),
        ("minDuration=1&maxDuration=10", ["1"]),
        ("serviceName=%25", []),
        ("serviceName='%20OR%201=1", []),
    ],
)
def test_searches_select(client, query, found):
    client.post(
        [
            span(
                name="get",
                duration=100,
                tags={"http.method": "GET"},
                annotations=[{"timestamp": 1, "value": "cache.miss"}],
            ),
            span(span_id="2", service="db", name="query", duration=5, remoteEndpoint={"serviceName": "mysql"}),
            span(trace_id="2", service="other", duration=100, timestamp=NOW - 1),
        ]
    )
    assert ids(client.get(f"/api/v2/traces?{query}")) == found


def test_searches_see_only_traces_inside_the_window(client):
    client.post([span(timestamp=1_700_000_000_000_000), {"traceId": "2", "id": "2"}])
    assert ids(client.get("/api/v2/traces")) == []
    assert ids(client.get("/api/v2/traces?endTs=1700000000000&lookback=1")) == ["1"]
    assert ids(client.get("/api/v2/traces?endTs=1699999999999&lookback=1000")) == []
    assert ids(client.get("/api/v2/traces?endTs=9223372036854775807&lookback=9223372036854775807")) == ["1"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "endTs=-1", "lookback=0", "maxDuration=5", "minDuration=2&maxDuration=1"]
)
def test_a_query_that_makes_no_sense_is_refused_with_the_parameter(shared, query):
    answer = shared.get(f"/api/v2/traces?{query}")
    assert answer.status == 400
    assert query.split("=", maxsplit=1)[0].split("D")[0] in answer.text


def test_several_traces_are_read_by_id_and_unknown_ones_left_out(client):
    client.post([span(), span(trace_id="2")])
    assert ids(client.get("/api/v2/traceMany?traceIds=2,3,1")) == ["2", "1"]


@pytest.mark.parametrize("asked", ["", "?traceIds=", "?traceIds=1", "?traceIds=1,01", "?traceIds=1,x", "?traceIds=1,"])
def test_several_traces_need_several_different_ids(shared, asked):
    assert shared.get(f"/api/v2/traceMany{asked}").status == 400


@pytest.mark.parametrize("asked", ["c1", "0" * 14 + "c1", "0" * 15 + "c1", "0" * 30 + "c1", "%20c1%09"])
@pytest.mark.parametrize("sent", ["c1", "0" * 15 + "c1", "0" * 20 + "c1", "0" * 30 + "c1"])
def test_a_trace_is_found_with_however_many_zeros_it_was_sent_and_is_asked_for(client, sent, asked):
    client.post([span(trace_id=sent)])
    assert client.get(f"/api/v2/trace/{asked}").status == 200
    assert client.get(f"/zipkin/traces/{asked}").status == 200
    link = re.search(r'href="(/traces/\w+)"', client.get("/zipkin/").text)[1]
    assert client.get(link).status == 200


@pytest.mark.parametrize("digits", range(17, 32))
def test_an_id_of_17_to_31_digits_is_padded_wherever_it_stands(client, digits):
    asked = "1" + "0" * (digits - 2) + "1"
    client.post([span(trace_id=asked)])
    for path in (f"/api/v2/trace/{asked}", f"/api/v2/traceMany?traceIds=2,{asked}", f"/zipkin/traces/{asked}"):
        answer = client.get(path)
        assert (answer.status, asked.rjust(32, "0") in answer.text) == (200, True)


@pytest.mark.parametrize("path", ["trace/c1%C2%A0", "trace/c1%E3%80%80", "traceMany?traceIds=c1,%20d1"])
def test_other_blanks_around_an_id_are_refused_as_in_zipkin(shared, path):
    assert shared.get(f"/api/v2/{path}").status == 400


def test_of_a_parameter_that_comes_twice_the_first_counts(client):
    client.post([span()])
    assert ids(client.get("/api/v2/traces?serviceName=nobody&serviceName=web")) == []
    assert ids(client.get("/api/v2/traces?serviceName=web&serviceName=nobody")) == ["1"]
    assert client.get("/api/v2/spans?serviceName=nobody&serviceName=web").json == []


@pytest.mark.parametrize("path", ["//api/v2/services", "/api//v2/services", "/zipkin///api/v2/services"])
def test_slashes_that_stand_together_are_one(client, path):
    client.post([span()])
    assert client.get(path).json == ["web"]


def test_zipkins_own_interface_finds_its_configuration(shared):
    answer = shared.get("/zipkin/config.json")
    assert (answer.status, answer.json["searchEnabled"], answer.json["defaultLookback"]) == (200, True, 900_000)


def test_dependencies_count_a_trace_with_any_span_in_the_window_to_its_last_millisecond(client):
    call = {"kind": "CLIENT", "remoteEndpoint": {"serviceName": "db"}}
    millisecond = NOW // 1000
    last = millisecond * 1000 + 999
    client.post([span(timestamp=NOW - 10_000_000), span(span_id="2", parentId="1", timestamp=last, **call)])
    for end, lookback, count in ((millisecond, 1, 1), (millisecond - 1, 1000, 0), (millisecond + 5, 4, 0)):
        links = client.get(f"/api/v2/dependencies?endTs={end}&lookback={lookback}").json
        assert len(links) == count, (end, lookback)


def test_a_span_that_is_posted_again_is_stored_once(client):
    client.post([span()])
    client.post([span(), span(tags={"a": "late"})])
    assert len(client.get("/api/v2/trace/1").json) == 2


@pytest.mark.parametrize("path", ["services", "spans?serviceName=web", "traces", "trace/1", "traceMany?traceIds=1,2"])
def test_every_read_is_also_below_zipkin(client, path):
    client.post([span()])
    assert client.get(f"/zipkin/api/v2/{path}").body == client.get(f"/api/v2/{path}").body


def test_zipkins_root_leads_to_the_traces(shared):
    answer = shared.get("/zipkin")
    assert (answer.status, answer.headers["location"]) == (302, "/traces")


def test_health_and_info_have_zipkins_form(shared):
    health = shared.get("/health")
    assert health.status == 200
    assert health.json["status"] == health.json["zipkin"]["status"] == "UP"
    assert set(shared.get("/info").json["zipkin"]) == {"version", "commit"}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("POST", "/api/v2/services", 405), ("TRACE", "/health", 405)]
)
def test_what_does_not_exist_is_answered_as_such(shared, method, path, status):
    assert shared.request(method, path).status == status


def test_the_oldest_traces_make_room():
    with CollectorServer(max_spans=3) as server:
        client = client_of(server)
        client.post([span(trace_id="1"), span(trace_id="1", span_id="2")])
        client.post([span(trace_id="2")])
        client.post([span(trace_id="3")])
        assert sorted(ids(client.get("/api/v2/traces"))) == ["2", "3"]
        client.post([span(trace_id="4"), span(trace_id="5")])
        assert sorted(ids(client.get("/api/v2/traces"))) == ["3", "4", "5"]
