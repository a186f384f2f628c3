"""Where the messages of one transport go, and what is counted of them."""

from __future__ import annotations

from dataclasses import dataclass

from obskit.collector.intake.zipkin import Keep, Read, Rejected, Store, read_spans, store_spans
from obskit.collector.metrics import Metrics


@dataclass(frozen=True)
class Reception:
    """Takes the messages of a transport that is not HTTP. Any thread may call it."""

    store: Store
    metrics: Metrics
    keep: Keep

    def take(self, read: Read, body: bytes) -> None:
        """Store the spans of a message, or raise Rejected or StoreError and store none."""
        self.metrics.received()
        self.metrics.inflated(len(body))
        try:
            if body:
                store_spans(self.store, self.metrics, self.keep, *read_spans(read, body))
        except Rejected:
            self.metrics.dropped()
            raise
