"""Spans on standard output, one Zipkin JSON object a line."""

from __future__ import annotations

import sys

from obskit.export.endpoint import local_endpoint
from obskit.export.exporter import DELIVERED, Outcome
from obskit.export.zipkin_span import to_zipkin
from obskit.tracing.span import Span
from obskit.zipkin.json_v2 import encode_span


class ConsoleExporter:
    """Prints spans, for looking at what a program does."""

    def __init__(self, service: str) -> None:
        self._endpoint = local_endpoint(service)

    def encode(self, span: Span) -> str:
        """Return the span as a line of JSON."""
        return encode_span(to_zipkin(span, self._endpoint)).decode() + "\n"

    def size(self, item: str) -> int:
        """Return its length."""
        return len(item)

    def send(self, items: list[str], deadline: float) -> Outcome:  # noqa: ARG002 - a terminal has no deadline
        """Print the lines."""
        sys.stdout.write("".join(items))
        sys.stdout.flush()
        return DELIVERED

    def close(self) -> None:
        """Nothing is held."""
