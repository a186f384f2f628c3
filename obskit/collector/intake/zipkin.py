"""From a message, the body of a POST as a rule, to stored spans: limits, gzip, format, decoding.

Answers equal those of the Zipkin server 3.6.1 (``http_status`` in the test vectors), except that 202 means
stored here, where Zipkin means accepted, and that what it answers 500 to is a 400 here.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Protocol

from obskit.collector.deadline import Deadline
from obskit.collector.metrics import Metrics
from obskit.collector.store.database import StoreError
from obskit.collector.store.eviction import TooMany
from obskit.collector.told import Told
from obskit.zipkin import json_v1, json_v2_fast, proto3_fast, thrift_decode
from obskit.zipkin.decoding import MOST_PARTS, DecodeError, TooLarge, check_parts
from obskit.zipkin.model import Span

MAX_BODY = 10 * 1024 * 1024  # bytes, on the wire and after inflation
_GZIP = 31  # zlib's number for a gzip header and the largest window
_PIECE = 4096  # bytes given to zlib at once: what a member leaves of them is copied, and there may be many members
_GZIP_MAGIC = b"\x1f\x8b"
_MAY_BE_MANY = 5 * MOST_PARTS  # bytes of a span's JSON that has too many tags, at least
_STALE = 2.0  # seconds: a message that waited for longer, and whose client has left, comes again or is given up
_PROTO3 = "application/x-protobuf"
_THRIFT = ("application/x-thrift", "application/vnd.apache.thrift.binary")
_OTHER_FORMATS = ("application/protobuf", *_THRIFT)

Decoded = tuple[list[Span], "list[bytes] | None"]
Read = Callable[[bytes], Decoded]
Keep = Callable[[Span], bool] | None  # None keeps all


class Store(Protocol):
    """Where spans are stored."""

    def add(self, spans: Sequence[Span], lines: Sequence[bytes] | None = None) -> None:
        """Store all of the spans, or none and raise StoreError; ``lines`` is the JSON of each, where it is known."""


class Rejected(Exception):
    """A message that is not stored: the HTTP status and a one-line reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def too_large() -> Rejected:
    """Return the answer to more than MAX_BODY bytes."""
    return Rejected(413, f"body over {MAX_BODY} bytes; send fewer spans in one message")


@dataclass(frozen=True)
class Message:
    """A POST: which version of the API it came to, its body and what its headers say of it."""

    version: int
    body: bytes
    content_type: str
    content_encoding: str

    def inflated(self, metrics: Metrics, deadline: Deadline) -> bytes:
        """Return the body, counted. Raises Rejected, also where it waited long and its client has gone."""
        if deadline.client_left and deadline.passed > _STALE:
            raise Rejected(503, "the client has left")
        body = gunzip(self.body) if "gzip" in self.content_encoding else self.body
        metrics.inflated(len(body))
        return body

    @property
    def format(self) -> Format:
        """How its spans are written. Raises Rejected."""
        if self.version == 1:
            return THRIFT if self.kind in _THRIFT else JSON_V1
        if self.kind in _OTHER_FORMATS:
            raise Rejected(415, f"send Zipkin v2 as application/json, proto3 as {_PROTO3}, thrift to /api/v1/spans")
        return PROTO3 if self.kind == _PROTO3 else JSON_V2

    @property
    def kind(self) -> str:
        """The media type without its parameters."""
        return self.content_type.partition(";")[0].strip().lower()


def store_message(store: Store, metrics: Metrics, keep: Keep, message: Message, deadline: Deadline) -> None:
    """Store the spans of a message that ``keep`` lets pass, or raise Rejected or StoreError and store none."""
    form, body = message.format, message.inflated(metrics, deadline)
    if body:
        store_spans(store, metrics, keep, *read_spans(form.read, body))


def read_spans(read: Read, body: bytes) -> Decoded:
    """Return the spans of a message, and the JSON of each where it is known. Raises Rejected."""
    try:
        spans, lines = read(body)
        if lines is None or max(map(len, lines), default=0) >= _MAY_BE_MANY:
            check_parts(spans)
    except DecodeError as error:
        raise refusal(error) from None
    return spans, lines


def refusal(error: DecodeError) -> Rejected:
    """Return the answer to a message that cannot be read."""
    return Rejected(413 if isinstance(error, TooLarge) else 400, str(error))


def store_spans(
    store: Store, metrics: Metrics, keep: Keep, spans: list[Span], lines: list[bytes] | None = None
) -> None:
    """Store those that ``keep`` lets pass, all or none. Raises Rejected or StoreError."""
    metrics.read(len(spans))
    if keep is not None and not all(kept := list(map(keep, spans))):
        metrics.lost(kept.count(False))
        spans, lines = list(compress(spans, kept)), list(compress(lines, kept)) if lines else None
    try:
        if spans:
            store.add(spans, lines)
    except StoreError as error:
        metrics.lost(len(spans))
        if isinstance(error, TooMany):
            raise Rejected(413, str(error)) from None
        raise


@dataclass(frozen=True)
class Reception:
    """Takes the messages of a transport that is not HTTP. Any thread may call it."""

    store: Store
    metrics: Metrics
    keep: Keep
    told: Told

    def take(self, read: Read, body: bytes, headers: Mapping[str, str]) -> None:
        """Store the spans of a message, or raise Rejected or StoreError and store none."""
        self.told.note(headers)
        self.metrics.received()
        self.metrics.inflated(len(body))
        try:
            if body:
                store_spans(self.store, self.metrics, self.keep, *read_spans(read, body))
        except Rejected:
            self.metrics.dropped()
            raise


def gunzip(data: bytes) -> bytes:
    """Return the inflated bytes, never more than MAX_BODY of them. Raises Rejected.

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
    """Yield pieces of what the members of a gzip stream hold, of MAX_BODY bytes at most. Raises zlib.error."""
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


# --- formats ---------------------------------------------------------------------------------------------
# Zipkin looks at the bytes before it decodes: its rule for a newline is an accident we keep.


@dataclass(frozen=True)
class Format:
    """A way to write spans: its name, what its first bytes look like, and its reader."""

    name: str
    begins: Callable[[bytes], bool]
    decode: Read
    other: tuple[str, tuple[bytes, ...]] = ("", ())  # a format, and what only a message of that one holds

    def read(self, body: bytes) -> Decoded:
        """Return the spans, and the JSON of each where it is known. Raises Rejected or DecodeError."""
        if not self.begins(body):
            raise Rejected(400, f"Expected a {self.name} encoded list")
        name, marks = self.other
        if any(mark in body for mark in marks):
            raise Rejected(400, f"Expected a {self.name} encoded list, but received: {name}")
        return self.decode(body)


def _begins_json(body: bytes) -> bool:
    return body[:1] in {b"[", b"\n"}


JSON_V2 = Format("JSON_V2", _begins_json, json_v2_fast.read_list, ("JSON_V1", (b'yAnnotations"',)))
JSON_V1 = Format(
    "JSON_V1", _begins_json, lambda body: (json_v1.decode_list(body), None), ("JSON_V2", (b'Endpoint"', b'"tags"'))
)
PROTO3 = Format(  # a list begins with the key of its first span
    "PROTO3",
    lambda body: body[:1] == b"\n" and body[1:2] != b"\0",
    lambda body: (proto3_fast.read_list(body), None),
)
THRIFT = Format("THRIFT", lambda body: body[:1] == b"\x0c", lambda body: (thrift_decode.decode_list(body), None))
