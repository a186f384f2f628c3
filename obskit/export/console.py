"""Spans on standard output, one Zipkin JSON object a line."""

from __future__ import annotations

import sys
from typing import Any

from obskit.export.delivery.exporter import DELIVERED, Outcome
from obskit.export.zipkin.translation import Convert
from obskit.zipkin.json_v2 import encode_span


class ConsoleExporter:
    """Prints spans, for looking at what a program does."""

    batch_items = 10_000
    batch_bytes = 500_000

    def __init__(self, convert: Convert) -> None:
        self._convert = convert

    def encode(self, span: Any) -> str:
        """Return the span as a line of JSON."""
        return encode_span(self._convert(span)).decode() + "\n"

    def size(self, item: str) -> int:
        """Return its length."""
        return len(item)

    def send(self, items: list[str], deadline: float) -> Outcome:  # noqa: ARG002 - a terminal has no deadline
        """Print the lines."""
        sys.stdout.write("".join(items))
        sys.stdout.flush()
        return DELIVERED

    def close(self) -> None:
        """Do nothing: no resource is held."""
