"""From the body of a POST to stored spans: limits, gzip, format, decoding.

Answers equal those of the Zipkin server 3.6.1 (``http_status`` in the test vectors), except that 202 means
stored here, where Zipkin means accepted, and that what it answers 500 to is a 400 here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from obskit.collector.deadline import Deadline
from obskit.collector.metrics import Metrics
from obskit.collector.store.database import StoreError
from obskit.collector.store.spans import SpanStore, TooMany
from obskit.zipkin import json_v2_fast, proto3_decode
from obskit.zipkin.decoding import DecodeError
from obskit.zipkin.model import Span

MAX_BODY = 10 * 1024 * 1024  # bytes, on the wire and after inflation
_GZIP = 31  # zlib's number for a gzip header and the largest window
_PIECE = 4096  # bytes given to zlib at once: what a member leaves of them is copied, and there may be many members
_GZIP_MAGIC = b"\x1f\x8b"
_STALE = 2.0  # seconds: a message that waited for longer, and whose client has left, comes again or is given up
_PROTO3 = "application/x-protobuf"
_OTHER_FORMATS = ("application/protobuf", "application/x-thrift")


_Decoded = tuple[list[Span], "list[bytes] | None"]  # the spans, and the JSON of each where it is known


class Rejected(Exception):
    """A message that is not stored: the HTTP status and a one-line reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def too_large() -> Rejected:
    """The answer to more than MAX_BODY bytes."""
    return Rejected(413, f"body over {MAX_BODY} bytes; send fewer spans in one message")


def store_body(
    store: SpanStore, metrics: Metrics, body: bytes, content_type: str, content_encoding: str, deadline: Deadline
) -> None:
    """Stores every span of a message, or raises Rejected or StoreError and stores none."""
    if deadline.client_left and deadline.passed > _STALE:
        raise Rejected(503, "the client has left")
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _OTHER_FORMATS:
        raise Rejected(415, f"this collector reads Zipkin v2; send JSON as application/json, or proto3 as {_PROTO3}")
    if "gzip" in content_encoding:
        body = gunzip(body)
    metrics.inflated(len(body))
    if not body:
        return
    try:
        spans, lines = _decode_proto3(body) if kind == _PROTO3 else _decode_json(body)
    except DecodeError as error:
        raise Rejected(400, str(error)) from None
    metrics.read(len(spans))
    try:
        store.add(spans, lines)
    except StoreError as error:
        metrics.lost(len(spans))
        if isinstance(error, TooMany):
            raise Rejected(413, str(error)) from None
        raise


def gunzip(data: bytes) -> bytes:
    """The inflated bytes, never more than MAX_BODY of them. Raises Rejected.

    As Zipkin does it: what a torn stream has is taken, and whatever follows a member that is no member is left out.
    """
    inflated = bytearray()
    try:
        for part in _members(data):
            inflated += part
            if len(inflated) > MAX_BODY:
                raise too_large()
    except zlib.error:
        raise Rejected(400, "Cannot gunzip spans") from None
    if data and not inflated:
        raise Rejected(400, "Cannot gunzip spans")
    return bytes(inflated)


def _members(data: bytes) -> Iterator[bytes]:
    """Pieces of what the members of a gzip stream hold, of MAX_BODY bytes at most. Raises zlib.error."""
    member, rest, position = zlib.decompressobj(_GZIP), b"", 0
    while rest or position < len(data):
        if not rest:
            rest, position = data[position : position + _PIECE], position + _PIECE
        yield member.decompress(rest, MAX_BODY + 1)
        if not member.eof:
            rest = member.unconsumed_tail
            continue
        rest, member = member.unused_data, zlib.decompressobj(_GZIP)
        following = rest + data[position : position + 2] if len(rest) < 2 else rest
        if following[:2] != _GZIP_MAGIC:
            return


def _decode_json(body: bytes) -> _Decoded:
    """Looks at the bytes before they are decoded, as Zipkin does: its rule for a newline is an accident we keep."""
    if body[:1] not in {b"[", b"\n"}:
        raise Rejected(400, "Expected a JSON_V2 encoded list")
    if b'yAnnotations"' in body:
        raise Rejected(400, "Expected a JSON_V2 encoded list, but received: JSON_V1")
    return json_v2_fast.read_list(body)


def _decode_proto3(body: bytes) -> _Decoded:
    if body[:1] != b"\n" or body[1:2] == b"\0":  # the same look ahead; a list begins with the key of its first span
        raise Rejected(400, "Expected a PROTO3 encoded list")
    return proto3_decode.decode_list(body), None
