"""Zipkin over Kafka: each batch is one message, a list of spans, as Zipkin's Kafka collector reads it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from obskit.export.delivery.exporter import Outcome
from obskit.export.zipkin.kafka_url import KafkaTarget
from obskit.export.zipkin.translation import Convert

if TYPE_CHECKING:
    from obskit.export.delivery.collector_report import CollectorReport
    from obskit.export.zipkin.exporters import Encoding
    from obskit.export.zipkin.kafka_client import Client

_NOT_INSTALLED = Outcome("not_installed", "confluent-kafka is missing: pip install 'obskit[kafka]'")


class ZipkinKafkaExporter:
    """Sends spans to the topic that a Zipkin server reads. Delivered means that the brokers acknowledged them.

    It wants to be built where a fork waits: confluent-kafka is imported then.

    A client that failed is ended: what it holds is not sent after all, and the next one connects at once. The first
    one, and each that follows a failure, listens for reasons; once one has delivered, those that are kept do not.
    """

    batch_items = 10_000
    batch_bytes = 500_000  # half of what a broker takes by default (message.max.bytes), and what Brave sends at most

    def __init__(
        self, target: KafkaTarget, convert: Convert, encoding: Encoding, report: CollectorReport | None = None
    ) -> None:
        self.report = report
        self._target = target
        self._convert = convert
        self._encode = encoding.encode_span
        self._join = encoding.join
        self._escapes = encoding.content_type == "application/json"
        self._client: Client | None = None
        self._proven = False
        self._refusal: Outcome | None = None
        try:
            import obskit.export.zipkin.kafka_client  # noqa: F401 - here, where a fork waits
        except ImportError as error:
            self._refusal = _NOT_INSTALLED._replace(detail=f"{_NOT_INSTALLED.detail} ({error})")

    def encode(self, span: Any) -> bytes:
        """Return the span as it stands in a list.

        JSON is ASCII: Zipkin 3.6.1 reads it from Kafka in pieces of 8 kB, and damages characters on their borders.
        """
        item = self._encode(self._convert(span))
        return item if item.isascii() or not self._escapes else _escape(item)

    def size(self, item: bytes) -> int:
        """Return its length."""
        return len(item)

    def send(self, items: list[bytes], deadline: float) -> Outcome:
        """Produce the spans as one message."""
        return self._refusal or self._produce(self._join(items), deadline)

    def close(self) -> None:
        """End the client."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _produce(self, body: bytes, deadline: float) -> Outcome:
        from obskit.export.zipkin.kafka_client import Client, Misconfigured

        try:
            client = self._client = self._client or Client(self._target, listens=not self._proven)
        except Misconfigured as error:
            return error.outcome
        headers = self.report.losses() if self.report else {}
        outcome = client.produce(body, headers, deadline)
        delivered = not outcome.reason
        if not (delivered and self._proven):
            self.close()
        self._proven = delivered
        return outcome


def _escape(item: bytes) -> bytes:
    return json.dumps(json.loads(item), separators=(",", ":")).encode()
