"""zipkin.proto3 against what the reference implementation wrote and read, and against JSON."""

import json
import random
from pathlib import Path

import pytest

from obskit.zipkin import json_v2
from obskit.zipkin.decoding import DecodeError
from obskit.zipkin.model import Annotation, Endpoint, Span
from obskit.zipkin.proto3_decode import decode_list
from obskit.zipkin.proto3_encode import encode_list, encode_span

CASES = json.loads((Path(__file__).parents[1] / "data" / "span_proto3.json").read_text(encoding="utf-8"))
READ = [case for case in CASES["decode"] if "spans" in case]
REFUSED = [case for case in CASES["decode"] if "error" in case]
IDS = {"trace_id": "463ac35c9f6413ad48485a3953bb6124", "id": "a2fb4a1d1a96d312"}
IDS_IN_PROTO3 = bytes.fromhex("0a10463ac35c9f6413ad48485a3953bb61241a08a2fb4a1d1a96d312")
TEXTS = [
    "",
    "a",
    "get /orders/{id}",
    "x" * 118,
    "x" * 127,
    "x" * 128,
    "x" * 20_000,
    "é",
    "日本語" * 50,
    '\U0001f600\n"\\',
]
NUMBERS = [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 2**35, 2**63 - 1]


def from_json(spans):
    return json_v2.decode_list(json.dumps(spans).encode())


def numbered(cases):
    return [pytest.param(case, id=str(number)) for number, case in enumerate(cases)]


@pytest.mark.parametrize("case", numbered(CASES["encode"]))
def test_spans_are_written_as_the_reference_writes_them(case):
    assert encode_list(from_json(case["spans"])).hex() == case["hex"]


@pytest.mark.parametrize("case", numbered(CASES["encode"]))
def test_what_the_reference_wrote_is_read_as_what_it_was(case):
    spans = from_json(case["spans"])
    for span in spans:  # what protobuf cannot tell from nothing
        span.annotations = [note for note in span.annotations if note.value]
        span.tags = {key: value for key, value in span.tags.items() if key}
    assert decode_list(bytes.fromhex(case["hex"])) == spans


