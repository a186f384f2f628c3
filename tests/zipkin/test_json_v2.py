"""Zipkin v2 JSON against what the reference implementation made of the same bodies."""

import json
from pathlib import Path

import pytest

from obskit.zipkin.decoding import DecodeError
from obskit.zipkin.json_v2 import decode_list, encode_each, encode_list, encode_span, join_encoded
from obskit.zipkin.model import Annotation, Endpoint, Span

CASES = json.loads((Path(__file__).parents[1] / "data" / "span_json.json").read_text(encoding="utf-8"))
IDS = {"trace_id": "463ac35c9f6413ad48485a3953bb6124", "id": "a2fb4a1d1a96d312"}


def body_of(case):
    return case["body"].encode() if "body" in case else bytes.fromhex(case["body_hex"])


def decode_one(fields):
    return decode_list(b'[{"traceId":"1","id":"2",' + fields.encode() + b"}]")[0]


@pytest.mark.parametrize("case", [case for case in CASES if "spans" in case], ids=lambda case: str(CASES.index(case)))
def test_what_the_reference_reads_is_read_and_written_the_same(case):
    written = case.get("encoded") or json.dumps(case["spans"], ensure_ascii=False, separators=(",", ":"))
    assert encode_list(decode_list(body_of(case))).decode() == written


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: str(CASES.index(case)))
def test_what_the_reference_refuses_is_refused_in_one_readable_line(case):
    with pytest.raises(DecodeError) as raised:
        decode_list(body_of(case))
    reason = str(raised.value)
    assert reason
    assert "\n" not in reason
    assert len(reason) < 200


def test_a_full_span_keeps_every_field():
    span = Span(
        **IDS,
        parent_id="6b221d5bc9e6496c",
        kind="SERVER",
        name="get /orders/{id}",
        timestamp=1_700_000_000_000_000,
        duration=1,
        local_endpoint=Endpoint("orders", "10.0.0.1", "2001:db8::1", 8080),
        remote_endpoint=Endpoint(port=65535),
        annotations=[Annotation(1, "ws"), Annotation(2, "a\u2028b")],
        tags={"a": "1", "error": "", "é": "😀"},
        debug=True,
        shared=True,
    )
    assert decode_list(encode_list([span])) == [span]


def test_tags_are_written_sorted_by_key():
    assert encode_span(Span(**IDS, tags={"b": "1", "a": "2"})).endswith(b'"tags":{"a":"2","b":"1"}}')


def test_a_lone_surrogate_becomes_a_question_mark_and_nothing_else_changes():
    odd = Span(**IDS, name="a\ud800", tags={"b\udc00": "é", "a": "\u2028\u2029"}, local_endpoint=Endpoint("x"))
    assert encode_span(odd).decode() == (
        '{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a2fb4a1d1a96d312","name":"a?",'
        '"localEndpoint":{"serviceName":"x"},"tags":{"a":"\\u2028\\u2029","b?":"é"}}'
    )


@pytest.mark.parametrize("text", ["a", "\n,\r\0", "\u2028 é \u2029", "b\ud800"])
def test_spans_that_are_encoded_together_are_those_encoded_one_by_one(text):
    span = Span(**IDS, name=text, tags={"z": text, "a": text}, annotations=[Annotation(1, text)])
    assert encode_each([]) == []
    assert encode_each([span, Span(**IDS), span]) == [encode_span(each) for each in (span, Span(**IDS), span)]


def test_a_surrogate_pair_in_escapes_is_one_character():
    assert decode_one(r'"name":"\ud83d\ude00"').name == "😀"


def test_spans_that_were_encoded_one_by_one_join_to_a_list():
    spans = [Span(**IDS, name=name) for name in "abc"]
    for number in range(4):
        lines = [encode_span(span) for span in spans[:number]]
        assert join_encoded(lines) == b"[%b]" % b",".join(lines) == encode_list(spans[:number])


@pytest.mark.parametrize(
    ("fields", "tags"),
    [('"tags":{"a":"1"},"tags":{"b":"2"}', {"a": "1", "b": "2"}), ('"tags":{"a":"1","a":2e0}', {"a": "2e0"})],
)
def test_duplicate_keys_are_read_one_after_the_other(fields, tags):
    assert decode_one(fields).tags == tags


def test_a_later_duplicate_replaces_and_null_keeps_the_earlier():
    span = decode_one('"name":"a","name":null,"localEndpoint":{"serviceName":"a"},"localEndpoint":{"ipv4":"1.2.3.4"}')
    assert span.name == "a"
    assert span.local_endpoint == Endpoint(ipv4="1.2.3.4")
    assert decode_one('"debug":true,"debug":false').debug


def test_a_required_field_may_not_be_null_even_after_a_good_one():
    with pytest.raises(DecodeError, match="traceId must be a string, got null"):
        decode_one('"traceId":null')


@pytest.mark.parametrize(("depth", "accepted"), [(253, True), (254, False), (5000, False), (200_000, False)])
def test_an_unknown_field_may_nest_only_as_deep_as_the_reference_reads(depth, accepted):
    fields = f'"foo":{"[" * depth}{"]" * depth}'
    if accepted:
        assert decode_one(fields).id == "0000000000000002"
    else:
        with pytest.raises(DecodeError, match="nested deeper"):
            decode_one(fields)


@pytest.mark.parametrize("digits", ["9" * 5000, "1e400", "NaN", "Infinity", '"nan"', '"1_0"', '"0x1p3"'])
def test_a_number_that_is_no_64_bit_integer_is_refused(digits):
    with pytest.raises(DecodeError):
        decode_one(f'"timestamp":{digits}')


def test_the_reason_names_the_span_and_the_value():
    with pytest.raises(DecodeError, match=r"span 1: kind 'RPC' is not CLIENT, SERVER, PRODUCER or CONSUMER"):
        decode_list(b'[{"traceId":"1","id":"2"},{"traceId":"1","id":"2","kind":"RPC"}]')
