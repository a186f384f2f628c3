"""POST /api/v2/spans: what is accepted, refused and stored."""

import contextlib
import gzip
import json
import tracemalloc
import zlib
from pathlib import Path

import pytest

from obskit.collector.intake.zipkin import MAX_BODY, Rejected, gunzip
from obskit.zipkin.json_v2 import decode_list, encode_list
from obskit.zipkin.proto3_encode import encode_list as encode_proto3

from .costs import grows_linearly

DATA = Path(__file__).parents[1] / "data"
CASES = json.loads((DATA / "span_json.json").read_text(encoding="utf-8"))
PROTO3_CASES = json.loads((DATA / "span_proto3.json").read_text(encoding="utf-8"))["decode"]
V1_CASES = json.loads((DATA / "v1_spans.json").read_text(encoding="utf-8"))
PROTO3 = "application/x-protobuf"
SPAN = b'[{"traceId":"1","id":"2","localEndpoint":{"serviceName":"a"}}]'


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(CASES.index(case)))
def test_the_status_is_that_of_the_zipkin_server(shared, case):
    answer = shared.post(case["body"].encode() if "body" in case else bytes.fromhex(case["body_hex"]))
    assert answer.status == case["http_status"]
    assert len(answer.text.splitlines()) == (answer.status != 202)


def test_one_bad_span_stores_nothing_of_the_batch(client):
    bad = b'[{"traceId":"1","id":"2","localEndpoint":{"serviceName":"a"}},{"traceId":"1"}]'
    answer = client.post(bad)
    assert (answer.status, answer.text) == (400, "span 1: missing id\n")
    assert client.get("/api/v2/services").json == []


def test_what_was_answered_202_can_be_read_at_once(client):
    assert client.post(SPAN).status == 202
    assert [span["id"] for span in client.get("/api/v2/trace/1").json] == ["0000000000000002"]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "gzip, identity"])
def test_gzip_is_inflated(client, encoding):
    assert client.post(gzip.compress(SPAN), content_encoding=encoding).status == 202
    assert client.get("/api/v2/services").json == ["a"]


def test_a_gzip_stream_of_several_members_is_one_body(client):
    assert client.post(gzip.compress(SPAN[:10]) + gzip.compress(SPAN[10:]), content_encoding="gzip").status == 202
    assert client.get("/api/v2/services").json == ["a"]


@pytest.mark.parametrize(
    "body",
    [SPAN, b"\x1f\x8b", gzip.compress(b""), gzip.compress(SPAN)[:-8] + b"12345678"],
    ids=["plain", "a beginning", "nothing in it", "wrong sum"],  # a gzip header has the time, test names must not
)
def test_what_is_not_gzip_is_refused(shared, body):
    answer = shared.post(body, content_encoding="gzip")
    assert (answer.status, answer.text) == (400, "Cannot gunzip spans\n")


@pytest.mark.parametrize("body", [gzip.compress(SPAN)[:-4], gzip.compress(SPAN) + b"x"], ids=["torn", "more behind it"])
def test_gzip_whose_list_is_whole_is_read_as_zipkin_reads_it(client, body):
    assert client.post(body, content_encoding="gzip").status == 202
    assert client.get("/api/v2/services").json == ["a"]


def test_gzip_that_ends_within_the_list_is_refused(shared):
    body = gzip.compress(SPAN, 0)
    answer = shared.post(body[: body.index(SPAN) + 20], content_encoding="gzip")
    assert (answer.status, "malformed JSON" in answer.text) == (400, True)


@pytest.mark.parametrize("member", [b"", b" ", b"a" * 3000], ids=["empty", "a blank", "some"])
def test_many_small_members_cost_what_their_bytes_cost(member):
    first, small = gzip.compress(b" " * 100, 0), gzip.compress(member)
    assert grows_linearly(lambda count: swallow(gunzip, first + small * count), 2000)


def swallow(function, *arguments):
    with contextlib.suppress(Rejected):
        function(*arguments)


def test_a_body_of_the_largest_size_is_read(shared):
    assert shared.post(SPAN.ljust(MAX_BODY)).status == 202


@pytest.mark.parametrize("size", [MAX_BODY + 1, 3 * MAX_BODY])
def test_a_body_over_the_largest_size_is_refused_and_the_client_sees_the_answer(shared, size):
    assert shared.post(SPAN.ljust(size)).status == 413


def test_a_body_over_the_largest_size_is_refused_when_its_length_was_not_announced(shared):
    chunks = (SPAN.ljust(1024 * 1024) for _ in range(12))
    assert shared.request("POST", "/api/v2/spans", chunks).status == 413