@pytest.mark.parametrize("case", numbered(READ))
def test_what_the_reference_reads_is_read_the_same(case):
    spans = decode_list(bytes.fromhex(case["hex"]))
    assert json_v2.encode_list(spans).decode() == json.dumps(case["spans"], ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("case", numbered(REFUSED))
def test_what_the_reference_refuses_is_refused_in_one_readable_line(case):
    with pytest.raises(DecodeError) as raised:
        decode_list(bytes.fromhex(case["hex"]))
    reason = str(raised.value)
    assert reason.startswith("span ")
    assert "\n" not in reason
    assert len(reason) < 200


def random_endpoint(rng: random.Random) -> Endpoint | None:
    endpoint = Endpoint(
        rng.choice([None, "orders", "é"]),
        rng.choice([None, "10.0.0.1", "255.0.0.255"]),
        rng.choice([None, "2001:db8::c001", "2001:db8::1:1:1:1:1", "::1", "::ffff:102:304"]),
        rng.choice([None, 1, 127, 128, 65535]),
    )
    return endpoint if endpoint != Endpoint() else None


def random_span(rng: random.Random) -> Span:
    kind = rng.choice([None, "CLIENT", "SERVER", "PRODUCER", "CONSUMER"])
    notes = {(rng.choice([-1, *NUMBERS]), rng.choice(TEXTS[1:])) for _ in range(rng.randrange(4))}
    return Span(
        trace_id=f"{rng.randrange(1, 2**62):0{rng.choice([16, 32])}x}".removeprefix("0" * 16),
        parent_id=rng.choice([None, f"{rng.randrange(1, 2**32):016x}"]),
        id=f"{rng.randrange(2**32, 2**64):016x}",
        kind=kind,
        name=rng.choice([None, *TEXTS[1:]]),
        timestamp=rng.choice([None, *NUMBERS]),
        duration=rng.choice([None, *NUMBERS]),
        local_endpoint=random_endpoint(rng),
        remote_endpoint=random_endpoint(rng),
        annotations=[Annotation(*note) for note in sorted(notes)],
        tags={rng.choice(TEXTS[1:]): rng.choice(TEXTS) for _ in range(rng.randrange(5))},
        debug=rng.random() < 0.2,
        shared=kind != "CLIENT" and rng.random() < 0.2,
    )


def test_a_span_is_the_same_after_proto3_as_after_json():
    rng = random.Random(1)
    for _ in range(2000):
        span = random_span(rng)
        assert decode_list(encode_span(span)) == json_v2.decode_list(json_v2.encode_list([span])) == [span]


def test_damaged_messages_are_read_or_refused_and_nothing_else():
    rng = random.Random(2)
    messages = [bytes.fromhex(case["hex"]) for case in CASES["encode"] if case["hex"]]
    refused = 0
    for _ in range(5000):
        message = bytearray(rng.choice(messages)[:2000])
        for _ in range(rng.randrange(1, 4)):
            message[rng.randrange(len(message))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        try:
            spans = decode_list(bytes(message[: rng.choice([None, rng.randrange(len(message))])]))
        except DecodeError:
            refused += 1
        else:
            assert json_v2.decode_list(json_v2.encode_list(spans)) == spans
    assert 1000 < refused < 5000


@pytest.mark.parametrize("field", ["72ffffffff0f", "42ffffffff0f"], ids=["unknown", "endpoint"])
def test_a_negative_length_does_not_turn_back(field):
    body = IDS_IN_PROTO3 + bytes.fromhex(field)
    assert [span.id for span in decode_list(b"\n" + bytes([len(body)]) + body)] == [IDS["id"]]


def test_tags_are_written_sorted_whether_they_are_short_or_long():
    for value in ("1", "x" * 200):
        assert encode_span(Span(**IDS, tags={"b": value, "a": value})) == encode_span(
            Span(**IDS, tags={"a": value, "b": value})
        )


def test_a_lone_surrogate_becomes_a_question_mark():
    odd = Span(**IDS, name="a\ud800", tags={"b\udc00": "\ud800"}, annotations=[Annotation(1, "\udfff")])
    (span,) = decode_list(encode_span(odd))
    assert (span.name, span.tags, span.annotations) == ("a?", {"b?": "?"}, [Annotation(1, "?")])


def test_an_annotation_at_time_zero_is_written_as_the_reference_writes_it():
    span = Span(**IDS, annotations=[Annotation(0, "a")])
    assert encode_span(span)[2:] == IDS_IN_PROTO3 + bytes.fromhex("5203120161")


@pytest.mark.parametrize("time", [0, -1, -(2**70), 2**63, 2**70])
def test_a_time_that_no_reader_takes_is_left_out(time):
    assert encode_span(Span(**IDS, timestamp=time, duration=time)) == encode_span(Span(**IDS))


@pytest.mark.parametrize("text", ["1.2.3.256", "fe80::1%eth0", "localhost", "::1.2.3", ""])
def test_what_is_no_address_is_left_out(text):
    assert encode_span(Span(**IDS, local_endpoint=Endpoint(ipv4=text, ipv6=text))) == encode_span(Span(**IDS))
    (span,) = decode_list(encode_span(Span(**IDS, remote_endpoint=Endpoint("a", text, text, 1))))
    assert span.remote_endpoint == Endpoint("a", port=1)


def test_an_ipv4_address_in_ipv6_is_ipv4_as_in_json():
    span = Span(**IDS, local_endpoint=Endpoint(ipv6="::ffff:1.2.3.4"))
    assert decode_list(encode_span(span)) == json_v2.decode_list(json_v2.encode_list([span]))


@pytest.mark.parametrize("impossible", [{"kind": "RPC"}, {"name": 5}, {"annotations": [Annotation(2**63, "a")]}])
def test_a_field_that_proto3_cannot_hold_raises(impossible):
    with pytest.raises((ValueError, OverflowError, KeyError, AttributeError, IndexError)):
        encode_span(Span(**IDS, **impossible))
