"""The fast path for JSON: what it reads by itself, it reads as the exact one does."""

import json
import random
from pathlib import Path

import pytest

from obskit.zipkin import json_v2_fast
from obskit.zipkin.json_v2 import decode_list, encode_span

CASES = json.loads((Path(__file__).parents[1] / "data" / "span_json.json").read_text(encoding="utf-8"))
NORMAL = {
    "traceId": "a" * 32,
    "parentId": "b" * 16,
    "id": "c" * 16,
    "kind": "SERVER",
    "name": "get /",
    "timestamp": 1_700_000_000_000_000,
    "duration": 5,
    "localEndpoint": {"serviceName": "shop", "ipv4": "10.0.0.1"},
    "remoteEndpoint": {"ipv6": "2001:db8::1", "port": 80},
    "annotations": [{"timestamp": 1, "value": "a"}, {"timestamp": 1, "value": "b"}],
    "tags": {"a": "1", "b": ""},
    "debug": True,
    "shared": True,
}
SPLICES = [
    b'"traceId":"1",',
    *(b'"shared":true,', b'"kind":"CLIENT",', b'"name":"A",', b'"tags":{"a":"1"},', b'"debug":false,', b'"x":[],'),
    *(
        b"null",
        b"0",
        b" ",
        b"1.0",
        b'"port":0,',
        b'"port":65536',
        b"-1",
        b'"ipv4":"1.2.3.4",',
        b'"name":"",',
        b"{",
        b"}",
    ),
]


@pytest.fixture
def exact(monkeypatch):
    """How many messages the exact reader had to read."""
    calls = []

    def decode(body):
        calls.append(body)
        return decode_list(body)

    monkeypatch.setattr(json_v2_fast, "decode_list", decode)
    return calls


def read(reader, body):
    try:
        return reader(body)
    except ValueError as error:
        return str(error)


def same(body):
    found = read(json_v2_fast.read_list, body)
    expected = read(decode_list, body)
    assert (found if isinstance(found, str) else found[0]) == expected, body
    assert isinstance(found, str) or found[1] == list(map(encode_span, expected))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(CASES.index(case)))
def test_it_reads_what_the_reference_reads(case):
    same(case["body"].encode() if "body" in case else bytes.fromhex(case["body_hex"]))


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("count", [1, 3])
def test_a_normal_message_needs_no_exact_reader(exact, separators, count):
    same(json.dumps([NORMAL] * count, separators=separators).encode())
    assert not exact


OTHERS = [
    *({"traceId": value} for value in ("A" * 32, "1", "0" * 16, "0" * 16 + "1" * 16, "a" * 16 + "\n" + "a" * 15)),
    *({"id": value} for value in ("0" * 16, "1" * 15, "é" * 16, "b" * 16)),
    *({"parentId": value} for value in ("0" * 16, "c" * 16, "")),
    *({"name": value} for value in ("Get", "", "İ")),
    *({field: value} for field in ("timestamp", "duration") for value in (0, -1, 2**63, 2**64, "5", 1.0)),
    *(
        {"localEndpoint": value}
        for value in ({}, {"serviceName": "A"}, {"serviceName": ""}, {"port": 0}, {"port": 65536})
    ),
    *(
        {"remoteEndpoint": {key: value}}
        for key in ("ipv4", "ipv6")
        for value in ("x", "1.2.3.4.5", "::FFFF", "::1.2.3.4")
    ),
    *({"annotations": [{"timestamp": time, "value": "a"} for time in times]} for times in ((2, 1), (1, 1), (2**63,))),
    *({"kind": value} for value in ("CLIENT", "client", None)),
    *({"tags": value} for value in ({"b": "1", "a": 1}, {"a": None}, None)),
    *({"extra": 1}, {"debug": False}, {"shared": None}, {"tags": {}}),
]


@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("place", [0, 1])
def test_whatever_is_not_normal_is_read_exactly(exact, other, place):
    spans = [NORMAL, NORMAL]
    spans[place] = {**NORMAL, **other}
    same(json.dumps(spans, separators=(",", ":"), ensure_ascii=False).encode())
    assert exact


def test_changed_messages_are_read_alike():
    source = random.Random(3)
    seeds = [json.dumps([NORMAL], separators=(",", ":")).encode()]
    seeds += [case["body"].encode() for case in CASES if case.get("spans") and "body" in case]
    for _ in range(3_000):
        body = bytearray(source.choice(seeds))
        for _ in range(source.randint(1, 2)):
            at = source.randrange(len(body))
            if source.random() < 0.5:
                body[at : at + source.randint(0, 4)] = source.choice(SPLICES)
            else:
                body[at] = source.choice(b'0123456789abcdefA"{}[],:\\n ')
        same(bytes(body))
