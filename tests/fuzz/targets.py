"""What reads bytes from outside, each as a function that raises where a promise about it does not hold.

Any exception but the documented ones is such a broken promise, and so is a span that cannot be written and read again,
or a fast path that finds something else than the exact one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from obskit.base.protobuf import varint
from obskit.collector.intake import kafka_consumer, otlp_messages
from obskit.collector.intake.zipkin import Rejected, gunzip
from obskit.propagation import b3, propagator
from obskit.propagation.headers import LOWER
from obskit.zipkin import json_v1, json_v2, json_v2_fast, proto3_decode, proto3_encode, proto3_fast, thrift_decode
from obskit.zipkin.decoding import DecodeError
from obskit.zipkin.model import Span

_DATA = Path(__file__).parents[1] / "data"
Spans = list[Span]


def read_json(data: bytes) -> None:
    """Zipkin's JSON: both readers."""
    exact = _spans(json_v2.decode_list, data)
    assert exact == _spans(lambda body: json_v2_fast.read_list(body)[0], data)
    _check(exact)


def read_proto3(data: bytes) -> None:
    """Zipkin's proto3: both readers, and what is written is read."""
    exact = _spans(proto3_decode.decode_list, data)
    assert exact == _spans(proto3_fast.read_list, data)
    _check(exact)
    if exact is not None:
        written = proto3_encode.encode_list(exact)
        assert proto3_encode.encode_list(proto3_decode.decode_list(written)) == written


def read_json_v1(data: bytes) -> None:
    """The first model, in JSON."""
    _check(_spans(json_v1.decode_list, data))


def read_thrift(data: bytes) -> None:
    """The first model, in thrift."""
    _check(_spans(thrift_decode.decode_list, data))


def read_otlp_json(data: bytes) -> None:
    """OpenTelemetry's JSON."""
    _check(_spans(lambda body: otlp_messages.read_json(body).spans, data))


def read_otlp(data: bytes) -> None:
    """OpenTelemetry's protobuf."""
    _check(_spans(lambda body: otlp_messages.read_protobuf(body).spans, data))


def read_any(data: bytes) -> None:
    """Whatever format the first bytes tell, as from Kafka."""
    if data:
        _check(_spans(lambda body: kafka_consumer.read(body)[0], data))


def inflate(data: bytes) -> None:
    """Gzip: what is inflated or refused."""
    try:
        gunzip(data)
    except Rejected:
        pass


def read_headers(data: bytes) -> None:
    """Lines as headers: B3 and the other formats. What is read is written, and read again as the same."""
    lines = (line.partition(":") for line in data.decode("latin-1").split("\n"))
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    found = b3.extract(headers.get, LOWER)
    propagator.read(headers, LOWER)
    if found is None:
        return
    for fields_of in (b3.multi, b3.single):
        written = {name.lower(): value for name, value in fields_of(found)}
        again = b3.extract(written.get, LOWER)
        assert again is None or again.trace_id == found.trace_id
        assert (again is None) == (found.trace_id is None and found.sampled is None)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "json": read_json,
    "proto3": read_proto3,
    "v1": read_json_v1,
    "thrift": read_thrift,
    "otlp-json": read_otlp_json,
    "otlp": read_otlp,
    "any": read_any,
    "gzip": inflate,
    "b3": read_headers,
}


def _spans(read: Callable[[bytes], Spans], data: bytes) -> Spans | None:
    try:
        return read(data)
    except (DecodeError, Rejected):
        return None


def _check(spans: Spans | None) -> None:
    """Spans that were read are in their normal form: written as JSON, they are read as they are.

    But for the id ``0``, which is read as the reference reads it, and in sixteen digits is none.
    """
    if spans is not None:
        usual = [span for span in spans if span.id.strip("0")]
        written = json_v2.encode_list(usual)
        json.loads(written)
        assert json_v2.decode_list(written) == usual


# --- where a fuzzer begins -------------------------------------------------------------------------------


def seeds(target: str) -> list[bytes]:
    """Messages of each kind, as they are."""
    return [seed for seed in _SEEDS[target]() if len(seed) < 2_000]


def _vectors(name: str) -> Any:
    return json.loads((_DATA / name).read_text(encoding="utf-8"))


def _json() -> Iterator[bytes]:
    return (case["body"].encode() for case in _vectors("span_json.json") if "body" in case)


def _proto3() -> Iterator[bytes]:
    return (bytes.fromhex(case["hex"]) for case in _vectors("span_proto3.json")["decode"])


def _v1() -> Iterator[bytes]:
    return (case["body"].encode() for case in _vectors("v1_spans.json") if "body" in case)


def _thrift() -> Iterator[bytes]:
    return (bytes.fromhex(case["hex"]) for case in _vectors("v1_spans.json") if "hex" in case)


def _b3() -> Iterator[bytes]:
    for case in _vectors("b3_extract.json"):
        yield "\n".join(f"{name}: {value}" for name, value in case["headers"].items()).encode()


def _otlp_json() -> Iterator[bytes]:
    value = {"kvlistValue": {"values": [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "1"}]}}}]}}
    attributes = [{"key": "net.peer.port", "value": {"doubleValue": 80.5}}, {"key": "x", "value": value}]
    span = {
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173",
        "name": "I'm a server span",
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": 1544712661000000000,
        "kind": 2,
        "attributes": attributes,
        "events": [{"timeUnixNano": "1", "name": "e", "attributes": attributes}],
        "links": [{"traceId": "1" * 32, "spanId": "2" * 16, "attributes": attributes}],
        "status": {"code": "STATUS_CODE_ERROR", "message": "bad"},
        "droppedEventsCount": 1,
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]}
    scopes = [{"scope": {"name": "s", "version": "1"}, "spans": [span]}]
    yield json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}).encode()


def _otlp() -> Iterator[bytes]:
    def message(number: int, content: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(content)) + content

    pair = message(1, b"http.method") + message(2, message(1, b"GET"))
    nested = message(1, b"x") + message(2, message(5, message(1, b"\x18\1")) + message(6, message(1, pair)))
    event = b"\x09" + bytes(8) + message(2, b"e") + message(3, pair)
    span = message(1, b"\1" * 16) + message(2, b"\2" * 8) + message(4, b"\3" * 8) + message(5, b"get") + b"\x30\2"
    span += b"\x39" + b"\1" * 8 + b"\x41" + b"\2" * 8 + message(9, pair) + message(9, nested) + message(11, event)
    span += message(13, message(1, b"\1" * 16) + message(2, b"\2" * 8)) + message(15, message(2, b"bad") + b"\x18\2")
    scope = message(1, message(1, b"scope") + message(2, b"1")) + message(2, span)
    yield message(1, message(1, message(1, pair)) + message(2, scope))


def _gzip() -> Iterator[bytes]:
    import gzip

    yield gzip.compress(b"[]", mtime=0)
    yield gzip.compress(b"a" * 100, mtime=0) * 2


def _any() -> Iterator[bytes]:
    for make in (_json, _proto3, _v1, _thrift):
        yield from list(make())[:20]


_SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "json": _json,
    "proto3": _proto3,
    "v1": _v1,
    "thrift": _thrift,
    "otlp-json": _otlp_json,
    "otlp": _otlp,
    "any": _any,
    "gzip": _gzip,
    "b3": _b3,
}
