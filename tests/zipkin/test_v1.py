"""Spans of Zipkin's first model, in JSON and thrift: what the real server makes of them.

``v1_spans.json`` holds random messages, and the traces that Zipkin 3.6.1 answered after they were posted to it.
"""

import json
import struct
from pathlib import Path

import pytest

from obskit.zipkin import json_v1, thrift_decode
from obskit.zipkin.decoding import DecodeError
from obskit.zipkin.json_v2 import encode_span

CASES = json.loads((Path(__file__).parents[1] / "data" / "v1_spans.json").read_text(encoding="utf-8"))
SPAN = {"traceId": "1", "id": "2"}


def read(case):
    return (
        json_v1.decode_list(case["body"].encode())
        if "body" in case
        else thrift_decode.decode_list(bytes.fromhex(case["hex"]))
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(CASES.index(case)))
def test_a_message_means_what_it_means_to_zipkin(case):
    found = {json.dumps(json.loads(encode_span(span))) for span in read(case)}
    assert found == {json.dumps(span) for span in case["spans"]}


def test_an_id_of_17_digits_keeps_them_all():
    """Zipkin keeps the last sixteen: the trace would not be found by its id."""
    (span,) = json_v1.decode_list(json.dumps([{**SPAN, "traceId": "1" * 17}]).encode())
    assert span.trace_id == "1".rjust(16, "0") + "1" * 16


@pytest.mark.parametrize(
    "fields",
    [
        *({"traceId": value} for value in (None, "", "0", "x", "1" * 33, True)),
        *({"id": value} for value in (None, "", "0", "0" * 16, "X")),
        *(
            {"annotations": value}
            for value in ({}, [1], [{"timestamp": 1}], [{"value": "a"}], [{"timestamp": 0, "value": "a"}])
        ),
        *({"binaryAnnotations": value} for value in ("x", [None], [{"value": "a"}])),
        *({field: "x"} for field in ("timestamp", "duration", "debug")),
    ],
    ids=repr,
)
def test_a_span_that_makes_no_sense_refuses_its_message(fields):
    with pytest.raises(DecodeError):
        json_v1.decode_list(json.dumps([SPAN, {**SPAN, **fields}]).encode())


def test_unknown_fields_are_left_out():
    inner = [{"timestamp": 1, "value": "a", "x": [1]}]
    body = json.dumps(
        [{**SPAN, "x": {"y": []}, "annotations": inner, "binaryAnnotations": [{"key": "k", "value": None}]}]
    )
    assert [annotation.value for annotation in json_v1.decode_list(body.encode())[0].annotations] == ["a"]


HEAD = b"\x0c\0\0\0\1"
IDS = b"\x0a\0\1" + b"\0" * 7 + b"\1" + b"\x0a\0\4" + b"\0" * 7 + b"\2"
UNKNOWN = [
    *(
        b"\2\0\x14\1",
        b"\3\0\x14\1",
        b"\4\0\x14" + b"\0" * 8,
        b"\6\0\x14\0\0",
        b"\x08\0\x14\0\0\0\0",
        b"\x0a\0\x14" + b"\0" * 8,
    ),
    *(b"\x0b\0\x14\0\0\0\1a", b"\x0c\0\x14\2\0\1\1\0", b"\x0f\0\x14\x08\0\0\0\1\0\0\0\0", b"\x0e\0\x14\2\0\0\0\1\0"),
    b"\x0d\0\x14\x0b\x0b\0\0\0\1\0\0\0\1a\0\0\0\1b",
]


@pytest.mark.parametrize("field", UNKNOWN, ids=bytes.hex)
def test_unknown_thrift_fields_of_every_type_are_passed_over(field):
    (span,) = thrift_decode.decode_list(HEAD + field + IDS + field + b"\0")
    assert (span.trace_id, span.id) == ("1".rjust(16, "0"), "2".rjust(16, "0"))


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"\x0c",
            HEAD,
            HEAD + IDS,
            HEAD + b"\0",
            HEAD + IDS[:11] + b"\0",
            b"\x0b\0\0\0\0",
            b"\x0c\xff\xff\xff\xff",
        ),
        HEAD + IDS + b"\x0b\0\3\x7f\xff\xff\xff\0",
        HEAD + IDS + b"\x0f\0\x14\x0c\x7f\xff\xff\xff\0",
        HEAD + IDS + b"\x10\0\x14\0",
        HEAD + IDS + b"\x0c\0\x14" * 100,
        HEAD + IDS.replace(b"\1\x0a", b"\0\x0a") + b"\0",
    ],
    ids=bytes.hex,
)
def test_thrift_that_is_torn_or_makes_no_sense_is_refused(body):
    with pytest.raises(DecodeError):
        thrift_decode.decode_list(body)


def test_a_list_that_claims_to_be_endless_ends_with_its_bytes():
    endless = struct.pack(">i", 2**31 - 1)
    with pytest.raises(DecodeError):
        thrift_decode.decode_list(b"\x0c" + endless + IDS + b"\x0f\0\6\x0c" + endless)
