"""Zipkin over HTTP (``POST /api/v2/spans``, as JSON or proto3) and over gRPC (``zipkin.proto3.SpanService/Report``)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from obskit.export.delivery.exporter import Outcome
from obskit.export.net.http_sender import HttpSender
from obskit.export.net.url import is_loopback
from obskit.export.zipkin.translation import Convert
from obskit.zipkin.model import Span
from obskit.zipkin.proto3_encode import encode_span

if TYPE_CHECKING:
    from obskit.export.delivery.collector_report import CollectorReport
    from obskit.export.net.grpc_call import Caller


_METHOD = "/zipkin.proto3.SpanService/Report"
_NOT_INSTALLED = Outcome("not_installed", "grpcio is missing: pip install 'obskit[grpc]'")


class ZipkinGrpcExporter:
    """Reports spans to a Zipkin server over gRPC. To be built within ``no_fork``, as it imports grpcio."""

    batch_items = 10_000
    batch_bytes = 500_000  # as over HTTP: an eighth of what a gRPC server takes by default

    def __init__(self, address: str, tls: bool, convert: Convert, report: CollectorReport | None = None) -> None:
        self.report = report
        self._convert = convert
        self._caller: Caller | None = None
        self._refusal = _NOT_INSTALLED
        try:
            from obskit.export.net.grpc_call import Caller

            self._caller = Caller(address, tls, _METHOD, report)
        except ImportError as error:
            self._refusal = _NOT_INSTALLED._replace(detail=f"{_NOT_INSTALLED.detail} ({error})")

    def encode(self, span: Any) -> bytes:
        """Return the span as an element of a list."""
        return encode_span(self._convert(span))

    def size(self, item: bytes) -> int:
        """Return its length."""
        return len(item)

    def send(self, items: list[bytes], deadline: float) -> Outcome:
        """Report the spans in one message."""
        if self._caller is None:
            return self._refusal
        return self._caller.call(b"".join(items), max(0.001, deadline - monotonic()))

    def close(self) -> None:
        """Close the connection."""
        if self._caller is not None:
            self._caller.close()


# A mesh that sees the decision "0" does not trace the delivery of traces (Brave's senders do the same).
_HEADERS = {"b3": "0", "User-Agent": "obskit"}
# A span takes 2 to 3 us to deflate, which saves five sixths of its bytes; below three TCP segments no time is saved.
_LEAST_DEFLATED = 4096
_LEVEL, _GZIP = 1, 31  # a higher level saves a tenth more for twice the time; zlib's number for a gzip header


class Encoding(NamedTuple):
    """How spans are written: each by itself on its way to a batch, which ``join`` makes.

    ``may_deflate`` says whether a body may be deflated.
    """

    content_type: str
    encode_span: Callable[[Span], bytes]
    join: Callable[[list[bytes]], bytes]
    may_deflate: Callable[[bytes], bool]


class ZipkinHttpExporter:
    """Sends spans to a Zipkin server, or whatever speaks its API."""

    batch_items = 10_000
    batch_bytes = 500_000  # what Brave's reporters send at most
    opens_again = True
    size = staticmethod(len)

    def __init__(self, url: str, convert: Convert, encoding: Encoding, report: CollectorReport | None = None) -> None:
        self.report = report
        self._sender = HttpSender(url, {"Content-Type": encoding.content_type, **_HEADERS}, report)
        self._convert = convert
        self._encode_span = encoding.encode_span
        self._encoding = encoding
        self._deflates = not is_loopback(urlsplit(url).hostname or "")

    def encode(self, span: Any) -> bytes:
        """Return the span as an element of a list."""
        return self._encode_span(self._convert(span))

    def send(self, items: list[bytes], deadline: float) -> Outcome:
        """Post the spans as one list."""
        body = self._encoding.join(items)
        if self._deflates and len(body) >= _LEAST_DEFLATED and self._encoding.may_deflate(body):
            return self._sender.post(gzipped(body), deadline, {"Content-Encoding": "gzip"})
        return self._sender.post(body, deadline)

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()


def encoding(name: str) -> Encoding:
    """Return the encoding ``json`` or ``proto3``."""
    if name == "proto3":
        from obskit.zipkin import proto3_encode

        return Encoding("application/x-protobuf", proto3_encode.encode_span, b"".join, lambda _: True)
    from obskit.zipkin import json_v2

    # Zipkin (3.6.1) inflates 8 kB at a time, and damages a character of JSON that two such pieces share.
    return Encoding("application/json", json_v2.encode_span, json_v2.join_encoded, bytes.isascii)


def gzipped(body: bytes) -> bytes:
    """Return ``body`` in gzip's format."""
    compressor = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return compressor.compress(body) + compressor.flush()