def test_a_gzip_bomb_is_refused(shared):
    compressor = zlib.compressobj(1, wbits=31)
    megabyte = b" " * 1_000_000
    bomb = compressor.compress(b"[") + b"".join(compressor.compress(megabyte) for _ in range(500)) + compressor.flush()
    assert shared.post(bomb, content_encoding="gzip").status == 413


def test_a_gzip_bomb_is_never_inflated_beyond_the_limit():
    bomb = gzip.compress(b" " * (20 * MAX_BODY), 1)
    tracemalloc.start()
    try:
        with pytest.raises(Rejected):
            gunzip(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MAX_BODY


def test_inflated_members_are_measured_together(shared):
    half = gzip.compress(b"[" + b" " * (MAX_BODY // 2))
    assert shared.post(half * 3, content_encoding="gzip").status == 413


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "text/plain", "", "application/octet-stream"])
def test_any_other_content_type_is_read_as_json(shared, kind):
    assert shared.post(SPAN, content_type=kind).status == 202


@pytest.mark.parametrize("kind", ["application/protobuf", "Application/X-Thrift; a=b", "application/x-thrift"])
def test_a_format_that_is_not_read_is_refused_with_the_one_that_is(shared, kind):
    answer = shared.post(SPAN, content_type=kind)
    assert answer.status == 415
    assert "application/json" in answer.text


# Zipkin looks at a list's first bytes before it decodes, as here; its decoder by itself takes this one.
NOT_A_LIST = "12000a1c0a10463ac35c9f6413ad48485a3953bb61241a08a2fb4a1d1a96d312"


@pytest.mark.parametrize("case", PROTO3_CASES, ids=lambda case: str(PROTO3_CASES.index(case)))
def test_proto3_is_read_as_zipkin_reads_it(client, case):
    answer = client.post(bytes.fromhex(case["hex"]), content_type=PROTO3)
    if "error" in case or case["hex"] == NOT_A_LIST:
        assert (answer.status, len(answer.text.splitlines())) == (400, 1)
        assert client.get("/api/v2/traces").json == []
    else:
        assert answer.status == 202
        ids = {span["traceId"] for span in case["spans"]}
        stored = [span for trace_id in ids for span in client.get(f"/api/v2/trace/{trace_id}").json]
        distinct = {json.dumps(span) for span in case["spans"]}
        assert {json.dumps(span) for span in stored} == distinct


def test_gzipped_proto3_is_inflated(client):
    spans = decode_list(SPAN)
    body = gzip.compress(encode_proto3(spans))
    assert client.post(body, content_type="Application/X-Protobuf; a=b", content_encoding="gzip").status == 202
    assert client.get("/api/v2/trace/1").json == json.loads(encode_list(spans))


V1 = b'[{"traceId":"1","id":"2","binaryAnnotations":[{"key":"k","value":"v","endpoint":{"serviceName":"a"}}]}]'
V1_THRIFT = next(case for case in V1_CASES if "hex" in case)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_version_1_json_is_read_at_its_own_address(client, compress):
    encoding = {} if compress is bytes else {"content_encoding": "gzip"}
    assert client.post(compress(V1), "/api/v1/spans", **encoding).status == 202
    assert client.get("/api/v2/trace/1").json[0]["tags"] == {"k": "v"}


def test_thrift_is_read_there_too(client):
    body = bytes.fromhex(V1_THRIFT["hex"])
    assert client.post(body, "/api/v1/spans", content_type="application/x-thrift").status == 202
    assert len(client.get(f"/api/v2/trace/{V1_THRIFT['trace_id']}").json) == len(V1_THRIFT["spans"])


@pytest.mark.parametrize(
    ("body", "headers", "text"),
    [
        (b"x", {}, "Expected a JSON_V1 encoded list\n"),
        (b" []", {}, "Expected a JSON_V1 encoded list\n"),
        (
            b'[{"traceId":"1","id":"2","localEndpoint":{}}]',
            {},
            "Expected a JSON_V1 encoded list, but received: JSON_V2\n",
        ),
        (b'[{"traceId":"1","id":"2","tags":{}}]', {}, "Expected a JSON_V1 encoded list, but received: JSON_V2\n"),
        (b"[]", {"content_type": "application/x-thrift"}, "Expected a THRIFT encoded list\n"),
    ],
)
def test_another_format_is_refused_there_as_by_zipkin(shared, body, headers, text):
    answer = shared.post(body, "/api/v1/spans", **headers)
    assert (answer.status, answer.text) == (400, text)


def test_an_empty_message_of_version_1_is_taken(shared):
    assert shared.post(b"", "/api/v1/spans").status == shared.post(b"[]", "/api/v1/spans").status == 202
