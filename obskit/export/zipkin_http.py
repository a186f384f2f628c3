"""Zipkin over HTTP: POST /api/v2/spans, JSON."""

from __future__ import annotations

from typing import Any

from obskit.export.exporter import Outcome
from obskit.export.http_sender import HttpSender
from obskit.export.zipkin_span import Convert
from obskit.zipkin.json_v2 import encode_span, join_encoded

# A mesh that sees the decision "0" does not trace the delivery of traces (Brave's senders do the same).
_HEADERS = {"Content-Type": "application/json", "b3": "0", "User-Agent": "obskit"}


class ZipkinHttpExporter:
    """Sends spans to a Zipkin server, or whatever speaks its API."""

    batch_items = 10_000
    batch_bytes = 500_000  # what Brave's reporters send at most

    def __init__(self, url: str, convert: Convert) -> None:
        self._sender = HttpSender(url, _HEADERS)
        self._convert = convert

    def encode(self, span: Any) -> bytes:
        """Return the span as a JSON object."""
        return encode_span(self._convert(span))

    def size(self, item: bytes) -> int:
        """Return its length."""
        return len(item)

    def send(self, items: list[bytes], deadline: float) -> Outcome:
        """Post the spans as one JSON list."""
        return self._sender.post(join_encoded(items), deadline)

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()
