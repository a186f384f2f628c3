"""The fast path for proto3: what it reads by itself, it reads as the exact one does."""

import json
import random
from pathlib import Path

import pytest

from obskit.zipkin import proto3_decode, proto3_fast
from obskit.zipkin.json_v2 import decode_list
from obskit.zipkin.proto3_encode import encode_list

DATA = Path(__file__).parents[1] / "data"
CASES = json.loads((DATA / "span_proto3.json").read_text(encoding="utf-8"))
JSON_CASES = json.loads((DATA / "span_json.json").read_text(encoding="utf-8"))
MESSAGES = [bytes.fromhex(case["hex"]) for part in ("encode", "decode") for case in CASES[part]]
MESSAGES += [
    encode_list(decode_list(case["body"].encode())) for case in JSON_CASES if case.get("spans") and "body" in case
]


def read(reader, body):
    try:
        return reader(body)
    except ValueError as error:
        return str(error)


@pytest.fixture
def exact(monkeypatch):
    """The messages that the exact reader had to read."""
    calls = []

    def decode(body):
        calls.append(body)
        return decode_exactly(body)

    decode_exactly = proto3_decode.decode_list
    monkeypatch.setattr(proto3_decode, "decode_list", decode)
    return calls


@pytest.mark.parametrize("body", MESSAGES, ids=lambda body: str(MESSAGES.index(body)))
def test_it_reads_what_the_reference_reads(body):
    assert read(proto3_fast.read_list, body) == read(proto3_decode.decode_list, body)


def test_what_our_own_exporter_writes_needs_no_exact_reader(exact):
    spans = [
        {
            "traceId": "a" * 32,
            "parentId": "b" * 16,
            "id": "c" * 16,
            "kind": kind,
            "name": "GET /" + "x" * 300,
            "timestamp": 1_700_000_000_000_000,
            "duration": 2**40,
            "localEndpoint": {"serviceName": "Shop", "ipv4": "1.2.3.4", "port": 80},
            "remoteEndpoint": {"ipv6": "2001:db8::1"},
            "annotations": [{"timestamp": 2, "value": "b"}, {"timestamp": 1, "value": "a"}],
            "tags": {"a": "1", "long": "y" * 20_000, "empty": ""},
            "debug": True,
            "shared": True,
        }
        for kind in ("CLIENT", "SERVER", "PRODUCER", "CONSUMER")
    ]
    expected = decode_list(json.dumps(spans).encode())
    assert proto3_fast.read_list(encode_list(expected)) == expected
    assert not exact


@pytest.mark.parametrize("seed", range(4))
def test_changed_messages_are_read_alike(seed):
    source = random.Random(seed)
    for _ in range(4_000):
        body = bytearray(source.choice(MESSAGES))
        for _ in range(source.randint(1, 3)):
            at = source.randrange(len(body) + 1)
            change = source.random()
            if change < 0.4 and at < len(body):
                body[at] = source.choice([source.randrange(256), 0x0A, 0x12, 0x5A, 0x42, 0, 1, 127, 128])
            elif change < 0.6:
                del body[at : at + source.randint(1, 6)]
            else:
                body[at:at] = source.choice([b"\x0a", b"\x00", b"\x60\x01", b"\x20\x01", b"\x12\x00", bytes(body[:9])])
        assert read(proto3_fast.read_list, bytes(body)) == read(proto3_decode.decode_list, bytes(body)), body.hex()
