"""What the collector counts about the messages that it receives, named as Zipkin names it.

Source: ``/metrics`` and ``/prometheus`` of zipkin-server 3.6.1.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import msgspec

_HELP = {
    "messages": "messages whose body came whole",
    "messages_dropped": "messages that were refused or did not come whole",
    "bytes": "bytes of messages, after inflation",
    "spans": "spans that were read",
    "spans_dropped": "spans that were read and could not be stored",
    "message_spans": "spans in the last message that was read",
    "message_bytes": "bytes of the last message, after inflation",
}
_GAUGES = ("message_spans", "message_bytes")


class Metrics:
    """The counts of one transport (``http``, ``grpc``, ...) since the start. Any thread may add to them."""

    def __init__(self, transport: str = "http") -> None:
        self.transport = transport
        self._lock = threading.Lock()
        self._values = dict.fromkeys(_HELP, 0)

    def received(self) -> None:
        """A message is here, whole."""
        self._add("messages", 1)

    def dropped(self) -> None:
        """A message is refused, or did not come whole."""
        self._add("messages_dropped", 1)

    def inflated(self, size: int) -> None:
        """A message has ``size`` bytes."""
        self._add("bytes", size, "message_bytes")

    def read(self, spans: int) -> None:
        """A message has this many spans."""
        self._add("spans", spans, "message_spans")

    def lost(self, spans: int) -> None:
        """This many spans could not be stored."""
        self._add("spans_dropped", spans)

    def snapshot(self) -> dict[str, int]:
        """The values of this moment by name."""
        with self._lock:
            return self._values.copy()

    def _add(self, counter: str, amount: int, gauge: str | None = None) -> None:
        with self._lock:
            self._values[counter] += amount
            if gauge is not None:
                self._values[gauge] = amount


def as_json(transports: Iterable[Metrics]) -> bytes:
    """One flat object: ``{"counter.zipkin_collector.spans.http": 3.0, ...}``."""
    return msgspec.json.encode(
        {
            f"{_type(name)}.zipkin_collector.{name}.{metrics.transport}": float(value)
            for metrics in transports
            for name, value in metrics.snapshot().items()
        }
    )


def as_prometheus(transports: Iterable[Metrics]) -> str:
    """The text format of Prometheus, version 0.0.4."""
    values = {metrics.transport: metrics.snapshot() for metrics in transports}
    return "".join(_exposed(name, {transport: its[name] for transport, its in values.items()}) for name in _HELP)


def _type(name: str) -> str:
    return "gauge" if name in _GAUGES else "counter"


def _exposed(name: str, values: dict[str, int]) -> str:
    full = f"zipkin_collector_{name}" + ("" if name in _GAUGES else "_total")
    samples = "".join(f'{full}{{transport="{transport}"}} {value}\n' for transport, value in values.items())
    return f"# HELP {full} {_HELP[name]}\n# TYPE {full} {_type(name)}\n{samples}"


def service_totals(totals: Iterable[tuple[str, int, int]]) -> str:
    """Calls and failed calls of each service, for Prometheus."""
    lines = {"calls": "", "errors": ""}
    for service, calls, errors in totals:
        label = service.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in (("calls", calls), ("errors", errors)):
            lines[name] += f'obskit_service_{name}_total{{service="{label}"}} {value}\n'
    helps = {"calls": "requests and messages that a service took, from spans", "errors": "those of them that failed"}
    return "".join(
        f"# HELP obskit_service_{name}_total {helps[name]}\n# TYPE obskit_service_{name}_total counter\n{text}"
        for name, text in lines.items()
        if text
    )
